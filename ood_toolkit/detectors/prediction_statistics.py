"""Scores that compare a row with the training rows that got the same prediction."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.chunks import probability_chunks, refuse_bad_row, scored_probabilities
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import LARGEST, PREDICTION, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "KLMatching",
    "KLMatchingScorer",
    "SoftmaxCentroid",
    "SoftmaxCentroidScorer",
    "StandardizedMaxLogit",
    "StandardizedMaxLogitScorer",
]


def _training_logits(method_name: str, train: Outputs | None) -> Array:
    if train is None or train.logits is None:
        raise InputError(f"{method_name} needs training outputs with logits")
    if len(train) == 0:
        raise InputError(f"{method_name} cannot be fitted on zero rows")
    return train.logits


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
        logits = _training_logits("standardized_max_logit", train)
        assert train is not None
        rows = row_statistics(logits, (PREDICTION, LARGEST))
        refuse_bad_row(train, rows.first_bad)
        largest, predicted = rows[LARGEST], rows[PREDICTION]
        mean = np.full(train.classes, largest.mean())
        spread = np.full(train.classes, largest.std())
        for c in range(train.classes):
            own = largest[predicted == c]
            if len(own) >= 2 and own.std() > 0:
                mean[c], spread[c] = own.mean(), own.std()
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
        assert x.logits is not None
        rows = row_statistics(x.logits, self.statistics())
        refuse_bad_row(x, rows.first_bad)
        return self.combine(rows)


@method(
    "kl_matching",
    family="logits",
    needs="logits",
    train="logits",
    reference="Hendrycks et al., ICML 2022",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class KLMatching:
    """KL divergence of the softmax to the nearest class template.

    S = -min_c KL(p || d_c), in nats, in (-inf, 0]; d_c is the mean softmax of the training
    rows predicted c; larger = more in-distribution.  A class that is never predicted has
    the one-hot template, at infinite distance from every p that is not one-hot too.

    References
    ----------
    Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings",
    ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import KLMatching, Outputs
    >>> train = Outputs(logits=np.array([[2.0, 0.0], [0.0, 2.0]]))
    >>> KLMatching().fit(train).score(train).round(6) + 0.0
    array([0., 0.])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Average the softmax of the rows predicted as each class."""
        _training_logits("kl_matching", train)
        assert train is not None
        total = np.zeros((train.classes, train.classes))
        count = np.zeros(train.classes)
        for _, p in probability_chunks(train):
            predicted = p.argmax(axis=1)
            np.add.at(total, predicted, p)
            count += np.bincount(predicted, minlength=train.classes)
        templates = np.where(
            count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.eye(train.classes)
        )
        return KLMatchingScorer(self, train.classes, 0, templates)


@dataclass(frozen=True)
class KLMatchingScorer(FittedScorer):
    """Fitted `KLMatching`.

    Attributes
    ----------
    templates : (C, C) array of float64
        Mean softmax of each predicted class.
    """

    templates: Array

    shapes = {"templates": "C C"}

    def _score(self, x: Outputs) -> Array:
        """KL(p || d) = sum p ln p - sum p ln d, with p ln 0 infinite where p > 0."""
        log_templates = np.log(np.where(self.templates > 0, self.templates, 1.0))
        impossible = (self.templates == 0).astype(np.float64)
        some_impossible = bool(impossible.any())

        def judge(p: Array, part: slice) -> Array:
            negative_entropy = np.einsum("nc,nc->n", p, np.log(np.where(p > 0, p, 1.0)))
            divergence = negative_entropy[:, None] - p @ log_templates.T
            if some_impossible:
                divergence[p @ impossible.T > 0] = np.inf
            return np.asarray(-divergence.min(axis=1))

        return scored_probabilities(x, judge)


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
        _training_logits("softmax_centroid", train)
        assert train is not None
        classes = train.classes
        labels = training_labels("softmax_centroid", train, every_class=False)
        total, count = np.zeros((classes, classes)), np.zeros(classes)
        for part, p in probability_chunks(train):
            predicted = p.argmax(axis=1)
            right = predicted == labels[part]
            np.add.at(total, predicted[right], p[right])
            count += np.bincount(predicted[right], minlength=classes)
        if not count.all():
            warnings.warn(
                f"softmax_centroid: no training row of class {int(np.argmin(count))} is "
                "predicted right; its centroid is the one-hot vector",
                ToolkitWarning,
                stacklevel=2,
            )
        centroids = np.where(
            count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.eye(classes)
        )
        limit = np.full(classes, np.inf)
        for part, p in probability_chunks(train):
            predicted = p.argmax(axis=1)
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
        for part, p in probability_chunks(x):
            predicted[part] = p.argmax(axis=1)
            scores[part] = -np.linalg.norm(p - self.centroids[predicted[part]], axis=1)
        return scores, predicted
