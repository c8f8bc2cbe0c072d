"""Trust score: how much nearer the predicted class is than any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import located, logit_chunks
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.training import feature_matrix, training_features
from ood_toolkit.errors import InputError
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["TrustScore", "TrustScoreScorer"]

LEAST = 1e-12
"""Added to the distance of the predicted class, so that a training row has a finite score."""


@method(
    "trust_score",
    family="features + head",
    needs="logits features",
    train="features labels",
    reference="Jiang et al., NeurIPS 2018",
    laws="feature_rotation class_permutation",
    grid={"k": (5, 10, 20), "alpha": (0, 0.05, 0.1)},
)
@dataclass(frozen=True)
class TrustScore:
    """Distance to the nearest other class over the distance to the predicted class.

    S = min_{c != y} d_c(f) / (d_y(f) + 1e-12), y the predicted class, in [0, inf);
    larger = more in-distribution.  d_c is the exact Euclidean distance to a training row of
    class c, of the rows that are left after the rarest of each class are dropped.

    Parameters
    ----------
    k : int
        Neighbours that say how dense the class is around a row: its radius is the distance to
        the k-th row of its class, itself counted.  Only `alpha` > 0 looks at it.
    alpha : float
        Share of each class, in [0, 1), that is dropped: rows whose radius is above the
        (1 - alpha) quantile of the class.
    neighbor : int
        Which row of a class d_c is the distance to: 1, the nearest, is the paper's distance to
        a set; the authors' code takes the second.  The last row of a smaller class.

    Notes
    -----
    Fit O(N (C + D)) time, O(N D) memory; score O(N (C + B D)) time, O(N D) memory; alpha > 0
    searches each class for its own rows, O(N^2 D) at most.

    Works where the predicted class is not the nearest one, a sign of error; fails where outliers
    lie behind their predicted class, for a ratio does not know how far both classes are.

    References
    ----------
    Jiang et al., "To Trust Or Not To Trust A Classifier", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, TrustScore
    >>> train = Outputs(features=np.array([[0.0], [1.0], [5.0], [6.0]]), labels=[0, 0, 1, 1])
    >>> x = Outputs(features=np.array([[2.0], [4.0]]), logits=np.array([[1.0, 0.0]] * 2))
    >>> TrustScore().fit(train).score(x).round(4)
    array([3.    , 0.3333])
    """

    k: int = 10
    alpha: float = 0.0
    neighbor: int = 1

    def __post_init__(self) -> None:
        require(self.k >= 1, f"trust_score.k must be at least 1, got {self.k}")
        require(0 <= self.alpha < 1, f"trust_score.alpha must lie in [0, 1), got {self.alpha}")
        require(self.neighbor >= 1, f"trust_score.neighbor must be >= 1, got {self.neighbor}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> TrustScoreScorer:
        """Keep the training features by class, without the rarest of each."""
        record = training_features("trust_score", train)
        labels = training_labels("trust_score", record)
        classes = max(record.classes, int(labels.max()) + 1)
        if classes < 2:
            raise InputError(located(record, "trust_score needs at least two classes"))
        rows = feature_matrix(record)
        banks = [self._dense(rows[labels == c]) for c in range(classes)]
        starts = np.cumsum([0, *(len(bank) for bank in banks)], dtype=np.int64)
        return TrustScoreScorer(
            self, classes, rows.shape[1], np.concatenate(banks), starts, len(rows)
        )

    def _dense(self, rows: Array) -> Array:
        """The rows of a class that lie where it is dense."""
        if self.alpha == 0:
            return rows
        radii = NeighborIndex.build(rows).kth_distance(rows, self.k)
        return np.asarray(rows[radii <= np.quantile(radii, 1 - self.alpha)])


@dataclass(frozen=True)
class TrustScoreScorer(FittedScorer):
    """Fitted `TrustScore`.

    Attributes
    ----------
    bank : (M, D) array of float32 or float64
        Training features that are left, class after class.
    starts : (C + 1,) array of int64
        First row of each class in the bank, and M.
    rows : int
        Training rows before the rarest were dropped.
    """

    bank: Array
    starts: Array
    rows: int

    shapes = {"bank": "M D", "starts": "S"}

    def _score(self, x: Outputs) -> Array:
        predicted = np.empty(len(x), dtype=np.int64)
        for part, logits in logit_chunks(x):
            predicted[part] = logits.argmax(axis=1)
        queries = feature_matrix(x, dtype=self.bank.dtype)
        own, other = np.zeros(len(x)), np.full(len(x), np.inf)
        for c, (first, last) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            index = NeighborIndex.build(self.bank[first:last])
            distance = index.kth_distance(queries, self.detector.neighbor)
            mine = predicted == c
            own[mine] = distance[mine]
            np.minimum(other, np.where(mine, np.inf, distance), out=other)
        return np.asarray(other / (own + LEAST))

    def report(self) -> Mapping[str, Any]:
        """Training rows, how many are left, and those of the smallest class."""
        sizes = np.diff(self.starts)
        return {"rows": self.rows, "kept": len(self.bank), "smallest_class": int(sizes.min())}
