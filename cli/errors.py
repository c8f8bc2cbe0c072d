"""`ood-toolkit errors`: how well scores tell right predictions from wrong ones."""

from __future__ import annotations

import rich_click as click

from .console import print_json, print_table, progress, shown
from .evaluate import PARTIAL
from .members import member_option, members_by_set
from .options import (
    FileOptions,
    file_options,
    json_option,
    method_option,
    parameters_by_method,
    set_option,
    split_methods,
    talk_options,
    talking,
    train_options,
)
from .tables import print_notes

__all__ = ["errors"]


@click.command()
@click.argument("file")
@method_option(required=False, default="all")
@set_option("NAME.KEY")
@train_options
@member_option
@click.option("--json-out", metavar="FILE", help="Also write the JSON document.")
@file_options
@json_option
@talk_options
def errors(
    file: str,
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    train: str | None,
    id_val: str | None,
    members: tuple[str, ...],
    json_out: str | None,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Measure misclassification detection on FILE, whose rows are all labelled.

    AUROC and AUPR of right against wrong predictions, the area under the risk-coverage
    curve, and the selective risk at several coverages; the classifier's own accuracy, NLL,
    Brier score and ECE.
    """
    import json

    from ood_toolkit import api
    from ood_toolkit.io import atomic_write, refuse_same_file

    names = split_methods(methods)
    stacks = members_by_set(members, ["FILE", "train", "id-val"], "FILE")
    with talking(quiet, verbose):
        everything = names == ["all"]
        listed = [row.name for row in api.methods()] if everything else names
        detectors = [
            api.detector(name, **values)
            for name, values in parameters_by_method(settings, listed).items()
        ]
        if json_out:
            given = [file, *(f for f in (train, id_val, files.head) if f)]
            refuse_same_file(json_out, given + [f for paths in stacks.values() for f in paths])
        fit_on = files.load(train, members=stacks["train"]) if train else None
        head = fit_on.head if fit_on else None
        record = files.load(file, head=head, members=stacks["FILE"])
        held_out = (
            files.load(id_val, head=record.head, members=stacks["id-val"]) if id_val else None
        )
        with progress(len(detectors), quiet=quiet) as step:
            report = api.evaluate_errors(
                detectors, record, train=fit_on, id_val=held_out, skip_unmet=everything,
                progress=step,
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
        coverages = list(report.results[0].risk_at_coverage)
        print_table(
            ["method", "AUROC", "AUPR-success", "AUPR-error", "AURC", "E-AURC"]
            + [f"risk@{float(c):.0%}" for c in coverages],
            [
                [r.method, *map(shown, (r.auroc, r.aupr_success, r.aupr_error, r.aurc, r.e_aurc))]
                + [shown(r.risk_at_coverage[c]) for c in coverages]
                for r in sorted(report.results, key=lambda r: r.aurc)
            ],
            left=["method"],
        )
        if not quiet:
            print_notes(report)
    if not report.results:
        from ood_toolkit.errors import InputError

        notes = [*report.failed, *report.skipped]
        raise InputError(f"no method could run: {notes[0].method}: {notes[0].reason}")
    if report.failed:
        raise click.exceptions.Exit(PARTIAL)
