"""Similarity: how many of the nearest support rows agree with a prediction, without a gap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.neighbors.runs import matching_runs
from ood_toolkit.outputs import Array

__all__ = ["KNOWN_OOD", "UNLABELLED", "Matches", "Support"]

UNLABELLED = -1
"""Label of a support row whose class is not known; it ends any run."""

KNOWN_OOD = -99
"""Label of a support row that is known to belong to no class; it ends any run."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What the support says about N predictions.

    Attributes
    ----------
    similarity : (N,) int64 array
        Agreeing nearest support rows before the first that does not, at most the cap.
    nearest : (N,) float64 array
        Distance to the nearest support row; infinite where there is none.
    breaker : (N,) int64 array
        The support row that ends the run; -1 where the cap or the support does.
    """

    similarity: Array
    nearest: Array
    breaker: Array


@dataclass(frozen=True)
class Support:
    """Rows that vouch for predictions.

    Parameters
    ----------
    features : (M, D) array of float32 or float64
        Where the rows lie.
    labels : (M,) array of int
        Classes; `UNLABELLED` and `KNOWN_OOD` are none.
    predictions : (M,) array of int
        What the classifier said about them.
    """

    features: Array
    labels: Array
    predictions: Array

    @cached_property
    def vouches(self) -> Array:
        """The class each row vouches for: its label where that was predicted, else -1."""
        return np.where((self.labels == self.predictions) & (self.labels >= 0), self.labels, -1)

    @cached_property
    def index(self) -> NeighborIndex:
        """All rows, ready to be searched."""
        return NeighborIndex.build(self.features)

    def match(
        self, queries: Array, predictions: Array, cap: int, exclude: Array | None = None
    ) -> Matches:
        """Similarity, nearest distance and breaking row of each query.

        Parameters
        ----------
        queries : (N, D) array of float
            In the coordinates of the support's features.
        predictions : (N,) array of int
            Their predicted classes.
        cap : int
            Largest similarity that is told apart.
        exclude : (N,) array of int, optional
            The support row that each query is, left out of its search; -1 for none.

        Returns
        -------
        Matches
            Exact, ties between equally distant rows going to the lower support row.
        """
        runs = matching_runs(self.index, queries, self.vouches, predictions, exclude=exclude)
        return Matches(
            np.minimum(runs.length, cap),
            runs.nearest,
            np.where(runs.length < cap, runs.breaker, -1),
        )
