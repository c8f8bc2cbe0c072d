"""Scores from the boundaries between the predicted class and every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.chunks import scored_features
from ood_toolkit.detectors.base import FittedScorer, StatisticsScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.feature_means import class_means_of, mean_of
from ood_toolkit.kernels.boundaries import boundary_angles, boundary_distances
from ood_toolkit.kernels.prototypes import squared_lengths
from ood_toolkit.kernels.statistics import PREDICTION, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs

__all__ = ["ORA", "BoundaryScorer", "FDBD"]

MOST_CLASSES = 2048
"""Up to so many classes the products of all pairs of weights are held; beyond, a row's own."""
TOGETHER = 128
"""Rows of logits that are measured at a time."""


@method(
    "fdbd",
    family="features + head",
    needs="logits features",
    train="features head",
    reference="Liu & Qin, ICML 2024",
    laws="class_permutation feature_rotation",
    grid={"regulariser": ("distance", "norm")},
)
@dataclass(frozen=True)
class FDBD:
    """Distance to the decision boundaries, in units of the distance to the training mean.

    S = sum_{c != y} |z_y - z_c| / ||w_y - w_c|| / ||f - mu||, in [0, inf); larger = more
    in-distribution.  y is the prediction; a class whose weights equal those of y has no
    boundary and does not count.

    Parameters
    ----------
    reduce : "sum" or "mean"
        Over the other classes: the sum of both public codes, or the paper's average.
    regulariser : "distance" or "norm"
        Divide by ||f - mu||, or by ||f||.

    Notes
    -----
    Fit O(N C D) time, O(C D) memory; score O(N (C + D) + C^2 D) time, O(N + C^2 + D) memory; beyond
    2,048 classes O(N C D) time, O(N + C + D) memory.

    Works where familiar features are far from every boundary for their distance from the mean, as
    after neural collapse; fails where classes overlap, and where the head is not the linear map of
    these features.

    References
    ----------
    Liu & Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import FDBD, Head, Outputs
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = FDBD().fit(Outputs(features=f, head=head))
    >>> scorer.score(Outputs(features=np.array([[2.0, 1.0, 1.0]]), head=head)).round(4)
    array([1.3914])
    """

    reduce: Literal["sum", "mean"] = "sum"
    regulariser: Literal["distance", "norm"] = "distance"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean feature; keep the inverse distances between the head's rows."""
        mean, head = mean_of("fdbd", train)
        origin = mean if self.regulariser == "distance" else np.zeros_like(mean)
        return BoundaryScorer(
            self, head.weight.shape[0], mean.size, origin, head.weight.astype(np.float64)
        )


@method(
    "ora",
    family="features + head",
    needs="logits features",
    train="features labels head",
    reference="Demirel et al., NeurIPS 2025",
    laws="class_permutation feature_rotation",
)
@dataclass(frozen=True)
class ORA:
    """Largest angle, seen from the training mean, between feature and decision boundary.

    S = max_{c != y} angle(f - m, f_c - m) / pi, in [0, 1]; larger = more in-distribution.  f_c
    is the point of the boundary between the prediction y and class c that is nearest to f; m
    is the mean of the class means.

    Notes
    -----
    Fit O(N C D) time, O(N + C D) memory; score O(N C D + C^2 D) time, O(N + C^2 + D) memory; beyond
    2,048 classes O(N + C + D) memory.

    Works where the direction from the training mean, and not the length, separates outliers; fails
    where they are near their closest rival only, since the one boundary seen at the largest angle
    decides.

    References
    ----------
    Demirel et al., out-of-distribution detection with relative angles, NeurIPS 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, ORA, Outputs
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = ORA().fit(Outputs(features=f, labels=[0, 0, 0, 1, 1, 1], head=head))
    >>> scorer.score(Outputs(features=np.array([[2.0, 1.0, 1.0]]), head=head)).round(4)
    array([0.5725])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean of the class means."""
        means, head = class_means_of("ora", train)
        weight = head.weight.astype(np.float64)
        return BoundaryScorer(self, len(weight), means.shape[1], means.mean(axis=0), weight)


@dataclass(frozen=True)
class BoundaryScorer(StatisticsScorer):
    """Fitted `FDBD` or `ORA`: scores from the boundaries between the prediction and the rest.

    Attributes
    ----------
    origin : (D,) array of float64
        Where lengths or angles are measured from.
    weight : (C, D) array of float64
        The head's.
    """

    origin: Array
    weight: Array

    shapes = {"origin": "D", "weight": "C D"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The predicted class."""
        return (PREDICTION,)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Distances or angles to the boundaries of the predicted class."""
        assert x.logits is not None
        logits, weight = x.logits, self.weight
        squares = np.einsum("cd,cd->c", weight, weight)
        gram = weight @ weight.T if weight.shape[0] <= MOST_CLASSES else None
        distances, mean = isinstance(self.detector, FDBD), self._averages()

        def measured(f: Array, part: slice) -> Array:
            centred, scores = f - self.origin, np.empty(len(f))
            for first in range(0, len(f), TOGETHER):
                here = slice(first, first + TOGETHER)
                there = slice(part.start + first, min(part.start + first + TOGETHER, part.stop))
                z = np.ascontiguousarray(logits[there], dtype=np.float64)
                top = rows[PREDICTION][there]
                alike = weight[top] @ weight.T if gram is None else gram[top]
                if distances:
                    scores[here] = boundary_distances(z, top, alike, squares, mean)
                    continue
                products, lengths = centred[here] @ weight.T, squared_lengths(centred[here])
                scores[here] = boundary_angles(z, top, alike, squares, products, lengths)
            if distances:
                length = np.linalg.norm(centred, axis=1)
                with np.errstate(divide="ignore"):
                    return np.asarray(np.where(scores > 0, scores / length, 0.0))
            return scores / np.pi

        return scored_features(x, measured)

    def _averages(self) -> bool:
        return isinstance(self.detector, FDBD) and self.detector.reduce == "mean"
