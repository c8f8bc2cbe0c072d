"""What runs on a worker: one task makes one part, writes it at once, and returns a receipt.

A task is given where things lie, never the things: inputs by name, fitted detectors by path and
checksum, the part by its rows.  What was opened for one part stays open for the next.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from ood_toolkit.decision.row_columns import row_columns
from ood_toolkit.distributed.cluster import use_one_thread
from ood_toolkit.errors import DataError
from ood_toolkit.io import file_digest, load_head
from ood_toolkit.io.parts import Part, PartStore, Receipt, write_part
from ood_toolkit.io.reading import Reading
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer
from ood_toolkit.scoring import Input, ScoreJob

__all__ = ["InputFacts", "Recipe", "State", "make_part"]


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
    """

    name: str
    rows: int
    row_bytes: int
    has: frozenset[str]


@dataclass(frozen=True, slots=True)
class State:
    """A fitted detector or policy on a disk that all workers see.

    Attributes
    ----------
    path : str
        The file.
    sha256 : str
        Of its bytes, checked by each worker before it is read.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str) -> State:
        """The state in a file that is there."""
        return cls(os.path.abspath(path), file_digest(path))

    def checked(self) -> str:
        """The path, once its bytes are those that the driver saw."""
        if file_digest(self.path) != self.sha256:
            raise DataError(self.path, "", "is another file here than where the job was started")
        return self.path


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

    def job(self) -> ScoreJob:
        """The job as one process sees it."""
        head = load_head(self.head.checked()) if self.head else None
        scorers, rules, policy = self._states()

        def open_one(facts: InputFacts) -> Outputs:
            record = self.reading.load(facts.name, labels="lenient", otherwise=head)
            if len(record) != facts.rows:
                raise DataError(
                    facts.name,
                    "",
                    f"has {len(record)} rows here and {facts.rows} where the job was started",
                )
            return record

        inputs = [
            Input(name, partial(open_one, f), f.rows, f.row_bytes, f.has)
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


def make_part(key: str, recipe: Recipe, part: Part, store: PartStore) -> Receipt:
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
    """
    use_one_thread()
    table: dict[str, Array] = _job(key, _ByKey(recipe)).table(part)
    return write_part(store, part, table)
