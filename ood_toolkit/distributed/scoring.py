"""Files scored by the workers of a Dask cluster: the same parts, and the same bits, as by one."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.saving import save_scorer
from ood_toolkit.distributed.driver import Outcome, make_parts
from ood_toolkit.distributed.tasks import InputFacts, Recipe, State, make_part
from ood_toolkit.errors import InputError
from ood_toolkit.io import load_head
from ood_toolkit.io.destination import Destination
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.object_files import url_stamp
from ood_toolkit.io.object_store import absolute_path, is_url
from ood_toolkit.io.part_folder import FolderStore
from ood_toolkit.io.part_formats import captured, content_digest
from ood_toolkit.io.parts import Part, PartStore, encoded
from ood_toolkit.io.reading import Reading
from ood_toolkit.io.score_writer import write_file
from ood_toolkit.protocols import Scorer
from ood_toolkit.scoring import ScoreJob

__all__ = ["Wanted", "score_to_file"]


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


def score_to_file(
    client: Any,
    job: ScoreJob,
    wanted: Wanted,
    output: str,
    format: str | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    done: Callable[[Part], None] = lambda part: None,
) -> Outcome:
    """Score a job into a file, its parts made by the workers of a cluster.

    Inputs, detector files and the folder of the output lie on a disk that all workers see, or
    in a store that they reach by its URL; fitted detectors are put beside the parts.

    Parameters
    ----------
    client : distributed.Client
        As `connected` gives it.
    job : ScoreJob
        The inputs, opened here; nothing of them is sent.
    wanted : Wanted
        What they are scored with.
    output, format : str
        As for `ood_toolkit.scoring.score_to_file`.
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
    destination = Destination.of(output, format)
    with destination.locked() as store:
        parts = destination.parts(store, job.made_of(), job.plan())
        parts.begin(resume=resume, force=force)
        if not destination.is_whole(parts):
            _make(client, _recipe(job, wanted, store), parts, done)
        if parts.failed:
            parts.save(at_once=True)
        else:
            destination.finish(
                parts,
                store,
                lambda path: write_file(
                    lambda: (table for _, table in parts.tables()), path, destination.format, output
                ),
            )
        return Outcome.of(parts)


def _make(client: Any, recipe: Recipe, parts: Parts, done: Callable[[Part], None]) -> None:
    key = hashlib.sha256(pickle.dumps(recipe)).hexdigest()

    def submit(part: Part, store: PartStore) -> Any:
        return client.submit(make_part, key, recipe, part, store, parts.format, pure=False)

    def hopeless() -> None:
        parts.clear()
        for state in recipe.states():
            parts.store.remove(os.path.basename(state.path))

    make_parts(client, submit, parts, done, hopeless)


def _recipe(job: ScoreJob, wanted: Wanted, store: PartStore) -> Recipe:
    states = []
    for number, (name, scorer) in enumerate(wanted.scorers.items()):
        if not isinstance(scorer, FittedScorer):
            raise InputError(f"{name}: only the toolkit's own scorers can be sent to workers")
        states.append(_placed(f".fitted-{number}.safetensors", scorer, store))
    inputs = tuple(
        InputFacts(
            x.place or absolute_path(x.name),
            x.rows,
            x.row_bytes,
            x.has,
            x.first,
            tuple(url_stamp(x.place).items()) if x.place else (),
        )
        for x in job.inputs
    )
    reading = wanted.reading
    if reading.head:
        reading = replace(reading, head=absolute_path(reading.head))
    return Recipe(
        inputs,
        reading,
        (*states, *(_given(path, store) for path in wanted.detectors)),
        _given(wanted.policy, store) if wanted.policy else None,
        _head(wanted.head, store) if wanted.head else None,
        tuple(x.name for x in job.inputs),
    )


def _placed(name: str, scorer: FittedScorer, store: PartStore) -> State:
    """A scorer that was fitted here, saved beside the parts."""
    if isinstance(store, FolderStore):
        path = os.path.join(store.folder, name)
        save_scorer(scorer, path)
        return State.of(path)
    content = captured(".safetensors", lambda path: save_scorer(scorer, path))
    store.write(name, content[""])
    return State(name, content_digest(content), store)


def _given(path: str, store: PartStore) -> State:
    """A file of the user's: the workers see its disk, or find it beside the parts."""
    if isinstance(store, FolderStore):
        return State.of(path)
    state = State.of(path)
    name = f".given-{state.sha256[:16]}{os.path.splitext(path)[1]}"
    with open(path, "rb") as file:
        store.write(name, file.read())
    return State(name, state.sha256, store)


def _head(path: str, store: PartStore) -> State:
    """The last layer in a file: of one that may be large, only that goes to a store."""
    if isinstance(store, FolderStore) and not is_url(path):
        return State.of(path)
    head = load_head(path)
    data = encoded({"head_weight": head.weight, "head_bias": head.bias})
    store.write(".head.npz", data)
    return State(".head.npz", content_digest({"": data}), store)
