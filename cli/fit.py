"""`ood-toolkit fit`: fit a detector and save it, with a threshold if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from .asked import method_option, set_option
from .console import print_result
from .jobs import dask_option
from .kinds import share
from .members import member_option, members_by_set
from .method_names import parameters_by_method
from .options import FileOptions, file_options, memory_option, print_options, talking
from .outputs import check_file

if TYPE_CHECKING:
    from ood_toolkit.outputs import Outputs

__all__ = ["fit"]


@click.command()
@click.argument("train")
@method_option(required=True, multiple=False)
@set_option("KEY")
@click.option("--id-val", metavar="FILE", help="Held-out in-distribution outputs.")
@member_option
@share(
    "--tpr",
    one=True,
    help="Also set a threshold that accepts this share of the held-out rows.",
)
@click.option(
    "-o", "--output", metavar="DETECTOR", required=True, help="A file ending in .safetensors."
)
@file_options
@memory_option
@dask_option
@print_options
def fit(
    train: str,
    method: str,
    settings: tuple[str, ...],
    id_val: str | None,
    members: tuple[str, ...],
    tpr: float | None,
    output: str,
    files: FileOptions,
    dask: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Fit a method on TRAIN, labelled in-distribution outputs, and save the detector.

    With --tpr the detector also carries a threshold, set on --id-val; `score --detector`
    then also gives each row's p-value and whether it is accepted.
    """
    from ood_toolkit.decision import Threshold
    from ood_toolkit.detectors.planner import as_detector, fit_method
    from ood_toolkit.detectors.saving import save_scorer
    from ood_toolkit.errors import DataError
    from ood_toolkit.evaluation.records import plain
    from ood_toolkit.io import file_digest, refuse_same_file

    check_file(output, ".safetensors")
    stacks = members_by_set(members, ["TRAIN", "id-val"], "TRAIN")
    with talking(quiet, verbose) as talk:
        detector = as_detector(method, parameters_by_method(settings, [method])[method])
        given = [train, *([id_val] if id_val else [])]
        refuse_same_file(output, given + [path for paths in stacks.values() for path in paths])
        record = files.load(train, members=stacks["TRAIN"])
        if len(record) == 0:  # what learns nothing would take them
            raise DataError(train, "", f"{method} cannot be fitted on zero rows")
        held_out = (
            files.load(id_val, head=record.head, members=stacks["id-val"]) if id_val else None
        )
        with _workers(dask, record, files, train, output):
            scorer = fit_method(detector, record, held_out)
        threshold = None
        if tpr is not None:
            if held_out is None:
                talk.note(
                    "Warning: the threshold is set on the training rows themselves, which score "
                    "higher than new ones; give --id-val"
                )
            threshold = Threshold.at_tpr(scorer.score(held_out or record), tpr)
        facts = {"file": train, "rows": len(record), "sha256": file_digest(train)}
        save_scorer(
            scorer,
            output,
            fitted_on=facts,
            threshold=threshold.facts() if threshold else None,
            id_scores=threshold.id_scores if threshold else None,
        )
    document = {"method": method, "output": output, "fitted_on": facts}
    document["report"] = dict(scorer.report())
    if threshold:
        document["threshold"] = threshold.facts()
    print_result(plain(document), as_json=as_json, quiet=quiet)


@contextmanager
def _workers(
    address: str | None, record: Outputs, files: FileOptions, train: str, output: str
) -> Iterator[None]:
    """Where sums over training rows are made: here, or by the workers of a cluster."""
    if address is None:
        yield
        return
    from ood_toolkit.distributed import connected, shared_moments

    with (
        connected(address) as client,
        shared_moments(client, record, files.reading(), train, output),
    ):
        yield
