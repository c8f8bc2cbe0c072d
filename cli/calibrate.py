"""`ood-toolkit calibrate` and `apply`: class probabilities that mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from .asked import set_option
from .console import print_facts, print_json, print_table, shown
from .method_names import parameters_by_method
from .options import FileOptions, Talk, bounded_reading_options, reading_options, talking
from .outputs import check_file

if TYPE_CHECKING:
    from ood_toolkit.outputs import Outputs

__all__ = ["apply", "calibrate"]


def complete_calibrators(ctx: Any, param: Any, incomplete: str) -> list[str]:
    """Shell completion of a calibrator's name; loads no numpy."""
    from .names import CALIBRATOR_NAMES

    return [name for name in CALIBRATOR_NAMES if name.startswith(incomplete)]


@click.command()
@click.argument("validation", metavar="VAL")
@click.option(
    "-m",
    "--method",
    metavar="NAME",
    default="auto",
    show_default=True,
    shell_complete=complete_calibrators,
    help="Calibrator; auto takes the simplest that is as good as the best.",
)
@set_option("KEY")
@click.option("--train", metavar="FILE", help="Training outputs, needed by dac.")
@click.option(
    "-o", "--output", metavar="CALIBRATOR", required=True, help="A file ending in .safetensors."
)
@bounded_reading_options
def calibrate(
    validation: str,
    method: str,
    settings: tuple[str, ...],
    train: str | None,
    output: str,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Fit a calibrator on VAL, labelled rows the classifier was not trained on, and save it.

    Prints accuracy, NLL, Brier score and ECE of those rows before and after; the
    figures after are a little too good, since the calibrator was fitted on these rows.
    """
    from ood_toolkit.bounded import fitted_on_what_fits, what_fits
    from ood_toolkit.calibration import find_calibrator, make_calibrator, save_calibrator
    from ood_toolkit.evaluation.inspection import doubts_about_logits
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import file_digest, refuse_same_file

    check_file(output, ".safetensors")
    with talking(quiet, verbose) as talk:
        made: Any = make_calibrator(method, parameters_by_method(settings, [method])[method])
        row = find_calibrator(method)
        if row.train and train is None:
            raise click.UsageError(f"{method} needs training outputs: --train FILE")
        given = [validation, *(f for f in (train, files.head) if f)]
        refuse_same_file(output, given)
        record = files.load(validation)
        for doubt in doubts_about_logits(record):
            talk.note(f"Warning: {validation}: {doubt}")
        fit_on = files.load(train, head=record.head) if train else None
        fitted = fitted_on_what_fits(method, made.fit, record, fit_on)
        measured = what_fits("the comparison", record)
        facts = {"file": validation, "rows": len(record), "sha256": file_digest(validation)}
        document = {
            "method": method,
            "output": output,
            "fitted_on": facts,
            "report": dict(fitted.report()),
            "keeps_prediction": fitted.keeps_prediction,
            **_comparison(measured, fitted.apply(measured)),
        }
        save_calibrator(fitted, output, fitted_on=facts)
    _print(plain(document), as_json, quiet)


@click.command()
@click.argument("file")
@click.option("--calibrator", metavar="CALIBRATOR", required=True, help="Saved by `calibrate`.")
@click.option("-o", "--output", metavar="OUT", required=True, help="An outputs file to write.")
@reading_options
def apply(
    file: str,
    calibrator: str,
    output: str,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Write FILE again with calibrated logits, whose softmax gives the new probabilities.

    Everything else is kept except the head, which does not give the new logits.  Where all
    rows are labelled, accuracy, NLL, Brier score and ECE are printed before and after.
    """
    from ood_toolkit.calibration.persistence import read_calibrator
    from ood_toolkit.evaluation.inspection import doubts_about_logits
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import refuse_same_file, save_outputs
    from ood_toolkit.io.save import SAVED_AS

    check_file(output, *SAVED_AS)
    with talking(quiet, verbose) as talk:
        refuse_same_file(output, [file, calibrator, *([files.head] if files.head else [])])
        saved = read_calibrator(calibrator)
        record = files.load(file, labels="lenient")
        for doubt in doubts_about_logits(record):
            talk.note(f"Warning: {file}: {doubt}")
        calibrated = saved.calibrator.apply(record)
        document = {
            "method": saved.calibrator.name,
            "output": output,
            "rows": len(record),
            **_comparison(record, calibrated),
        }
        _warn_of_leak(talk, file, saved.fitted_on, "before" in document)
        save_outputs(calibrated, output)
    _print(plain(document), as_json, quiet)


def _comparison(before: Outputs, after: Outputs) -> dict[str, Any]:
    """Predictions changed and, where all rows are labelled, the quality before and after."""
    from ood_toolkit.calibration import changed_predictions, probability_quality

    facts: dict[str, Any] = {"changed_predictions": changed_predictions(before, after)}
    if before.labels is not None and len(before) and (before.labels >= 0).all():
        facts["before"] = probability_quality(before).to_json()
        facts["after"] = probability_quality(after).to_json()
    return facts


def _warn_of_leak(talk: Talk, file: str, fitted_on: Any, measured: bool) -> None:
    from ood_toolkit.io import file_digest

    if measured and fitted_on.get("sha256") == file_digest(file):
        talk.note(
            f"Warning: {file}: the calibrator was fitted on these rows; the figures after are "
            "too good, measure on others"
        )


def _print(document: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(document)
        return
    if quiet:
        return
    before, after = document.pop("before", None), document.pop("after", None)
    document.get("report", {}).pop("keeps_prediction", None)  # of what auto chose: said once
    print_facts(document)
    if before is not None:
        columns = ["", "accuracy", "NLL", "Brier", "ECE"]
        print_table(
            columns,
            [
                [
                    name,
                    shown(q["accuracy"]),
                    _number(q["nll"]),
                    _number(q["brier"]),
                    shown(q["ece"]),
                ]
                for name, q in (("before", before), ("after", after))
            ],
            left=[""],
        )


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"  # "inf" is no JSON number
