"""`ood-toolkit stress`: is a score sure far from the data, and are its decisions easy to flip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from .asked import Asked, asked_options, detectors_option
from .console import print_json, print_table, progress, shown
from .kinds import count, share
from .measure import PARTIAL
from .method_names import detectors_of
from .options import FileOptions, reading_options, talking
from .tables import print_notes

if TYPE_CHECKING:
    from ood_toolkit.detectors.persistence import SavedScorer

__all__ = ["stress"]


@click.command()
@click.argument("file")
@asked_options()
@detectors_option("; its own threshold decides, if it has one")
@count("--rows", least=1, default=1000, help="Use at most this many rows, evenly spread.")
@share(
    "--tpr",
    one=True,
    default=0.95,
    help="Share of rows accepted where a method has no threshold.",
)
@reading_options
def stress(
    file: str,
    asked: Asked,
    detectors: tuple[str, ...],
    rows: int,
    tpr: float,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Check scores where they are known to fail, on FILE, in-distribution rows.

    Far field: rows are moved up to 1024 times as far from the origin; the table gives the
    share that still looks as in-distribution as the median row.  Fragility: the probabilities
    are changed without changing any prediction; the table gives the share of decisions that
    flip.
    """
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.evaluation import stress as run_stress

    names = asked.names() or ([] if detectors else ["all"])
    stacks = asked.stacks("FILE")
    with talking(quiet, verbose):
        wanted = detectors_of(names, asked.settings)
        saved = {path: read_scorer(path) for path in detectors}
        fit_on = asked.fit_on(files, stacks)
        head = fit_on.head if fit_on else None
        record = files.load(file, labels=False, head=head, members=stacks["FILE"])
        held_out = asked.held_out(files, stacks, record.head)
        with progress(len(wanted) + len(saved), quiet=quiet) as step:
            report = run_stress(
                wanted,
                record,
                scorers={s.scorer.name: (s.scorer, _value(p, s)) for p, s in saved.items()},
                train=fit_on,
                id_val=held_out,
                rows=rows,
                tpr=tpr,
                skip_unmet=names == ["all"],
                progress=step,
            )
    document = report.to_json()
    if as_json:
        print_json(document)
    elif document["results"]:
        _print(document, quiet)
    if not report.results:
        from ood_toolkit.errors import InputError

        notes = [*report.failed, *report.skipped]
        raise InputError(f"no method could run: {notes[0].method}: {notes[0].reason}")
    if report.failed:
        raise click.exceptions.Exit(PARTIAL)


def _value(path: str, saved: SavedScorer) -> float | None:
    """The number that a detector's decisions are made by; None where it has none yet."""
    if saved.threshold is None:
        return None
    if "value" not in saved.threshold:
        from ood_toolkit.errors import DataError

        rule = saved.threshold.get("rule")
        raise DataError(path, "threshold", f"is by {rule}; stress looks at a single threshold")
    return float(saved.threshold["value"])


def _print(document: dict[str, Any], quiet: bool) -> None:
    factor = document["results"][0]["far_field"]["factors"][-1]
    click.echo(
        f"{document['n']} rows.  Confident: share of rays, in percent, that at {factor:g} times "
        "the distance score at least the median; lost: accepted rows rejected once half of "
        "their probability is spread evenly; gained: rejected rows accepted once half of it "
        "goes to the prediction."
    )
    print_table(
        ["method", "confident", "the score", "lost", "gained"],
        [
            [row["method"], shown(row["far_field"]["confident"][-1]), _trend(row["far_field"])]
            + [_half(row["fragility"], key) for key in ("lost", "gained")]
            for row in document["results"]
        ],
        left=["method", "the score"],
    )
    print_notes(document, quiet=quiet)


def _trend(found: dict[str, Any]) -> str:
    """How the score of most rays ends."""
    words = {"settled": "stays", "rising": "rises", "falling": "falls"}
    return words[max(words, key=lambda key: float(found[key]))]


def _half(found: dict[str, Any] | None, key: str) -> str:
    if found is None:
        return "-"
    value = found[key][found["shares"].index(0.5)]
    return "-" if value is None else shown(value)
