"""What `score` has to do as a job of parts, which can be killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from ood_toolkit.distributed import Outcome, Wanted
    from ood_toolkit.io.parts import Part
    from ood_toolkit.outputs import Array, Outputs
    from ood_toolkit.protocols import Scorer
    from ood_toolkit.scoring import Input, ScoreJob

    from .options import FileOptions

__all__ = [
    "cluster",
    "dask_option",
    "inputs_of",
    "made_of",
    "refuse_inputs",
    "report_failed",
    "resume_options",
    "run_job",
    "run_on_cluster",
]

_KEPT = 64 << 20
"""Bytes of opened inputs that are kept; more are opened again when their turn comes."""


def resume_options(command: Any) -> Any:
    """Add --resume and --force."""
    for option in (
        click.option("--force", is_flag=True, help="Delete what an unfinished run left."),
        click.option("--resume", is_flag=True, help="Continue an unfinished run of the same job."),
    ):
        command = option(command)
    return command


def dask_option(command: Any) -> Any:
    """Add --dask."""
    return click.option(
        "--dask",
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://HOST:PORT, or local:N for N workers on this machine.",
    )(command)


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """A client of the cluster, or None where no address is given."""
    if address is None:
        yield None
        return
    from ood_toolkit.distributed import connected

    with connected(address) as client:
        yield client


def refuse_inputs(output: str, given: Sequence[str]) -> None:
    """Refuse to write over an input, on a disk or in a store."""
    from ood_toolkit.io import refuse_same_file
    from ood_toolkit.io.object_store import is_url

    refuse_same_file(output, given)
    if is_url(output) and output in given:
        raise click.UsageError(f"{output} is also an input: write to another one")


def inputs_of(
    names: Sequence[str],
    open_one: Callable[[str], Outputs],
    look: Callable[[str, Outputs], None],
    in_store: Callable[[str], list[Input]],
) -> list[Input]:
    """Open each input once, and again later where it is too large to be kept.

    `in_store` gives the inputs that a URL stands for.
    """
    from functools import partial

    from ood_toolkit.io import file_stamp
    from ood_toolkit.io.object_store import is_url, plain_path
    from ood_toolkit.scoring import Input
    from ood_toolkit.streamed import as_streamed

    found = []
    kept = 0
    for name in map(plain_path, names):
        if is_url(name):
            found += in_store(name)
            continue
        record = open_one(name)
        look(name, record)
        source = Input.of(name, record, partial(open_one, name))
        size = source.rows * source.row_bytes
        streamed = as_streamed(record.logits) or as_streamed(record.features)
        once = "bytes" not in file_stamp(name)  # a pipe
        if streamed is not None or once or kept + size <= _KEPT:
            kept += 0 if streamed is not None else size
            source = Input.of(name, record, partial(_same, record))
        found.append(source)
    return found


def _same(record: Outputs) -> Outputs:
    return record


def made_of(
    inputs: Sequence[Input],
    scorers: Mapping[str, Scorer],
    given: Sequence[str],
    members: Sequence[str],
    files: FileOptions,
) -> dict[str, Any]:
    """All that the scores depend on, JSON-ready; `given` are detector and policy files."""
    from ood_toolkit.detectors.base import FittedScorer
    from ood_toolkit.detectors.saving import scorer_facts
    from ood_toolkit.io import file_digest, file_stamp
    from ood_toolkit.io.object_files import url_stamp

    stamps = [url_stamp(x.place) if x.place else file_stamp(x.name) for x in inputs]
    return {
        "inputs": [{**stamp, "rows": x.rows} for stamp, x in zip(stamps, inputs, strict=True)],
        "members": [file_stamp(name) for name in members],
        "methods": {n: scorer_facts(s) for n, s in scorers.items() if isinstance(s, FittedScorer)},
        "detectors": {name: file_digest(name) for name in given},
        "head": file_digest(files.head) if files.head else "",
        "reading": {"keys": dict(files.keys), "as": files.as_, "dtype": files.dtype},
    }


def run_job(
    job: ScoreJob,
    output: str,
    format_: str | None,
    files: FileOptions,
    *,
    resume: bool,
    force: bool,
    step: Any,
) -> list[int]:
    """Score into a file or to standard output; the parts that had to be made again."""
    import sys

    from ood_toolkit.io import default_memory
    from ood_toolkit.io.destination import Destination
    from ood_toolkit.io.object_store import is_url
    from ood_toolkit.io.score_writer import save_tables, write_text
    from ood_toolkit.scoring import score_to_file
    from ood_toolkit.streamed import Memory

    destination = Destination.of(output, format_)
    chosen, output = destination.format, destination.output
    if output == "-" and (resume or force):
        raise click.UsageError("--resume and --force belong to a file: give the scores one with -o")
    simple = not destination.shown and not is_url(output)
    if simple and job.small(Memory(files.memory or default_memory()).room()):
        tables: list[dict[str, Array]] = []
        for part in job.plan():
            tables.append(job.table(part))
            step(job.inputs[part.source].name)
        save_tables(tables, output, chosen)
        return []
    if output == "-":
        write_text(job.tables(), chosen, sys.stdout)
        sys.stdout.flush()
        return []
    return score_to_file(
        job,
        output,
        chosen,
        resume=resume,
        force=force,
        done=lambda part: step(job.inputs[part.source].name),
    )


def run_on_cluster(
    client: Any,
    job: ScoreJob,
    wanted: Wanted,
    output: str,
    format_: str | None,
    *,
    resume: bool,
    force: bool,
    step: Any,
) -> Outcome:
    """Score into a file on a Dask cluster."""
    from ood_toolkit.distributed import score_to_file

    if output == "-":
        raise click.UsageError("--dask writes parts beside a file: give the scores one with -o")
    return score_to_file(
        client,
        job,
        wanted,
        output,
        format_,
        resume=resume,
        force=force,
        done=lambda part: step(job.inputs[part.source].name),
    )


def report_failed(
    outcome: Outcome, name_of: Callable[[Part], str], total: int, output: str
) -> None:
    """Name the parts that are missing and end with status 4."""
    for part, reason in outcome.failed.items():
        rows = f"rows {part.start} to {part.stop - 1}"
        click.echo(f"Error: {name_of(part)}: part {part.number}: {rows}: {reason}", err=True)
    click.echo(
        f"{output} is not finished: {total - len(outcome.failed)} of {total} parts are kept; "
        "repeat the command with --resume once the cause is mended",
        err=True,
    )
    click.get_current_context().exit(4)
