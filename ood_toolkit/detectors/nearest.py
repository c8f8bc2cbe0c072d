"""Scores from the nearest training rows, or the nearest class prototype."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located, scored_features
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import PSEUDO_OUTLIERS, method
from ood_toolkit.detectors.training import feature_matrix
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["KNN", "CosinePrototype", "CosinePrototypeScorer", "KNNScorer"]


@method(
    "knn",
    family="features",
    needs="features",
    train="features",
    reference="Sun et al., ICML 2022",
    laws="feature_rotation",
    grid={"k": (1, 5, 10, 20, 50, 100, 200, 500, 1000)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class KNN:
    """Distance to the k-th nearest training row.

    S = -distance, in (-inf, 0]; larger = more in-distribution.  The search is exact and
    distances are Euclidean, not squared.  The whole training set is the bank.

    Parameters
    ----------
    k : int
        Which neighbour; clamped to the number of training rows with a warning.
    normalize : bool
        Divide features by their Euclidean norm first, as the paper does.

    Notes
    -----
    Fit O(N D) time, O(N D) memory; score O(N B D) time, O(N (D + k)) memory; an exact search in
    blocks.

    Works where training rows cover every class and outliers keep away from them, whatever the
    shape; fails where the bank is small, a class has fewer than k rows, or features that differ in
    length are not normalised.

    References
    ----------
    Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import KNN, Outputs
    >>> train = Outputs(features=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> KNN(k=1).fit(train).score(Outputs(features=np.array([[2.0, 0.0], [-1.0, 0.0]])))
    array([-0.        , -1.41421356])
    """

    k: int = 50
    normalize: bool = True

    def __post_init__(self) -> None:
        require(self.k >= 1, f"knn.k must be at least 1, got {self.k}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> KNNScorer:
        """Keep the training features as the bank."""
        if train is None or train.features is None:
            raise InputError("knn needs training outputs with features")
        if len(train) == 0:
            raise InputError(located(train, "knn cannot be fitted on zero rows"))
        if self.k > len(train):
            warnings.warn(
                f"knn: k = {self.k} is more than the {len(train)} training rows; "
                f"using k = {len(train)}",
                ToolkitWarning,
                stacklevel=3,
            )
        wide = np.float64 if train.features.dtype == np.float64 else np.float32
        bank = feature_matrix(train, dtype=wide, unit_length=self.normalize)
        return KNNScorer(self, 0, bank.shape[1], bank)


@dataclass(frozen=True)
class KNNScorer(FittedScorer):
    """Fitted `KNN`.

    Attributes
    ----------
    bank : (N, D) array of float32 or float64
        Training features, normalised where asked.
    """

    bank: Array

    shapes = {"bank": "N D"}

    def _score(self, x: Outputs) -> Array:
        queries = feature_matrix(x, dtype=self.bank.dtype, unit_length=self.detector.normalize)
        index = NeighborIndex.build(self.bank)
        return -index.kth_distance(queries, min(self.detector.k, len(self.bank)))

    def report(self) -> Mapping[str, Any]:
        """Rows in the bank and the k in use."""
        return {"rows": len(self.bank), "k": min(self.detector.k, len(self.bank))}


@method(
    "cosine_prototype",
    family="features",
    needs="features",
    train="features labels",
    reference="Techapanurak et al., ACCV 2020",
    laws="feature_rotation feature_scale class_permutation",
)
@dataclass(frozen=True)
class CosinePrototype:
    """Cosine similarity to the nearest class prototype.

    S = max_c cos(f, prototype_c), in [-1, 1]; larger = more in-distribution.  A prototype
    is the direction of the mean of the class's normalised training features.

    Notes
    -----
    Fit O(N D) time, O(N + C D) memory; score O(N C D) time, O(N + C + D) memory.

    Works where each class has one direction, as under a cosine loss; fails where a class has
    several, and where the length of the feature tells outliers apart.

    References
    ----------
    Techapanurak, Suganuma & Okatani, "Hyperparameter-Free Out-of-Distribution Detection
    Using Cosine Similarity", ACCV 2020; prototypes as in hyperspherical embedding, 2021,
    arXiv 2102.03243.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import CosinePrototype, Outputs
    >>> f = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    >>> train = Outputs(features=f, labels=[0, 1, 0, 1])
    >>> CosinePrototype().fit(train).score(Outputs(features=np.array([[3.0, 4.0]])))
    array([0.8])
    """

    def fit(
        self, train: Outputs | None, validation: Outputs | None = None, /
    ) -> CosinePrototypeScorer:
        """Average the normalised features of each class."""
        if train is None or train.features is None:
            raise InputError("cosine_prototype needs training outputs with features")
        labels = training_labels("cosine_prototype", train)
        total = np.zeros((int(labels.max()) + 1, train.features.shape[1]))
        for part, chunk in feature_chunks(train, unit_length=True):
            np.add.at(total, labels[part], chunk)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        if not length.all():
            raise InputError(
                located(
                    train,
                    f"cosine_prototype: the directions of class {int(np.argmin(length))} cancel; "
                    "it has no prototype",
                )
            )
        return CosinePrototypeScorer(self, train.classes, total.shape[1], total / length)


@dataclass(frozen=True)
class CosinePrototypeScorer(FittedScorer):
    """Fitted `CosinePrototype`.

    Attributes
    ----------
    prototypes : (C, D) array of float64
        One unit vector a class.
    """

    prototypes: Array

    shapes = {"prototypes": "P D"}

    def _score(self, x: Outputs) -> Array:
        def judge(f: Array, part: slice) -> Array:
            return np.asarray(np.clip((f @ self.prototypes.T).max(axis=1), -1.0, 1.0))

        return scored_features(x, judge, unit_length=True)
