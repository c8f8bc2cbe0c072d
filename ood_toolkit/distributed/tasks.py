"""What runs on a worker: one task makes one part, writes it at once, and returns a receipt.

A task is given where things lie, never the things: inputs by name, fitted detectors by path and
checksum, the part by its rows.  What was opened for one part stays open for the next.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from ood_toolkit.decision.row_columns import row_columns
from ood_toolkit.distributed.cluster import use_one_thread, worker_folder
from ood_toolkit.errors import DataError
from ood_toolkit.evaluation.inspection import doubts_about_logits
from ood_toolkit.io import atomic_write, file_digest, load_head
from ood_toolkit.io.object_store import absolute_path
from ood_toolkit.io.parts import Part, PartStore, Receipt, write_part
from ood_toolkit.io.reading import Reading, load_url
from ood_toolkit.outputs import Array, Head, Outputs
from ood_toolkit.protocols import Scorer
from ood_toolkit.scoring import Input, ScoreJob

__all__ = ["InputFacts", "Look", "Recipe", "State", "look_at", "make_part"]


@dataclass(frozen=True, slots=True)
class InputFacts:
    """An input as the driver found it; a worker that finds another one says so.

    Attributes
    ----------
    name : str
        Path, the same on every worker.
    rows, row_bytes : int
        How many rows, and what one takes.
    has : frozenset of str
        Its parts.
    first : int
        Number of its first row in what the user named.
    stamp : tuple of pairs
        Of an object in a store: what `url_stamp` says of it.
    """

    name: str
    rows: int
    row_bytes: int
    has: frozenset[str]
    first: int = 0
    stamp: tuple[tuple[str, Any], ...] = ()

    def load(self, reading: Reading, head: Head | None) -> Outputs:
        """The record, read on this worker."""
        if not self.stamp:
            return reading.load(self.name, labels="lenient", otherwise=head)
        return load_url(
            self.name,
            reading,
            labels="lenient",
            otherwise=head,
            stamp=dict(self.stamp),
            around=worker_folder(),
        )


@dataclass(frozen=True, slots=True)
class State:
    """A fitted detector or policy on a disk that all workers see, or among the parts.

    Attributes
    ----------
    path : str
        The file.
    sha256 : str
        Of its bytes, checked by each worker before it is read.
    store : PartStore, optional
        Where a file of that name lies; without one it is a file of a disk.
    """

    path: str
    sha256: str
    store: PartStore | None = None

    @classmethod
    def of(cls, path: str) -> State:
        """The state in a file that is there."""
        return cls(absolute_path(path), file_digest(path))

    def checked(self) -> str:
        """The path, once its bytes are those that the driver saw."""
        path = self.path if self.store is None else self._copied(self.store)
        if file_digest(path) != self.sha256:
            raise DataError(self.path, "", "is another file here than where the job was started")
        return path

    def _copied(self, store: PartStore) -> str:
        folder = os.path.join(worker_folder() or tempfile.gettempdir(), "ood_toolkit-states")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, self.sha256 + os.path.splitext(self.path)[1])
        if not os.path.exists(path):
            with atomic_write(path) as file:
                file.write(store.read(self.path))
        return path


@dataclass(frozen=True)
class Recipe:
    """All that scoring depends on, small enough to travel with every task.

    Parameters
    ----------
    inputs : tuple of InputFacts
        In the order of the rows.
    reading : Reading
        How they are read.
    detectors : tuple of State
        Each with the threshold it may have.
    policy : State, optional
        In place of detectors.
    head : State, optional
        A file whose last layer serves inputs without one.
    names : tuple of str
        What the `file` column says of each input.
    """

    inputs: tuple[InputFacts, ...]
    reading: Reading
    detectors: tuple[State, ...]
    policy: State | None = None
    head: State | None = None
    names: tuple[str, ...] = ()

    def states(self) -> list[State]:
        """Fitted things that the driver put among the parts."""
        found = [*self.detectors, self.policy, self.head]
        return [s for s in found if s and os.path.basename(s.path).startswith(".")]

    def job(self) -> ScoreJob:
        """The job as one process sees it."""
        head = load_head(self.head.checked()) if self.head else None
        scorers, rules, policy = self._states()

        def open_one(facts: InputFacts) -> Outputs:
            record = facts.load(self.reading, head)
            if len(record) != facts.rows:
                raise DataError(
                    facts.name,
                    "",
                    f"has {len(record)} rows here and {facts.rows} where the job was started",
                )
            return record

        inputs = [
            Input(name, partial(open_one, f), f.rows, f.row_bytes, f.has, f.first)
            for name, f in zip(self.names, self.inputs, strict=True)
        ]
        width = 4 + len(scorers) + 2 * len(rules)
        return ScoreJob(inputs, lambda x: row_columns(x, scorers, rules, policy), dict, width)

    def _states(self) -> tuple[Mapping[str, Scorer], dict[str, Any], Any]:
        from ood_toolkit.decision import load_policy, rule_from
        from ood_toolkit.detectors.persistence import read_scorer

        if self.policy is not None:
            policy = load_policy(self.policy.checked())
            return policy.scorers, {}, policy
        scorers: dict[str, Scorer] = {}
        rules: dict[str, Any] = {}
        for state in self.detectors:
            saved = read_scorer(state.checked())
            scorers[saved.scorer.name] = saved.scorer
            if saved.threshold is not None:
                rules[saved.scorer.name] = rule_from(
                    saved.threshold, saved.id_scores, saved.id_predictions
                )
        return scorers, rules, None


@lru_cache(maxsize=2)
def _job(key: str, recipe: _ByKey) -> ScoreJob:
    return recipe.recipe.job()


@dataclass(frozen=True)
class _ByKey:
    """A recipe that is told from others by its key alone."""

    recipe: Recipe

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByKey)


def make_part(
    key: str, recipe: Recipe, part: Part, store: PartStore, format: str = "npz"
) -> Receipt | DataError:
    """Score one part and write it; runs on a worker.

    Parameters
    ----------
    key : str
        Names the job among those of this worker; its opened files are kept under it.
    recipe : Recipe
        What to do.
    part : Part
        Which rows.
    store : PartStore
        Where it goes.
    format : str
        What it is written as.

    Returns
    -------
    Receipt or DataError
        The error where it was scored and could not be written.
    """
    use_one_thread()
    table: dict[str, Array] = _job(key, _ByKey(recipe)).table(part)
    try:
        return write_part(store, part, table, format)
    except DataError as reason:
        return reason


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker found in an object of a store.

    Attributes
    ----------
    rows, row_bytes : int
        How many rows, and what one takes.
    has : frozenset of str
        Its parts.
    doubts : tuple of str
        What is odd about its logits.
    """

    rows: int
    row_bytes: int
    has: frozenset[str]
    doubts: tuple[str, ...]


def look_at(url: str, reading: Reading, head: State | None) -> Look:
    """Fetch an object and say what is in it; runs on a worker, which keeps its copy a while."""
    use_one_thread()
    other = load_head(head.checked()) if head else None
    record = load_url(url, reading, labels="lenient", otherwise=other, around=worker_folder())
    found = Input.of(url, record, lambda: record)
    return Look(found.rows, found.row_bytes, found.has, tuple(doubts_about_logits(record)))
