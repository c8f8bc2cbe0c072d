"""`ood-toolkit evaluate`: detectors against out-of-distribution sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_json, progress
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
from .tables import print_evaluation

if TYPE_CHECKING:
    from ood_toolkit.evaluation import Evaluation
    from ood_toolkit.outputs import Outputs

__all__ = ["PARTIAL", "evaluate", "finish", "measure_options"]

FPR_RULES = ["id_positive", "ood_positive", "openood", "odin", "nearest_id", "nearest_ood"]
PARTIAL = 4


def measure_options(command: Any) -> Any:
    """Options that say how to measure and where results go."""
    for option in (
        click.option("--csv", "csv_out", metavar="FILE", help="Also write one line a result."),
        click.option("--json-out", metavar="FILE", help="Also write the JSON document."),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Of the bootstrap.",
        ),
        click.option(
            "--bootstrap",
            type=click.IntRange(min=0),
            default=1000,
            show_default=True,
            help="Resamples behind the intervals of FPR; 0 for none.",
        ),
        click.option(
            "--id-subset",
            type=click.Choice(["all", "correct"]),
            default="all",
            show_default=True,
            help="Whether misclassified in-distribution rows count.",
        ),
        click.option(
            "--aupr",
            type=click.Choice(["step", "trapezoid"]),
            default="step",
            show_default=True,
            help="Estimator of the area under precision-recall.",
        ),
        click.option(
            "--tpr",
            type=click.FloatRange(0, 1, min_open=True),
            default=0.95,
            show_default=True,
            help="True-positive rate at which FPR is read.",
        ),
        click.option(
            "--fpr-rule",
            type=click.Choice(FPR_RULES),
            default="id_positive",
            show_default=True,
            help="Which published definition of FPR@TPR.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--id", "id_file", metavar="FILE", required=True, help="In-distribution test rows.")
@click.option(
    "--ood",
    "ood_files",
    metavar="[GROUP/]NAME=FILE",
    multiple=True,
    required=True,
    help="An out-of-distribution set; repeat for more.",
)
@method_option(required=False, default="all")
@set_option("NAME.KEY")
@train_options
@member_option
@click.option(
    "--tune",
    metavar="id|ood=FILE|none",
    default="none",
    show_default=True,
    help="Choose hyper-parameters: from in-distribution rows alone, or on validation outliers "
    "that are not among the --ood sets.",
)
@measure_options
@file_options
@json_option
@talk_options
def evaluate(
    id_file: str,
    ood_files: tuple[str, ...],
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    train: str | None,
    id_val: str | None,
    members: tuple[str, ...],
    tune: str,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **measure: Any,
) -> None:
    """Measure how well methods tell in-distribution rows from out-of-distribution ones.

    `-m all`, the default, runs every method whose needs the files meet.  Labels of --ood
    files are ignored.
    """
    sets = _sets(ood_files)
    stacks = members_by_set(members, ["id", "train", "id-val", "tune", *sets], None)
    outliers = _validation_outliers(tune)
    names = split_methods(methods)
    from ood_toolkit import api
    from ood_toolkit.detectors.planner import as_detector
    from ood_toolkit.io import refuse_same_file

    with talking(quiet, verbose):
        everything = names == ["all"]
        listed = [row.name for row in api.methods()] if everything else names
        parameters = parameters_by_method(settings, listed)
        detectors = [as_detector(name, parameters[name]) for name in listed]
        inputs = [id_file, *sets.values()]
        inputs += [f for f in (train, id_val, outliers, files.head) if f]
        inputs += [path for paths in stacks.values() for path in paths]
        for out in (measure["json_out"], measure["csv_out"]):
            if out:
                refuse_same_file(out, inputs)
        fit_on = files.load(train, members=stacks["train"]) if train else None
        head = fit_on.head if fit_on else None
        id_test = files.load(id_file, head=head, members=stacks["id"])
        head = head or id_test.head

        def load(path: str, name: str, *, labels: bool = False) -> Outputs:
            return files.load(path, labels=labels, head=head, members=stacks[name])

        held_out = load(id_val, "id-val", labels=True) if id_val else None
        ood = {key: load(path, key) for key, path in sets.items()}
        # fit, rank, and one scoring of each set, per method
        with progress(len(detectors) * (3 + len(ood)), quiet=quiet) as step:
            result = api.evaluate(
                "all" if everything and not settings else detectors,
                id=id_test,
                ood=ood,
                train=fit_on,
                id_val=held_out,
                id_name=_stem(id_file),
                progress=step,
                skip_unmet=everything,
                tune=load(outliers, "tune") if outliers else tune,
                **_measure(measure),
            )
    finish(result, measure, as_json=as_json, quiet=quiet)


def _measure(options: dict[str, Any]) -> dict[str, Any]:
    """The options that `api.evaluate` takes."""
    return {k: v for k, v in options.items() if k not in ("json_out", "csv_out")}


def finish(result: Evaluation, options: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Write what was asked for, print the table, and leave with the status it deserves."""
    import json

    from ood_toolkit.io import atomic_write

    document = result.to_json()
    if options["json_out"]:
        with atomic_write(options["json_out"]) as file:
            file.write((json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    if options["csv_out"]:
        with atomic_write(options["csv_out"]) as file:
            file.write(result.to_csv().encode())
    if as_json:
        print_json(document)
    elif result.results:
        print_evaluation(result, quiet=quiet)
    if not result.results:
        from ood_toolkit.errors import InputError

        notes = [*result.failed, *result.skipped]
        raise InputError(f"no method could run: {notes[0].method}: {notes[0].reason}")
    if result.failed:
        raise click.exceptions.Exit(PARTIAL)


def _validation_outliers(tune: str) -> str | None:
    """The file of --tune ood=FILE; None where nothing or in-distribution rows are tuned on."""
    if tune in ("id", "none"):
        return None
    if not tune.startswith("ood=") or tune == "ood=":
        raise click.UsageError(f"--tune {tune}: expected id, none or ood=FILE")
    return tune.removeprefix("ood=")


def _sets(values: tuple[str, ...]) -> dict[str, str]:
    """Files by `[GROUP/]NAME`."""
    sets: dict[str, str] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise click.UsageError(f"--ood {value}: expected [GROUP/]NAME=FILE")
        if name in sets:
            raise click.UsageError(f"--ood {name} is given twice")
        sets[name] = path
    return sets


def _stem(path: str) -> str:
    from pathlib import PurePath

    return PurePath(path).stem
