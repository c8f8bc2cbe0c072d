"""Scores from inner products with stored patterns: one a class, or a bank of training rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import (
    checked_statistics,
    feature_chunks,
    located,
    logit_chunks,
    scored_features,
)
from ood_toolkit.detectors.base import (
    FittedScorer,
    StatisticsScorer,
    training_labels,
)
from ood_toolkit.detectors.catalogue import PSEUDO_OUTLIERS, method
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.statistics import PREDICTION, RowStatistics, Statistic, log_sum_exp
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["SHE", "NNGuide", "NNGuideScorer", "SHEScorer"]


@method(
    "she",
    family="features + head",
    needs="logits features",
    train="logits features labels",
    reference="Zhang et al., ICLR 2023",
    laws="class_permutation feature_rotation",
    grid={"metric": ("inner_product", "euclidean", "cosine")},
)
@dataclass(frozen=True)
class SHE:
    """Simplified Hopfield energy: inner product with the stored pattern of the prediction.

    S = <f, M_c>, unbounded; larger = more in-distribution.  M_c is the mean feature of the
    training rows of the predicted class c that are predicted right.

    Parameters
    ----------
    metric : "inner_product", "euclidean" or "cosine"
        The paper's inner product, or the alternatives it compares: -||f - M_c||, cos(f, M_c).

    Notes
    -----
    Fit O(N (C + D)) time, O(N + C D) memory; score O(N (C + D)) time, O(N + D) memory.

    Works where the correct rows of a class share one pattern, and familiar features are long; fails
    where a class has several patterns, or outliers of its direction are longer.

    References
    ----------
    Zhang et al., "Out-of-Distribution Detection Based on In-Distribution Data Patterns
    Memorization with Modern Hopfield Energy", ICLR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SHE
    >>> f = np.array([[2.0, 0], [0, 3], [2, 0], [0, 3]])
    >>> train = Outputs(logits=f, features=f, labels=[0, 1, 0, 1])
    >>> x = Outputs(logits=np.array([[0.0, 1.0]]), features=np.array([[1.0, 2.0]]))
    >>> SHE().fit(train).score(x)
    array([6.])
    """

    metric: Literal["inner_product", "euclidean", "cosine"] = "inner_product"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Average the correctly predicted features of each class."""
        if train is None or train.features is None or train.logits is None:
            raise InputError("she needs training outputs with logits and features")
        labels = training_labels("she", train)
        shape = (train.classes, train.features.shape[1])
        total, right = np.zeros(shape), np.zeros(shape)
        hits = np.zeros(train.classes)
        for (part, f), (_, z) in zip(feature_chunks(train), logit_chunks(train), strict=True):
            y = labels[part]
            correct = z.argmax(axis=1) == y
            np.add.at(total, y, f)
            np.add.at(right, y[correct], f[correct])
            hits += np.bincount(y[correct], minlength=train.classes)
        if not hits.all():
            warnings.warn(
                f"she: no training row of class {int(np.argmin(hits))} is predicted right; its "
                "pattern is the mean of all its rows",
                ToolkitWarning,
                stacklevel=3,
            )
        counts = np.bincount(labels, minlength=train.classes)
        patterns = np.where(
            hits[:, None] > 0, right / np.maximum(hits, 1)[:, None], total / counts[:, None]
        )
        return SHEScorer(self, train.classes, shape[1], patterns)


@dataclass(frozen=True)
class SHEScorer(StatisticsScorer):
    """Fitted `SHE`.

    Attributes
    ----------
    patterns : (C, D) array of float64
        One a class.
    """

    patterns: Array

    shapes = {"patterns": "C D"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The predicted class."""
        return (PREDICTION,)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Likeness of each feature to the pattern of its predicted class."""

        def likeness(f: Array, part: slice) -> Array:
            own = self.patterns[rows[PREDICTION][part]]
            if self.detector.metric == "euclidean":
                return np.asarray(-np.linalg.norm(f - own, axis=1))
            product = np.einsum("nd,nd->n", f, own)
            if self.detector.metric == "cosine":
                size = np.linalg.norm(f, axis=1) * np.linalg.norm(own, axis=1)
                product = product / np.where(size > 0, size, 1.0)
            return np.asarray(product)

        return scored_features(x, likeness)


@method(
    "nnguide",
    family="features + head",
    needs="logits features",
    train="logits features",
    reference="Park et al., ICCV 2023",
    laws="class_permutation feature_rotation",
    grid={"k": (10, 50, 100, 200), "fraction": (0.01, 0.1, 0.5)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class NNGuide:
    """Energy, guided by the similarity to energetic training rows.

    S = lse(z) times the mean of the k largest <f / ||f||, g_i>, g_i the normalised training
    feature times its energy, unbounded; larger = more in-distribution.

    Parameters
    ----------
    k : int
        Neighbours averaged; clamped to the bank with a warning.
    fraction : float
        Share of the training rows in the bank, in (0, 1], taken at even steps through the
        training set.  The authors draw 1 %.

    Notes
    -----
    Fit O(B (C + D)) time, O(B D) memory; score O(N (C + B D)) time, O(N + B + D) memory.

    Works where energy and nearness miss different outliers, since their product needs both; fails
    where energies are negative, for the product then turns round, and where the bank, 1 % of the
    rows, misses classes.

    References
    ----------
    Park, Jung & Teoh, "Nearest Neighbor Guidance for Out-of-Distribution Detection",
    ICCV 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import NNGuide, Outputs
    >>> train = Outputs(logits=np.zeros((2, 2)), features=np.eye(2))
    >>> NNGuide(k=1, fraction=1.0).fit(train).score(train).round(4)
    array([0.4805, 0.4805])
    """

    k: int = 100
    fraction: float = 0.01

    def __post_init__(self) -> None:
        require(self.k >= 1, f"nnguide.k must be at least 1, got {self.k}")
        require(0 < self.fraction <= 1, f"nnguide.fraction must lie in (0, 1], got {self.fraction}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Keep the scaled, normalised features of the bank."""
        if train is None or train.features is None or train.logits is None:
            raise InputError("nnguide needs training outputs with logits and features")
        if len(train) == 0:
            raise InputError(located(train, "nnguide cannot be fitted on zero rows"))
        size = max(1, round(self.fraction * len(train)))
        bank = train.rows(np.unique(np.arange(size) * len(train) // size))
        if self.k > len(bank):
            warnings.warn(
                f"nnguide: k = {self.k} is more than the {len(bank)} rows of the bank; "
                f"using k = {len(bank)}",
                ToolkitWarning,
                stacklevel=3,
            )
        guides = np.concatenate([f for _, f in feature_chunks(bank, unit_length=True)])
        energy = log_sum_exp(1.0)
        guides *= checked_statistics(bank, (energy,))[energy][:, None]
        return NNGuideScorer(self, train.classes, guides.shape[1], guides)


@dataclass(frozen=True)
class NNGuideScorer(StatisticsScorer):
    """Fitted `NNGuide`.

    Attributes
    ----------
    guides : (B, D) array of float64
        Normalised training features times their energy.
    """

    guides: Array

    shapes = {"guides": "B D"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The energy."""
        return (log_sum_exp(1.0),)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Energy times the mean of the k largest likenesses to the guides."""
        k = min(self.detector.k, len(self.guides))

        def guidance(f: Array, part: slice) -> Array:
            similarity = f @ self.guides.T
            similarity.partition(similarity.shape[1] - k, axis=1)
            return np.asarray(similarity[:, similarity.shape[1] - k :].mean(axis=1))

        return rows[log_sum_exp(1.0)] * scored_features(x, guidance, unit_length=True)

    def report(self) -> Mapping[str, Any]:
        """Rows in the bank and the k in use."""
        return {"rows": len(self.guides), "k": min(self.detector.k, len(self.guides))}
