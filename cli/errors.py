"""`ood-toolkit errors`: how well scores tell right predictions from wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from .asked import Asked, asked_options
from .console import print_json, print_table, progress, shown
from .kinds import count
from .measure import PARTIAL
from .method_names import detectors_of
from .options import FileOptions, reading_options, talking
from .outputs import check_outputs
from .tables import print_notes

if TYPE_CHECKING:
    from ood_toolkit.evaluation import ErrorReport

__all__ = ["errors"]


@click.command()
@click.argument("file")
@asked_options(default="all")
@click.option(
    "--ood",
    "ood_files",
    metavar="[NAME=]FILE",
    multiple=True,
    help="Outliers, to be rejected as well as wrong predictions; repeat for more sets.",
)
@click.option(
    "--ood-cost",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Cost of accepting an outlier; a wrong prediction costs 1.",
)
@count(
    "--bootstrap",
    default=200,
    help="Resamples for the intervals of risks and coverages; 0 for no intervals.",
)
@click.option("--json-out", metavar="FILE", help="Also write all results as JSON.")
@reading_options
def errors(
    file: str,
    asked: Asked,
    ood_files: tuple[str, ...],
    ood_cost: float,
    bootstrap: int,
    json_out: str | None,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Measure misclassification detection on FILE, whose rows are all labelled.

    AUROC and AUPR of right against wrong predictions, the area under the risk-coverage
    curve, and the selective risk at several coverages; the classifier's own accuracy, NLL,
    Brier score and ECE.  With --ood also the risk if outliers should be rejected too: wrong
    predictions plus outliers, weighted by --ood-cost, as a share of all rows accepted.
    """
    import json
    import math

    from ood_toolkit import api
    from ood_toolkit.io import atomic_write, refuse_same_file

    if not math.isfinite(ood_cost):
        raise click.UsageError("--ood-cost must be a number")
    check_outputs({"--json-out": json_out})
    names = asked.names()
    sets = _sets(ood_files)
    stacks = asked.stacks("FILE", *sets)
    with talking(quiet, verbose):
        detectors = detectors_of(names, asked.settings)
        if json_out:
            given = [file, *sets.values(), *asked.given(), *([files.head] if files.head else [])]
            refuse_same_file(json_out, given + [f for paths in stacks.values() for f in paths])
        fit_on = asked.fit_on(files, stacks)
        head = fit_on.head if fit_on else None
        record = files.load(file, head=head, members=stacks["FILE"])
        held_out = asked.held_out(files, stacks, record.head)
        ood = {
            name: files.load(path, labels=False, head=record.head, members=stacks[name])
            for name, path in sets.items()
        }
        with progress(len(detectors), quiet=quiet) as step:
            report = api.evaluate_errors(
                detectors, record, train=fit_on, id_val=held_out, ood=ood, ood_cost=ood_cost,
                bootstrap=bootstrap, skip_unmet=names == ["all"], progress=step,
            )  # fmt: skip
    if json_out:
        with atomic_write(json_out) as out:
            out.write((json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n").encode())
    if as_json:
        print_json(report.to_json())
    elif report.results:
        click.echo(
            f"{report.n} rows, accuracy {shown(report.accuracy)} %, NLL {report.nll:.4f}, Brier "
            f"{report.brier:.4f}, ECE {shown(report.ece)} %.  AUROC, AUPR, AURC and selective "
            "risk in percent; a right prediction is the positive class."
        )
        _print_tables(report, list(sets), ood_cost)
        print_notes(report, quiet=quiet)
    if not report.results:
        from ood_toolkit.errors import InputError

        notes = [*report.failed, *report.skipped]
        raise InputError(f"no method could run: {notes[0].method}: {notes[0].reason}")
    if report.failed:
        raise click.exceptions.Exit(PARTIAL)


def _print_tables(report: ErrorReport, sets: list[str], cost: float) -> None:
    """Errors alone, and with each set of outliers."""
    ranked = sorted(report.results, key=lambda r: r.aurc)
    coverages = list(ranked[0].risk_at_coverage)
    print_table(
        ["method", "AUROC", "AUPR-success", "AUPR-error", "AURC", "E-AURC"]
        + [f"risk@{float(c):.0%}" for c in coverages],
        [
            [r.method, *map(shown, (r.auroc, r.aupr_success, r.aupr_error, r.aurc, r.e_aurc))]
            + [shown(r.risk_at_coverage[c]) for c in coverages]
            for r in ranked
        ],
        left=["method"],
    )
    for name in sets:
        found = {r.method: r.scod[name] for r in ranked}
        rows = next(iter(found.values())).n_ood
        click.echo(
            f"With {rows} outliers of {name} among the rows, each of which costs {cost:g} wrong "
            "predictions if accepted; risk in percent of the rows accepted."
        )
        print_table(
            ["method", "AURC", "AUGRC", *(f"risk@{float(c):.0%}" for c in coverages)],
            [
                [
                    method,
                    *map(shown, (s.aurc, s.augrc, *(s.risk_at_coverage[c] for c in coverages))),
                ]
                for method, s in sorted(found.items(), key=lambda pair: pair[1].aurc)
            ],
            left=["method"],
        )


def _sets(values: tuple[str, ...]) -> dict[str, str]:
    """Files by name; the file's own where none is given."""
    from pathlib import PurePath

    sets: dict[str, str] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            name, path = PurePath(value).stem, value
        if not name or not path:
            raise click.UsageError(f"--ood {value}: expected [NAME=]FILE")
        if name in sets:
            raise click.UsageError(f"--ood {name} is given twice; name one, NAME=FILE")
        sets[name] = path
    return sets
