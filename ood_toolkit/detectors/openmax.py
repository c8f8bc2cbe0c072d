"""OpenMax: how far the logits lie from the mean of each class they favour."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import located, logit_chunks
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.training import finite
from ood_toolkit.detectors.weibull import fit_weibull, weibull_probability
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["OpenMax", "OpenMaxScorer"]

TRANSLATION = 10_000.0
"""Where LibMR puts the smallest distance of a tail before it fits the Weibull law."""

EUCLIDEAN_SHARE = 200.0
"""What the authors' code divides the Euclidean distance by before it adds the cosine's."""


@method(
    "openmax",
    family="logits",
    needs="logits",
    train="logits labels",
    reference="Bendale & Boult, CVPR 2016",
    laws="class_permutation",
    grid={"tail": (10, 20, 50), "alpha": (1, 3, 5, 10)},
)
@dataclass(frozen=True)
class OpenMax:
    """Negative probability of an unknown class that OpenMax adds to the known ones.

    S = -e^u / (e^u + sum_c e^(z_c - u_c)) with u = sum_c u_c, in [-1, 0]; larger = more
    in-distribution.  Of the r-th largest logit, r = 1 ... alpha, the share u_c = z_c (alpha +
    1 - r) / alpha F_c(d_c) goes to the unknown class: d_c is the distance of z to the mean
    logits of the class's correctly predicted training rows, F_c the Weibull law of the `tail`
    largest such distances of those rows.  The law is fitted as LibMR does it, which the
    authors, OpenOOD and pytorch-ood all follow: by maximum likelihood, on distances moved so
    that the smallest of the tail is 10,000.  A masked class (-inf) takes no part; training
    rows must not have any.

    Parameters
    ----------
    tail : int
        Distances of a class that the law is fitted to; all where there are fewer.
    alpha : int
        Largest logits that are revised; C where there are fewer classes.  OpenOOD's value; the
        paper has 10 for 1,000 classes.
    distance : "euclidean" or "eucos"
        Between logits and mean: Euclidean, or Euclidean / 200 plus the cosine distance, the
        default of the authors' code.

    Notes
    -----
    Fit O(N C + N log N) time, O(N + C^2) memory; score O(N C alpha) time, O(N + C) memory.

    Works where the correct rows of a class have similar logits and outliers lie beyond their
    farthest; fails where a class has few rows to fit its tail to, or where training logits are
    tighter than new ones, as after overfitting.

    References
    ----------
    Bendale & Boult, "Towards Open Set Deep Networks", CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import OpenMax, Outputs
    >>> z = np.array([[4.0, 0], [5, 0], [4, 1], [0, 4], [0, 5], [1, 4]])
    >>> scorer = OpenMax(alpha=1).fit(Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1]))
    >>> scorer.score(Outputs(logits=np.array([[4.4, 0.3], [1.0, 0.5]]))).round(4)
    array([-0.012 , -0.5065])
    """

    tail: int = 20
    alpha: int = 3
    distance: Literal["euclidean", "eucos"] = "euclidean"

    def __post_init__(self) -> None:
        require(self.tail >= 1, f"openmax.tail must be at least 1, got {self.tail}")
        require(self.alpha >= 1, f"openmax.alpha must be at least 1, got {self.alpha}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> OpenMaxScorer:
        """Learn each class's mean logits, and the law of the distances to it."""
        if train is None or train.logits is None:
            raise InputError("openmax needs training outputs with logits")
        labels = training_labels("openmax", train)
        counted = _representative(train, labels)
        means = np.zeros((train.classes, train.classes))
        for part, z in logit_chunks(train):
            rows = counted[part]
            np.add.at(means, labels[part][rows], z[rows])
        means /= np.bincount(labels[counted], minlength=train.classes)[:, None]
        distances = np.empty(len(train))
        for part, z in logit_chunks(train):
            with np.errstate(over="ignore", invalid="ignore"):
                distances[part] = _distance(z, means[labels[part]], self.distance)
        finite(distances, located(train, "openmax"), "logits")
        smallest, largest, laws = [], [], []
        rows = np.flatnonzero(counted)
        ascending = rows[np.lexsort((distances[rows], labels[rows]))]
        ends = np.cumsum(np.bincount(labels[rows], minlength=train.classes))
        for group in np.split(distances[ascending], ends[:-1]):
            tail = group[-self.tail :]
            smallest.append(tail[0])
            largest.append(tail[-1])
            laws.append(fit_weibull(tail - tail[-1], TRANSLATION + tail[-1] - tail[0]))
        shape, log_mean = np.array(laws).T
        finite(log_mean, located(train, "openmax"), "logits")
        return OpenMaxScorer(
            self,
            train.classes,
            0,
            means,
            np.array(smallest),
            np.array(largest),
            np.ascontiguousarray(shape),
            np.ascontiguousarray(log_mean),
        )


def _representative(train: Outputs, labels: Array) -> Array:
    """Which rows are predicted right; of a class without any, all rows.  (N,) bool."""
    counted = np.empty(len(labels), dtype=bool)
    for part, z in logit_chunks(train):
        if not np.isfinite(z).all():
            row = part.start + int(np.argmin(np.isfinite(z).all(axis=1)))
            raise InputError(
                located(
                    train,
                    f"logits: row {row} has a masked class, which openmax cannot be fitted on; "
                    "remove such rows",
                )
            )
        counted[part] = z.argmax(axis=1) == labels[part]
    hits = np.bincount(labels[counted], minlength=train.classes)
    if not hits.all():
        warnings.warn(
            f"openmax: no training row of class {int(np.argmin(hits))} is predicted right; all "
            "its rows stand for it",
            ToolkitWarning,
            stacklevel=3,
        )
    return np.asarray(counted | (hits[labels] == 0))


def _distance(z: Array, mean: Array, kind: str) -> Array:
    """Distance of each row to its mean over unmasked classes.  (n, C), (n, C) -> (n,)."""
    live = z > -np.inf
    difference = np.subtract(z, mean, out=np.zeros_like(z), where=live)
    euclidean = np.sqrt(np.einsum("nc,nc->n", difference, difference))
    if kind == "euclidean":
        return np.asarray(euclidean)
    z, mean = np.where(live, z, 0.0), np.where(live, mean, 0.0)
    lengths = np.linalg.norm(z, axis=1) * np.linalg.norm(mean, axis=1)
    # a row of zeros has no direction: as far as an orthogonal one
    cosine = np.einsum("nc,nc->n", z, mean) / np.where(lengths > 0, lengths, 1.0)
    return np.asarray(euclidean / EUCLIDEAN_SHARE + 1.0 - cosine)


@dataclass(frozen=True)
class OpenMaxScorer(FittedScorer):
    """Fitted `OpenMax`.

    Attributes
    ----------
    means : (C, C) array of float64
        Mean logits of each class.
    smallest, largest : (C,) array of float64
        The ends of each class's tail of distances.
    shape, log_mean : (C,) array of float64
        Of each class's Weibull law; the shape of a tail that is one value is infinite.
    """

    means: Array
    smallest: Array
    largest: Array
    shape: Array
    log_mean: Array

    shapes = {
        "means": "C C",
        "smallest": "C",
        "largest": "C",
        "shape": "C",
        "log_mean": "C",
    }
    infinite = frozenset({"shape"})

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        alpha = min(self.detector.alpha, self.classes)
        for part, z in logit_chunks(x):
            revised, left = z.copy(), z.copy()
            unknown = np.zeros(len(z))
            rows = np.arange(len(z))
            for rank in range(alpha):
                top = left.argmax(axis=1)
                value = left[rows, top]  # -inf once no live class is left to revise
                left[rows, top] = -np.inf
                share = (alpha - rank) / alpha * self._outlying(z, top)
                moved = np.where(value > -np.inf, value, 0.0) * share
                revised[rows, top] -= moved
                unknown += moved
            scores[part] = -_share_of(unknown, revised)
        return scores

    def _outlying(self, z: Array, c: Array) -> Array:
        """F_c of the distance of each row to the mean of its class c.  (n,)."""
        distance = _distance(z, self.means[c], self.detector.distance)
        largest = TRANSLATION + self.largest[c] - self.smallest[c]
        gaps = distance - self.largest[c]
        return weibull_probability(gaps, largest, self.shape[c], self.log_mean[c])

    def report(self) -> Mapping[str, Any]:
        """Median shape of the laws, and classes whose tail is a single value."""
        return {
            "median_shape": float(np.median(self.shape)),
            "classes_without_spread": int(np.isinf(self.shape).sum()),
        }


def _share_of(unknown: Array, known: Array) -> Array:
    """Softmax probability of one logit a row beside C others.  (n,), (n, C) -> (n,)."""
    top = np.maximum(unknown, known.max(axis=1))
    own = np.exp(unknown - top)
    return np.asarray(own / (own + np.exp(known - top[:, None]).sum(axis=1)))
