"""Local outlier factor: how much sparser it is around a row than around its neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.training import feature_matrix, training_features
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["LOF", "LOFScorer"]

LEAST = 1e-10
"""Added to a mean reachability distance, as scikit-learn does, so that copies have a density."""


def _density(distances: Array, reach: Array) -> Array:
    """Local reachability density from distances to k rows and those rows' own reach.  (n, k)."""
    return np.asarray(1.0 / (np.maximum(distances, reach).mean(axis=1) + LEAST))


@method(
    "lof",
    family="features",
    needs="features",
    train="features",
    reference="Breunig et al., SIGMOD 2000",
    laws="feature_rotation",
    grid={"k": (5, 10, 20, 50, 100)},
)
@dataclass(frozen=True)
class LOF:
    """Local outlier factor of the feature among the training rows.

    S = -(mean density of the k nearest training rows) / (density at f), in (-inf, 0]; about
    -1 where it is as dense around f as around them; larger = more in-distribution.  The
    density at f is 1 / (mean over its neighbours j of max(||f - f_j||, reach_j) + 1e-10);
    reach_j is the distance of row j to its own k-th neighbour.  It equals `score_samples` of
    scikit-learn's `LocalOutlierFactor(novelty=True)`; the search is exact.

    Parameters
    ----------
    k : int
        Neighbours; clamped to one less than the training rows, with a warning.

    Notes
    -----
    Fit O(N^2 D) time, O(N (D + k)) memory; score O(N B D) time, O(N + B + D + k) memory.

    Works where density differs from place to place and outliers are sparse for theirs; fails where
    many dimensions make all distances alike, and where the training rows next to an outlier are as
    sparse as it is.

    References
    ----------
    Breunig et al., "LOF: Identifying Density-Based Local Outliers", SIGMOD 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import LOF, Outputs
    >>> train = Outputs(features=np.array([[0.0], [1.0], [2.0], [3.0]]))
    >>> LOF(k=1).fit(train).score(Outputs(features=np.array([[1.5], [7.0]])))
    array([-1., -4.])
    """

    k: int = 20

    def __post_init__(self) -> None:
        require(self.k >= 1, f"lof.k must be at least 1, got {self.k}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> LOFScorer:
        """Keep the training features, and the reach and density of each."""
        record = training_features("lof", train)
        if len(record) == 1:
            raise InputError(located(record, "lof needs at least two training rows"))
        k = min(self.k, len(record) - 1)
        if k < self.k:
            message = (
                f"lof: k = {self.k} leaves no row out of the {len(record)} training rows; "
                f"using k = {k}"
            )
            warnings.warn(located(record, message), ToolkitWarning, stacklevel=3)
        bank = feature_matrix(record)
        found = NeighborIndex.build(bank).search(bank, k, exclude=np.arange(len(bank)))
        reach = found.distances[:, -1].copy()
        density = _density(found.distances, reach[found.indices])
        return LOFScorer(self, 0, bank.shape[1], bank, reach, density)


@dataclass(frozen=True)
class LOFScorer(FittedScorer):
    """Fitted `LOF`.

    Attributes
    ----------
    bank : (N, D) array of float32 or float64
        Training features.
    reach : (N,) array of float64
        Distance of each to its k-th nearest other row.
    density : (N,) array of float64
        Local reachability density of each.
    """

    bank: Array
    reach: Array
    density: Array

    shapes = {"bank": "N D", "reach": "N", "density": "N"}

    def _score(self, x: Outputs) -> Array:
        index, scores = NeighborIndex.build(self.bank), np.empty(len(x))
        for part, chunk in feature_chunks(x):
            found = index.search(chunk, self._k)
            own = _density(found.distances, self.reach[found.indices])
            scores[part] = -self.density[found.indices].mean(axis=1) / own
        return scores

    @property
    def _k(self) -> int:
        return min(int(self.detector.k), len(self.bank) - 1)

    def report(self) -> Mapping[str, Any]:
        """Rows in the bank and the k in use."""
        return {"rows": len(self.bank), "k": self._k}
