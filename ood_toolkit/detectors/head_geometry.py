"""Scores from how a feature lies to the head's rows and to the training mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.chunks import scored_features
from ood_toolkit.detectors.base import FittedScorer, StatisticsScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.feature_means import mean_of
from ood_toolkit.kernels.statistics import (
    CLASSES,
    NONUNIFORMITY,
    PREDICTION,
    RowStatistics,
    Statistic,
)
from ood_toolkit.outputs import Array, Outputs

__all__ = ["NCI", "GradNorm", "GradNormScorer", "NCIScorer"]


@method(
    "gradnorm",
    family="features + head",
    needs="logits features",
    reference="Huang et al., NeurIPS 2021",
    laws="class_permutation logit_shift",
)
@dataclass(frozen=True)
class GradNorm:
    """L1 norm of the gradient that a uniform target would send to the head's weight.

    S = ||f||_1 sum_c |C p_c - 1| in closed form, in [0, inf); larger = more
    in-distribution.

    Parameters
    ----------
    target : "ones" or "uniform"
        Target 1 for every class, as in the authors' code, or 1/C, as in the paper's text; the
        scores differ by the factor C.

    Notes
    -----
    Fit nothing; score O(N (C + D)) time, O(N + D) memory.

    Works where familiar rows have both longer features and a more peaked softmax; fails where
    outliers have the longer features, for the product then points both ways.

    References
    ----------
    Huang, Geng & Li, "On the Importance of Gradients for Detecting Distributional Shifts in
    the Wild", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import GradNorm, Outputs
    >>> x = Outputs(logits=np.array([[2.6, 0.4]]), features=np.array([[2.0, 1.0, 1.0]]))
    >>> GradNorm().fit().score(x).round(4)
    array([6.404])
    """

    target: Literal["ones", "uniform"] = "ones"

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return GradNormScorer(self, 0, 0)


@dataclass(frozen=True)
class GradNormScorer(StatisticsScorer):
    """Scorer of `GradNorm`."""

    def statistics(self) -> tuple[Statistic, ...]:
        """Distance of the softmax to uniform, and the number of classes."""
        return (NONUNIFORMITY, CLASSES)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Size of the feature times sum |C p - 1|."""
        spread = 2.0 * rows[NONUNIFORMITY]
        if self.detector.target == "ones":
            spread = spread * rows[CLASSES]
        return scored_features(x, lambda f, part: np.abs(f).sum(axis=1) * spread[part])


@method(
    "nci",
    family="features + head",
    needs="logits features",
    train="features head",
    reference="Liu & Qin, CVPR 2025",
    laws="class_permutation",
    grid={"alpha": (1e-4, 1e-3, 1e-2, 1e-1)},
)
@dataclass(frozen=True)
class NCI:
    """Neural-collapse inspired: closeness of the centred feature to its class's weight.

    S = <w_c, f - mu> / ||f - mu|| + alpha ||f||_1 with c the prediction and mu the mean
    training feature, unbounded; larger = more in-distribution.

    Parameters
    ----------
    alpha : float
        Weight of the feature norm.

    Notes
    -----
    Fit O(N C D) time, O(C D) memory; score O(N (C + D)) time, O(N + D) memory.

    Works where features of a class point along its weight, as late in training; fails where
    training ended before that, and where outliers have long features, which alpha rewards.

    References
    ----------
    Liu & Qin, "Detecting Out-of-Distribution through the Lens of Neural Collapse", CVPR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, NCI, Outputs
    >>> head = Head(weight=np.eye(2))
    >>> train = Outputs(features=np.array([[1.0, 0.0], [0.0, 1.0]]), head=head)
    >>> NCI(alpha=0.0).fit(train).score(train).round(4)
    array([0.7071, 0.7071])
    """

    alpha: float = 1e-4

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean feature."""
        mean, head = mean_of("nci", train)
        return NCIScorer(
            self, head.weight.shape[0], mean.size, mean, head.weight.astype(np.float64)
        )


@dataclass(frozen=True)
class NCIScorer(StatisticsScorer):
    """Fitted `NCI`.

    Attributes
    ----------
    mean : (D,) array of float64
        Of the training features.
    weight : (C, D) array of float64
        The head's.
    """

    mean: Array
    weight: Array

    shapes = {"mean": "D", "weight": "C D"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The predicted class."""
        return (PREDICTION,)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Closeness to the predicted class's weight, plus the scaled size of the feature."""

        def closeness(f: Array, part: slice) -> Array:
            own = self.weight[rows[PREDICTION][part]]
            centred = f - self.mean
            length = np.linalg.norm(centred, axis=1)
            # a feature at the mean has no direction: closeness 0
            cosine = np.einsum("nd,nd->n", own, centred) / np.where(length > 0, length, 1.0)
            return np.asarray(cosine + self.detector.alpha * np.abs(f).sum(axis=1))

        return scored_features(x, closeness)
