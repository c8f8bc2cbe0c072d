"""Scores that compare a row with the training rows that got the same prediction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ood_toolkit.chunks import checked_statistics, located, predicted_chunks
from ood_toolkit.detectors.base import (
    FittedScorer,
    training_labels,
    training_logits,
)
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.training import finite
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.statistics import LARGEST, PREDICTION, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "SoftmaxCentroid",
    "SoftmaxCentroidScorer",
    "StandardizedMaxLogit",
    "StandardizedMaxLogitScorer",
]


@method(
    "standardized_max_logit",
    family="logits",
    needs="logits",
    train="logits",
    reference="Jung et al., ICCV 2021",
    laws="class_permutation",
)
@dataclass(frozen=True)
class StandardizedMaxLogit:
    """The largest logit in standard deviations from what is usual for its class.

    S = (max z - mu_c) / sigma_c, with mean and standard deviation of max z over training
    rows predicted as the same class c; larger = more in-distribution.  A class with fewer
    than two training predictions, or no spread, takes the statistics of all rows.

    Notes
    -----
    Fit O(N C) time, O(N + C) memory; score O(N C) time, O(N) memory; one pass over the logits,
    shared with the other scores of row statistics.

    Works where classes differ in the usual size of their largest logit, so that no one threshold
    suits all; fails where a class is predicted for few training rows, whose mean and deviation are
    then chance.

    References
    ----------
    Jung et al., "Standardized Max Logits", ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, StandardizedMaxLogit
    >>> train = Outputs(logits=np.array([[2.0, 0.0], [4.0, 1.0], [0.0, 1.0], [0.0, 3.0]]))
    >>> StandardizedMaxLogit().fit(train).score(Outputs(logits=np.array([[4.0, 0.0]])))
    array([1.])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn mean and spread of the largest logit for each predicted class."""
        training_logits("standardized_max_logit", train)
        assert train is not None
        rows = checked_statistics(train, (PREDICTION, LARGEST))
        largest, predicted = rows[LARGEST], rows[PREDICTION]
        mean = np.full(train.classes, largest.mean())
        spread = np.full(train.classes, largest.std())
        for c in range(train.classes):
            own = largest[predicted == c]
            if len(own) >= 2 and own.std() > 0:
                mean[c], spread[c] = own.mean(), own.std()
        finite(np.array([mean, spread]), located(train, "standardized_max_logit"), "logits")
        if not spread.all():
            raise InputError("standardized_max_logit: every training row has the same max logit")
        return StandardizedMaxLogitScorer(self, train.classes, 0, mean, spread)


@dataclass(frozen=True)
class StandardizedMaxLogitScorer(FittedScorer):
    """Fitted `StandardizedMaxLogit`.

    Attributes
    ----------
    mean, spread : (C,) arrays of float64
        Of the largest logit among training rows predicted as each class.
    """

    mean: Array
    spread: Array

    shapes = {"mean": "C", "spread": "C"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The prediction and its logit."""
        return (PREDICTION, LARGEST)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Standardise by the predicted class."""
        c = rows[PREDICTION]
        return np.asarray((rows[LARGEST] - self.mean[c]) / self.spread[c])

    def _score(self, x: Outputs) -> Array:
        return self.combine(checked_statistics(x, self.statistics()))


@method(
    "softmax_centroid",
    family="logits",
    needs="logits",
    train="logits labels",
    reference="Sikar et al. 2024, arXiv 2407.07821",
    laws="logit_shift class_permutation",
    grid={"by": ("predicted", "true")},
)
@dataclass(frozen=True)
class SoftmaxCentroid:
    """Distance of the softmax to the centroid of correct predictions of the same class.

    S = -||p - centroid||, in [-sqrt(2), 0]; larger = more trustworthy.  The fitted scorer
    also holds, for each class, the distance of the nearest wrong training prediction:
    `accept` defers every row that lies at that distance or beyond, so no wrong training
    prediction is accepted.

    Parameters
    ----------
    by : "predicted" or "true"
        Whose wrong rows bound a class: those predicted as it, or those labelled as it.

    Notes
    -----
    Fit O(N C) time, O(N + C^2) memory; score O(N C) time, O(N + C) memory; a pass of its own.

    Works where wrong predictions have another softmax than correct ones of the same class; fails
    where outliers are predicted with confidence, and marks down rows that are surer than the
    centroid.

    References
    ----------
    Sikar et al., "When to Accept Automated Predictions and When to Defer to Human
    Judgment?", 2024, arXiv 2407.07821.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SoftmaxCentroid
    >>> train = Outputs(logits=np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), labels=[0, 1, 1])
    >>> scorer = SoftmaxCentroid().fit(train)
    >>> scorer.accept(train)
    array([ True,  True, False])
    """

    by: Literal["predicted", "true"] = "predicted"

    def fit(
        self, train: Outputs | None, validation: Outputs | None = None, /
    ) -> SoftmaxCentroidScorer:
        """Learn each class's centroid and its distance to the nearest error."""
        training_logits("softmax_centroid", train)
        assert train is not None
        classes = train.classes
        labels = training_labels("softmax_centroid", train, every_class=False)
        total, count = np.zeros((classes, classes)), np.zeros(classes)
        for part, p, predicted in predicted_chunks(train):
            right = predicted == labels[part]
            np.add.at(total, predicted[right], p[right])
            count += np.bincount(predicted[right], minlength=classes)
        if not count.all():
            warnings.warn(
                f"softmax_centroid: no training row of class {int(np.argmin(count))} is "
                "predicted right; its centroid is the one-hot vector",
                ToolkitWarning,
                stacklevel=3,
            )
        centroids = np.where(
            count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.eye(classes)
        )
        limit = np.full(classes, np.inf)
        for part, p, predicted in predicted_chunks(train):
            wrong = predicted != labels[part]
            owner = predicted if self.by == "predicted" else labels[part]
            distance = np.linalg.norm(p - centroids[owner], axis=1)
            np.minimum.at(limit, owner[wrong], distance[wrong])
        return SoftmaxCentroidScorer(self, classes, 0, centroids, limit)


@dataclass(frozen=True)
class SoftmaxCentroidScorer(FittedScorer):
    """Fitted `SoftmaxCentroid`.

    Attributes
    ----------
    centroids : (C, C) array of float64
        Mean softmax of the correct training predictions of each class.
    limit : (C,) array of float64
        Distance of the nearest wrong training prediction; +inf for a class without one.
    """

    centroids: Array
    limit: Array

    shapes = {"centroids": "C C", "limit": "C"}
    infinite = frozenset({"limit"})
    rejection: ClassVar[str] = (
        "as far from the predicted class's centroid as a known error, or farther"
    )
    """Why a row is not accepted."""

    def report(self) -> Mapping[str, Any]:
        """The safety distances: the smallest, and how many classes have none."""
        bounded = np.isfinite(self.limit)
        found = {"classes_without_errors": int((~bounded).sum())}
        return found | ({"limit_min": float(self.limit.min())} if bounded.any() else {})

    def _score(self, x: Outputs) -> Array:
        return self._distance(x)[0]

    def accept(self, x: Outputs, /) -> Array:
        """Whether each row lies nearer to its class's centroid than any known error.

        (N,) bool.
        """
        self.check(x)
        negative_distance, predicted = self._distance(x)
        return np.asarray(-negative_distance < self.limit[predicted])

    def _distance(self, x: Outputs) -> tuple[Array, Array]:
        scores, predicted = np.empty(len(x)), np.empty(len(x), dtype=np.int64)
        for part, p, best in predicted_chunks(x):
            predicted[part] = best
            scores[part] = -np.linalg.norm(p - self.centroids[best], axis=1)
        return scores, predicted
