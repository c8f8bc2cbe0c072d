"""A Mahalanobis classifier that learns new classes without seeing the old rows again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ood_toolkit.chunks import feature_chunks
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.covariance import whitening
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["IncrementalClassifier", "accuracy_as_it_grows"]

Pooling = Literal["classes", "rows"]


@dataclass(frozen=True)
class IncrementalClassifier:
    """The nearest class mean under one tied covariance; `with_class` adds a class.

    Made by `fit`.

    Parameters
    ----------
    means : (C, D) array of float64
        Of the classes.
    covariance : (D, D) array of float64
        About the class means, tied.
    rows : int
        How many the covariance was pooled from.

    References
    ----------
    Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
    and Adversarial Attacks", NeurIPS 2018.

    Examples
    --------
    >>> f = np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]])
    >>> known = IncrementalClassifier.fit(Outputs(features=f, labels=[0] * 4 + [1] * 4))
    >>> new = np.array([[0.0, 10], [2, 10], [0, 12], [2, 12]])
    >>> grown = known.with_class(Outputs(features=new))
    >>> grown.predict(Outputs(features=np.array([[1.0, 1], [7, 5], [1, 11]])))
    array([0, 1, 2])
    """

    means: Array
    covariance: Array
    rows: int

    @classmethod
    def fit(cls, train: Outputs) -> IncrementalClassifier:
        """From labelled features of the first classes.

        Raises
        ------
        InputError
            If features or labels are missing, or a class has no row.
        """
        if train.features is None:
            raise InputError("an incremental classifier needs features")
        # a head may know more classes than these rows are of
        rows = replace(train, logits=None, head=None, members=None)
        labels = training_labels("an incremental classifier", rows)
        moments = feature_moments(train, labels, int(labels.max()) + 1)
        return cls(moments.class_means(), moments.within_covariance(), len(train))

    def with_class(self, new: Outputs, pool: Pooling = "classes") -> IncrementalClassifier:
        """A classifier that also knows the class of these rows, numbered after the others.

        Parameters
        ----------
        new : Outputs
            Features of rows of one class.
        pool : "classes" or "rows"
            Whether each class counts alike in the covariance, as in the paper, (C S + S_new) /
            (C + 1), or each row, which is what fitting them all at once gives.

        Raises
        ------
        InputError
            If features are missing, there are none, or they have other columns.
        """
        if new.features is None or len(new) == 0:
            raise InputError("a new class needs features of at least one row")
        if new.features.shape[1] != self.means.shape[1]:
            raise InputError(
                f"features have {new.features.shape[1]} columns, but the classifier was fitted on "
                f"{self.means.shape[1]}"
            )
        moments = feature_moments(new, np.zeros(len(new), dtype=np.int64), 1)
        own = moments.within_covariance()
        before, after = (len(self.means), 1) if pool == "classes" else (self.rows, len(new))
        covariance = (before * self.covariance + after * own) / (before + after)
        means = np.vstack([self.means, moments.class_means()])
        return IncrementalClassifier(means, covariance, self.rows + len(new))

    def distances(self, x: Outputs) -> Array:
        """Squared Mahalanobis distance to every class.  (N, D) features -> (N, C) float64."""
        if x.features is None:
            raise InputError("an incremental classifier needs features")
        within = whitening(self.covariance, "an incremental classifier").matrix
        means = self.means @ within
        parts = [
            np.square((chunk @ within)[:, None] - means).sum(axis=2)
            for _, chunk in feature_chunks(x)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(means)))

    def predict(self, x: Outputs) -> Array:
        """The nearest class.  (N, D) features -> (N,) int64."""
        return np.asarray(self.distances(x).argmin(axis=1))


def accuracy_as_it_grows(
    known: IncrementalClassifier,
    new: Sequence[Outputs],
    test: Outputs,
    pool: Pooling = "classes",
) -> tuple[tuple[int, float], ...]:
    """Accuracy over all classes learned so far, before and after each new one.

    Parameters
    ----------
    known : IncrementalClassifier
        Of the first classes.
    new : sequence of Outputs
        Rows of one further class each.
    test : Outputs
        Labelled rows of all the classes; those not learned yet are left out.
    pool : "classes" or "rows"
        As in `with_class`.

    Returns
    -------
    tuple of (int, float)
        Number of classes and accuracy in [0, 1].

    Raises
    ------
    InputError
        If labels are missing, or a step has no test row.
    """
    if test.labels is None:
        raise InputError("the accuracy needs labelled test rows")
    found = []
    for step in (None, *new):
        known = known if step is None else known.with_class(step, pool)
        rows = (test.labels >= 0) & (test.labels < len(known.means))
        if not rows.any():
            raise InputError(f"no test row is of the first {len(known.means)} classes")
        right = known.predict(test.rows(rows)) == test.labels[rows]
        found.append((len(known.means), float(right.mean())))
    return tuple(found)
