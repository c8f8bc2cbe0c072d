"""`ood-toolkit score`: one row of scores for each row of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from .asked import Asked, asked_options, detectors_option
from .console import print_json, progress
from .jobs import (
    cluster,
    dask_option,
    inputs_of,
    made_of,
    refuse_inputs,
    report_failed,
    resume_options,
    run_job,
    run_on_cluster,
)
from .method_names import parameters_by_method
from .options import FileOptions, Talk, file_options, memory_option, print_options, talking
from .outputs import check_place
from .startup import loading

if TYPE_CHECKING:
    from ood_toolkit.decision import Policy, Rule
    from ood_toolkit.outputs import Head, Outputs
    from ood_toolkit.protocols import Scorer
    from ood_toolkit.scoring import Input

__all__ = ["score"]


@click.command()
@click.argument("inputs", metavar="FILE...", nargs=-1, required=True)
@asked_options()
@detectors_option()
@click.option(
    "--policy",
    "policy_file",
    metavar="POLICY",
    help="A policy, saved by `policy`: adds an action and a reason for each row.",
)
@click.option(
    "-o",
    "--output",
    metavar="SCORES",
    default="-",
    show_default=True,
    help=".parquet, .csv, .npz or .jsonl; - is stdout; 'FOLDER/*.parquet' (also .npy, .zarr) is a "
    "folder of parts.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "jsonl", "npz", "parquet"]),
    help="Format, if the file name does not show it.",
)
@file_options
@memory_option
@resume_options
@dask_option
@print_options
def score(
    inputs: tuple[str, ...],
    asked: Asked,
    detectors: tuple[str, ...],
    policy_file: str | None,
    output: str,
    format_: str | None,
    files: FileOptions,
    resume: bool,
    force: bool,
    dask: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score each row of one or more outputs files.

    Higher = more in-distribution.  Columns: index, prediction, label where known, one
    per method; with a detector that has a threshold also the p-value and whether the row is
    accepted; with a policy also the action (accept, defer or reject) and the reason.
    """
    names = asked.names()
    stacks = _refuse_what_does_not_fit(
        inputs, asked, detectors, policy_file, output, dask=dask, as_json=as_json
    )
    with loading():
        from ood_toolkit.decision.row_columns import row_columns
        from ood_toolkit.io.destination import Destination
        from ood_toolkit.io.object_store import is_url
        from ood_toolkit.scoring import ScoreJob

    with talking(quiet, verbose) as talk, cluster(dask) as client:
        given = [*inputs, *asked.given(), *detectors, *([files.head] if files.head else [])]
        given += [path for paths in stacks.values() for path in paths]
        destination = Destination.of(output, format_)  # what it cannot be is told before any work
        refuse_inputs(output, given + ([policy_file] if policy_file else []))
        if not (output == "-" or destination.shown or is_url(destination.output)):
            check_place(destination.output)
        scorers, thresholds, head = _scorers(names, asked, detectors, files, stacks)
        policy = _policy(policy_file) if policy_file else None
        if policy is not None:
            scorers = policy.scorers
        head_from = asked.train if head is not None else None
        opened = _opened(inputs, files, stacks["FILE"], head, head_from, client, talk)
        saved = [*detectors, *([policy_file] if policy_file else [])]
        job = ScoreJob(
            opened,
            lambda x: row_columns(x, scorers, thresholds, policy),
            lambda: made_of(opened, scorers, saved, stacks["FILE"], files),
            4 + len(scorers) + 2 * len(thresholds),
        )
        outcome = None
        with progress(len(job.plan()), quiet=quiet) as step:
            if client is not None:
                from ood_toolkit.distributed import Wanted

                fitted = {name: scorers[name] for name in names}
                wanted = Wanted(files.reading(), fitted, detectors, policy_file, head_from)
                outcome = run_on_cluster(
                    client, job, wanted, output, format_, resume=resume, force=force, step=step
                )
                again = outcome.remade
            else:
                again = run_job(job, output, format_, files, resume=resume, force=force, step=step)
        if again:
            talk.note(f"Warning: {output}: {len(again)} parts had changed and were made again")
        if outcome is not None and outcome.failed:
            sources = [x.place or x.name for x in opened]
            report_failed(outcome, lambda part: sources[part.source], len(job.plan()), output)
    if as_json:
        print_json(
            {
                "output": output,
                "rows": sum(x.rows for x in opened),
                "files": [{"file": x.place or x.name, "rows": x.rows} for x in opened],
                "columns": job.names(),
            }
        )


def _refuse_what_does_not_fit(
    inputs: tuple[str, ...],
    asked: Asked,
    detectors: tuple[str, ...],
    policy_file: str | None,
    output: str,
    *,
    dask: str | None,
    as_json: bool,
) -> dict[str, list[str]]:
    """Refuse options that contradict each other; the member files by the input they belong to."""
    names = asked.names()
    if not names and not detectors and not policy_file:
        raise click.UsageError("say what to score with: -m NAME, --detector or --policy FILE")
    if policy_file and (names or detectors):
        raise click.UsageError("a --policy has its own detectors: leave out -m and --detector")
    if as_json and output == "-":
        raise click.UsageError("--json describes the run on stdout: give the scores a file with -o")
    if "all" in names:
        raise click.UsageError(
            "score takes methods by name, which `ood-toolkit methods` lists; evaluate takes all"
        )
    if asked.members and len(inputs) > 1:
        raise click.UsageError("--member goes with one FILE: score several one at a time")
    stacks = asked.stacks("FILE")
    if dask and (stacks["FILE"] or "-" in inputs):
        raise click.UsageError("--dask takes files that workers can open, without --member of FILE")
    if dask and output == "-":
        raise click.UsageError("--dask writes parts beside a file: give the scores one with -o")
    return stacks


def _opened(
    inputs: tuple[str, ...],
    files: FileOptions,
    members: Sequence[str],
    head: Head | None,
    head_from: str | None,
    client: Any,
    talk: Talk,
) -> list[Input]:
    """The inputs, each looked at: here, or those in a store by the workers where there are any."""
    with loading():
        from ood_toolkit.evaluation.inspection import doubts_about_logits
        from ood_toolkit.scoring import url_inputs

    def open_one(name: str) -> Outputs:
        return files.load(name, labels="lenient", head=head, members=members)

    def doubt(name: str, text: str) -> None:
        talk.note(f"Warning: {name}: {text}")

    def look(name: str, record: Outputs) -> None:
        for text in doubts_about_logits(record):
            doubt(name, text)

    def in_store(url: str) -> list[Input]:
        if client is None:
            return url_inputs(url, files.reading(), head, look)
        from ood_toolkit.distributed import url_inputs as seen_by_workers

        return seen_by_workers(client, url, files.reading(), head_from, doubt)

    return inputs_of(inputs, open_one, look, in_store)


def _policy(path: str) -> Policy:
    from ood_toolkit.decision import load_policy  # loads what a score alone does not need

    return load_policy(path)


def _scorers(
    names: list[str],
    asked: Asked,
    detectors: tuple[str, ...],
    files: FileOptions,
    stacks: Mapping[str, list[str]],
) -> tuple[dict[str, Scorer], dict[str, Rule], Any]:
    """Fitted scorers and thresholds by column name, and the head of the training file."""
    from ood_toolkit.detectors.planner import as_detector, fit_method

    # an unknown name is an error before any file is read
    parameters = parameters_by_method(asked.settings, names)
    made = {name: as_detector(name, parameters[name]) for name in names}
    record = asked.fit_on(files, stacks)
    head = record.head if record else None
    held_out = asked.held_out(files, stacks, head)
    scorers: dict[str, Scorer] = {
        name: fit_method(detector, record, held_out) for name, detector in made.items()
    }
    thresholds: dict[str, Rule] = {}
    if not detectors:
        return scorers, thresholds, head
    from ood_toolkit.decision import rule_from
    from ood_toolkit.detectors.persistence import read_scorer

    for path in detectors:
        saved = read_scorer(path)
        if saved.scorer.name in scorers:
            raise click.UsageError(f"{path}: {saved.scorer.name} is asked for twice")
        scorers[saved.scorer.name] = saved.scorer
        if saved.threshold is not None:
            thresholds[saved.scorer.name] = rule_from(
                saved.threshold, saved.id_scores, saved.id_predictions
            )
    return scorers, thresholds, head
