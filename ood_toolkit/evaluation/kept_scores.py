"""The scores behind an evaluation's results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["KeptScores"]


@dataclass(frozen=True, slots=True, eq=False)
class KeptScores:
    """Scores of every method on every set.

    Parameters
    ----------
    inside, ood : mapping of str to dict of str to array
        Sets that count as in-distribution, the test rows under "", and the others: (N,) scores
        by method; larger = more in-distribution.
    labels : mapping of str to (N,) array of int
        Classes of the rows of sets in `inside`, where they are known.
    """

    inside: Mapping[str, Mapping[str, Array]]
    ood: Mapping[str, Mapping[str, Array]]
    labels: Mapping[str, Array] = field(default_factory=dict)

    def id_scores(self, method: str) -> Array:
        """Of all rows that count as in-distribution, the test rows first."""
        return np.concatenate([scores[method] for scores in self.inside.values()])
