"""Scorers of class means that take a new class in without the rows they were fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import feature_chunks, located, scored_features
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.covariance import whitening
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.prototypes import nearest_squared_distances
from ood_toolkit.outputs import Array, Outputs

__all__ = ["ClassIncremental", "IncrementalGaussianScorer", "IncrementalPrototypeScorer"]


@method(
    "class_incremental",
    family="features",
    needs="features",
    train="features labels",
    reference="Lee et al., NeurIPS 2018",
    laws="feature_affine class_permutation",
)
@dataclass(frozen=True)
class ClassIncremental:
    """Distance to the nearest class mean, by a scorer to which classes can be added.

    S = -min_c (f - mu_c)^T Sigma^+ (f - mu_c), in (-inf, 0], or max_c cos(f, prototype_c), in
    [-1, 1]; larger = more in-distribution.  The fitted scorer's `with_class(outputs)` returns
    a scorer that knows one class more, whose rows those outputs are.  It is the one that a fit
    on all rows would give, though it needs the new rows alone: the means of the other classes
    stay as they are, and Sigma becomes the mean of theirs and the new class's.

    Parameters
    ----------
    base : "mahalanobis" or "prototype"
        Class means with one covariance, or directions as in `cosine_prototype`.
    weighting : "classes" or "rows"
        Sigma is the mean of the classes' covariances, each counted once, so that a new class
        makes it (C Sigma + Sigma_new) / (C + 1), the paper's rule; or every row counts once, as
        in `mahalanobis`.  The same where classes have equally many rows; prototypes do not
        depend on it.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + C D + D^2) memory; score O(N D (C + D)) time, O(N + C + D)
    memory; a new class of n rows takes O(n D^2 + C D^2 + D^3).

    Works where classes arrive one by one at a network that stays as it is, and old rows are gone;
    fails where the network is trained on, which moves the means it keeps, and where `mahalanobis`
    does.

    References
    ----------
    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks", NeurIPS 2018 (class-incremental learning); prototypes as in
    hyperspherical embedding, 2021, arXiv 2102.03243.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ClassIncremental, Outputs
    >>> f = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]])
    >>> scorer = ClassIncremental().fit(Outputs(features=f, labels=[0, 0, 0, 0, 1, 1, 1, 1]))
    >>> x = Outputs(features=np.array([[4.0, 3.0], [1.0, 11.0]]))
    >>> scorer.score(x).round(4)
    array([ -9.8621, -55.1724])
    >>> new = Outputs(features=np.array([[0.0, 10], [2, 10], [0, 12], [2, 12]]))
    >>> scorer.with_class(new).score(x).round(4)
    array([-10.4464,  -0.    ])
    """

    base: Literal["mahalanobis", "prototype"] = "mahalanobis"
    weighting: Literal["classes", "rows"] = "classes"

    def fit(
        self, train: Outputs | None, validation: Outputs | None = None, /
    ) -> IncrementalGaussianScorer | IncrementalPrototypeScorer:
        """Learn the mean of each class, and their covariance."""
        if train is None or train.features is None:
            raise InputError("class_incremental needs training outputs with features")
        labels = training_labels("class_incremental", train)
        counts = np.bincount(labels)
        dims = train.features.shape[1]
        if self.base == "prototype":
            prototypes = _prototypes(train, labels)
            return IncrementalPrototypeScorer(self, train.classes, dims, prototypes)
        by_class, by_row = 1.0 / (len(counts) * counts), np.full(len(counts), 1.0 / len(train))
        weights = by_class if self.weighting == "classes" else by_row
        means, covariance = _moments(train, labels, weights)
        return _gaussian_scorer(self, train.classes, means, counts, covariance)


@dataclass(frozen=True)
class IncrementalGaussianScorer(FittedScorer):
    """Fitted `ClassIncremental` with Gaussian classes.

    Attributes
    ----------
    means : (P, D) array of float64
        One a class.
    counts : (P,) array of int64
        Rows behind each mean.
    covariance : (D, D) array of float64
        Sigma, which all classes share.
    whitening : (D, r) array of float64
        Sigma^+ = whitening @ whitening.T.
    centres : (P, r) array of float64
        The means less the first, whitened.
    """

    means: Array
    counts: Array
    covariance: Array
    whitening: Array
    centres: Array

    shapes = {
        "means": "P D",
        "counts": "P",
        "covariance": "D D",
        "whitening": "D r",
        "centres": "P r",
    }

    def _score(self, x: Outputs) -> Array:
        def judge(f: Array, part: slice) -> Array:
            whitened = (f - self.means[0]) @ self.whitening
            return -nearest_squared_distances(whitened, self.centres)

        return scored_features(x, judge)

    def with_class(self, new: Outputs) -> IncrementalGaussianScorer:
        """The scorer that also knows the class whose rows `new` holds; labels are not read.

        The other means stay as they are.  The class gets the next number, P.

        Parameters
        ----------
        new : Outputs
            At least one row with features.

        Returns
        -------
        IncrementalGaussianScorer
            As fitted on all rows with the same detector, up to rounding.

        Raises
        ------
        InputError
            If there is no row, or rows have another number of columns.
        """
        _check_new(self, new)
        rows = len(new)
        one_class = np.zeros(rows, dtype=np.int64)
        mean, covariance = _moments(new, one_class, np.array([1.0 / rows]))
        old = len(self.means) if self.detector.weighting == "classes" else int(self.counts.sum())
        added = 1 if self.detector.weighting == "classes" else rows
        return _gaussian_scorer(
            self.detector,
            self.classes,
            np.concatenate([self.means, mean]),
            np.append(self.counts, rows),
            (old * self.covariance + added * covariance) / (old + added),
        )

    def report(self) -> Mapping[str, Any]:
        """Classes, rows behind them, and the rank of the covariance."""
        return {
            "classes": len(self.means),
            "rows": int(self.counts.sum()),
            "rank": self.whitening.shape[1],
        }


@dataclass(frozen=True)
class IncrementalPrototypeScorer(FittedScorer):
    """Fitted `ClassIncremental` with prototypes.

    Attributes
    ----------
    prototypes : (P, D) array of float64
        One unit vector a class.
    """

    prototypes: Array

    shapes = {"prototypes": "P D"}

    def _score(self, x: Outputs) -> Array:
        def judge(f: Array, part: slice) -> Array:
            return np.asarray(np.clip((f @ self.prototypes.T).max(axis=1), -1.0, 1.0))

        return scored_features(x, judge, unit_length=True)

    def with_class(self, new: Outputs) -> IncrementalPrototypeScorer:
        """The scorer that also knows the class whose rows `new` holds; labels are not read.

        The other prototypes stay as they are.  The class gets the next number, P.

        Parameters
        ----------
        new : Outputs
            At least one row with features.

        Returns
        -------
        IncrementalPrototypeScorer
            The one that a fit on all rows would give.

        Raises
        ------
        InputError
            If there is no row, rows have another number of columns, or they cancel.
        """
        _check_new(self, new)
        prototype = _prototypes(new, np.zeros(len(new), dtype=np.int64))
        return replace(self, prototypes=np.concatenate([self.prototypes, prototype]))

    def report(self) -> Mapping[str, Any]:
        """How many classes it knows."""
        return {"classes": len(self.prototypes)}


def _check_new(scorer: FittedScorer, new: Outputs) -> None:
    """Raise `InputError` unless `new` holds rows of the scorer's features."""
    scorer.check(new)
    if len(new) == 0:
        raise InputError(located(new, f"{scorer.name}: a new class needs at least one row"))


def _moments(x: Outputs, labels: Array, weights: Array) -> tuple[Array, Array]:
    """Class means, and the sum over rows of w_c (f - mu_c)(f - mu_c)^T.  (P, D), (D, D)."""
    assert x.features is not None
    dims = x.features.shape[1]
    means = np.zeros((len(weights), dims))
    for part, f in feature_chunks(x):
        np.add.at(means, labels[part], f)
    means /= np.bincount(labels, minlength=len(weights))[:, None]
    covariance = np.zeros((dims, dims))
    for part, f in feature_chunks(x):
        own = labels[part]
        centred = (f - means[own]) * np.sqrt(weights[own])[:, None]
        covariance += centred.T @ centred
    return means, covariance


def _prototypes(x: Outputs, labels: Array) -> Array:
    """Direction of the mean of each class's unit features.  (P, D)."""
    assert x.features is not None
    total = np.zeros((int(labels.max()) + 1, x.features.shape[1]))
    for part, f in feature_chunks(x, unit_length=True):
        np.add.at(total, labels[part], f)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    if not length.all():
        message = f"the directions of class {int(np.argmin(length))} cancel; it has no prototype"
        raise InputError(located(x, f"class_incremental: {message}"))
    return np.asarray(total / length)


def _gaussian_scorer(
    detector: ClassIncremental, classes: int, means: Array, counts: Array, covariance: Array
) -> IncrementalGaussianScorer:
    """The scorer of these means and their covariance."""
    matrix = whitening(covariance, "class_incremental").matrix
    centres = (means - means[0]) @ matrix
    return IncrementalGaussianScorer(
        detector, classes, means.shape[1], means, counts, covariance, matrix, centres
    )
