"""Files scored by the workers of a Dask cluster: the same parts, and the same bits, as by one."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.persistence import save_scorer
from ood_toolkit.distributed.cluster import dask_library
from ood_toolkit.distributed.tasks import InputFacts, Recipe, State, make_part
from ood_toolkit.errors import InputError
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.part_folder import FolderStore, already_whole, finish, locked_folder
from ood_toolkit.io.parts import Part, PartStore
from ood_toolkit.io.reading import Reading
from ood_toolkit.io.score_writer import write_file
from ood_toolkit.protocols import Scorer
from ood_toolkit.scoring import ScoreJob

__all__ = ["Outcome", "Wanted", "score_to_file"]

AHEAD = 4
"""Tasks a worker is given before it has finished any: it never waits, and little is kept."""


@dataclass(frozen=True)
class Wanted:
    """What is to be scored with what; a job's driver makes its recipe of it.

    Parameters
    ----------
    reading : Reading
        How the inputs are read.
    scorers : mapping of str to Scorer
        Fitted in this process; saved beside the parts for the workers.
    detectors : sequence of str
        Detector files.
    policy : str, optional
        A policy file, in place of both.
    head : str, optional
        A file whose last layer serves inputs without one.
    """

    reading: Reading = field(default_factory=Reading)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    detectors: Sequence[str] = ()
    policy: str | None = None
    head: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job on a cluster ended.

    Attributes
    ----------
    remade : list of int
        Parts that an earlier run had left damaged, and that were made again.
    failed : dict of Part to str
        Parts whose task killed its workers, and what is known of it.  The output is then not
        written; all other parts are kept for a run with `resume`.
    """

    remade: list[int]
    failed: dict[Part, str]


def score_to_file(
    client: Any,
    job: ScoreJob,
    wanted: Wanted,
    output: str,
    format: str,
    *,
    resume: bool = False,
    force: bool = False,
    done: Callable[[Part], None] = lambda part: None,
) -> Outcome:
    """Score a job into a file, its parts made by the workers of a cluster.

    Inputs, fitted detectors and the folder of the output lie on a disk that all workers see.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it.
    job : ScoreJob
        The inputs, opened here; nothing of them is sent.
    wanted : Wanted
        What they are scored with.
    output, format : str
        As for `save_scores`.
    resume, force : bool
        What to do with the parts of an unfinished run: go on from them, or remove them.
    done : callable, optional
        Called with each part that is there.

    Returns
    -------
    Outcome
        Whether some parts failed.

    Raises
    ------
    DataError, InputError
        As when one process scores: a row that cannot be scored ends the job.
    """
    with locked_folder(output) as store:
        plan = job.plan()
        parts = Parts(output, store, job.made_of(), plan)
        parts.begin(resume=resume, force=force)
        if not already_whole(parts, output):
            recipe = _recipe(job, wanted, store)
            make_parts(client, recipe, parts, store, done)
        if parts.failed:
            parts.save(at_once=True)
        else:
            finish(
                parts,
                store,
                output,
                lambda path: write_file(
                    lambda: (table for _, table in parts.tables()), path, format, output
                ),
            )
        return Outcome(parts.remade, {plan[n]: parts.failed[n] for n in sorted(parts.failed)})


def _recipe(job: ScoreJob, wanted: Wanted, store: FolderStore) -> Recipe:
    states = []
    for name, scorer in wanted.scorers.items():
        if not isinstance(scorer, FittedScorer):
            raise InputError(f"{name}: only the toolkit's own scorers can be sent to workers")
        path = os.path.join(store.folder, f".{name}.safetensors")
        save_scorer(scorer, path)
        states.append(State.of(path))
    inputs = tuple(
        InputFacts(os.path.abspath(x.name), x.rows, x.row_bytes, x.has) for x in job.inputs
    )
    reading = wanted.reading
    if reading.head:
        reading = replace(reading, head=os.path.abspath(reading.head))
    return Recipe(
        inputs,
        reading,
        (*states, *(State.of(path) for path in wanted.detectors)),
        State.of(wanted.policy) if wanted.policy else None,
        State.of(wanted.head) if wanted.head else None,
        tuple(x.name for x in job.inputs),
    )


def make_parts(
    client: Any,
    recipe: Recipe,
    parts: Parts,
    store: PartStore,
    done: Callable[[Part], None],
) -> None:
    """Have the missing parts made; a part whose task keeps killing workers is noted as failed."""
    distributed = dask_library()
    key = hashlib.sha256(pickle.dumps(recipe)).hexdigest()
    parts.failed.clear()
    missing = {part.number: part for part in parts.missing()}
    for part in parts.plan:
        if part.number not in missing:
            done(part)
    waiting = iter(missing.values())
    at_work = distributed.as_completed()
    given: dict[str, tuple[Any, Part]] = {}

    def hand_out(count: int) -> None:
        for _, part in zip(range(count), waiting, strict=False):
            future = client.submit(make_part, key, recipe, part, store, pure=False)
            given[future.key] = future, part
            at_work.add(future)

    try:
        hand_out(AHEAD * max(1, len(client.scheduler_info()["workers"])))
        for future in at_work:
            _, part = given.pop(future.key)
            reason = future.exception()
            if reason is None:
                parts.note(future.result())
                done(part)
            elif isinstance(reason, distributed.KilledWorker):
                parts.note_failure(part, "its task killed every worker that it was given to")
            else:
                raise reason
            hand_out(1)
    except InputError:
        parts.clear()  # a row that cannot be scored: no later run could either
        for state in recipe.detectors:
            store.remove(os.path.basename(state.path))
        raise
    finally:
        client.cancel([future for future, _ in given.values()])
        if parts.done:
            parts.save(at_once=True)
