"""`ood-toolkit score`: one row of scores for each row of the input."""

from __future__ import annotations

from collections.abc import Mapping
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

if TYPE_CHECKING:
    from ood_toolkit.decision import Threshold
    from ood_toolkit.detectors.base import FittedScorer
    from ood_toolkit.outputs import Array, Outputs

__all__ = ["score"]


@click.command()
@click.argument("inputs", metavar="FILE...", nargs=-1, required=True)
@method_option(required=False)
@set_option("NAME.KEY")
@train_options
@member_option
@click.option(
    "--detector",
    "detectors",
    metavar="DETECTOR",
    multiple=True,
    help="A fitted detector, as `fit` saves it.",
)
@click.option(
    "-o",
    "--output",
    metavar="SCORES",
    default="-",
    show_default=True,
    help=".parquet, .csv, .npz or .jsonl; - is stdout.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "jsonl", "npz", "parquet"]),
    help="Format, where the name does not say it.",
)
@file_options
@json_option
@talk_options
def score(
    inputs: tuple[str, ...],
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    train: str | None,
    id_val: str | None,
    members: tuple[str, ...],
    detectors: tuple[str, ...],
    output: str,
    format_: str | None,
    files: FileOptions,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score each row of one or more outputs files.

    Higher = more in-distribution.  Columns: index, prediction, label where known, one for
    each method; with a thresholded detector also its p-value and whether it accepts.
    """
    names = split_methods(methods)
    if not names and not detectors:
        raise click.UsageError("say what to score with: -m NAME or --detector FILE")
    if as_json and output == "-":
        raise click.UsageError("--json describes the run on stdout: give the scores a file with -o")
    if members and len(inputs) > 1:
        raise click.UsageError("--member goes with one FILE: score several one at a time")
    stacks = members_by_set(members, ["FILE", "train", "id-val"], "FILE")
    from ood_toolkit.evaluation.inspection import doubts_about_logits
    from ood_toolkit.io import refuse_same_file, save_scores

    with talking(quiet, verbose) as talk:
        given = [*inputs, *(f for f in (train, id_val, files.head) if f), *detectors]
        given += [path for paths in stacks.values() for path in paths]
        refuse_same_file(output, given)
        scorers, thresholds, head = _scorers(
            names, parameters_by_method(settings, names), train, id_val, detectors, files, stacks
        )
        tables = []
        with progress(len(inputs) * len(scorers), quiet=quiet) as step:
            for name in inputs:
                record = files.load(name, labels="lenient", head=head, members=stacks["FILE"])
                for doubt in doubts_about_logits(record):
                    talk.note(f"Warning: {name}: {doubt}")
                tables.append(_table(record, scorers, thresholds, step))
        columns = _joined(inputs, tables)
        save_scores(columns, output, format=format_)
    if as_json:
        counts = [len(next(iter(table.values()))) for table in tables]
        print_json(
            {
                "output": output,
                "rows": sum(counts),
                "files": [{"file": f, "rows": n} for f, n in zip(inputs, counts, strict=True)],
                "columns": list(columns),
            }
        )


def _scorers(
    names: list[str],
    parameters: Mapping[str, Mapping[str, str]],
    train: str | None,
    id_val: str | None,
    detectors: tuple[str, ...],
    files: FileOptions,
    stacks: Mapping[str, list[str]],
) -> tuple[dict[str, FittedScorer], dict[str, Threshold], Any]:
    """Fitted scorers and thresholds by column name, and the head of the training file."""
    from ood_toolkit.decision import Threshold
    from ood_toolkit.detectors.persistence import read_scorer
    from ood_toolkit.detectors.planner import as_detector, fit_method

    # an unknown name is an error before any file is read
    made = {name: as_detector(name, parameters[name]) for name in names}
    record = files.load(train, members=stacks["train"]) if train else None
    head = record.head if record else None
    held_out = files.load(id_val, head=head, members=stacks["id-val"]) if id_val else None
    scorers = {name: fit_method(detector, record, held_out) for name, detector in made.items()}
    thresholds = {}
    for path in detectors:
        saved = read_scorer(path)
        if saved.scorer.name in scorers:
            raise click.UsageError(f"{path}: {saved.scorer.name} is asked for twice")
        scorers[saved.scorer.name] = saved.scorer
        if saved.threshold is not None:
            thresholds[saved.scorer.name] = Threshold.from_facts(saved.threshold, saved.id_scores)
    return scorers, thresholds, head


def _table(
    x: Outputs,
    scorers: Mapping[str, FittedScorer],
    thresholds: Mapping[str, Threshold],
    step: Any,
) -> dict[str, Array]:
    """The columns of one input."""
    import numpy as np

    from ood_toolkit.detectors.planner import scores_and_statistics
    from ood_toolkit.kernels.statistics import PREDICTION

    table: dict[str, Array] = {"index": np.arange(len(x))}
    wanted = () if x.logits is None else (PREDICTION,)
    scores, rows = scores_and_statistics(x, scorers, wanted, step)
    if wanted:
        table["prediction"] = rows[PREDICTION]
    if x.labels is not None:
        table["label"] = x.labels
    table |= scores
    for name, threshold in thresholds.items():
        table[f"{name}.p_value"] = threshold.p_value(scores[name])
        table[f"{name}.accept"] = threshold.accept(scores[name])
    if len(thresholds) == 1:
        (name,) = thresholds
        table["p_value"], table["accept"] = table[f"{name}.p_value"], table[f"{name}.accept"]
    return table


def _joined(inputs: tuple[str, ...], tables: list[dict[str, Array]]) -> dict[str, Array]:
    """Tables below each other, with a `file` column where there are several."""
    import numpy as np

    first = ["index", "prediction", "label"]
    found = dict.fromkeys(c for table in tables for c in table)
    columns = [c for c in first if c in found] + [c for c in found if c not in first]
    joined: dict[str, Array] = {}
    if len(inputs) > 1:
        lengths = [len(table["index"]) for table in tables]
        joined["file"] = np.repeat(np.array(inputs), lengths)
    for column in columns:
        # labels that only some of the files have are unknown, -1, in the others
        joined[column] = np.concatenate(
            [table.get(column, np.full(len(table["index"]), -1)) for table in tables]
        )
    return joined
