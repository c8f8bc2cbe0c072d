"""The fitted form of every Mahalanobis-type score, and the one pass that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located, scored_features
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.covariance import conditioning, shrunk, whitening
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.prototypes import (
    half_squared_lengths,
    nearest_squared_distances,
    squared_lengths,
)
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.outputs import Array, Outputs

__all__ = ["GaussianScorer", "fit_gaussian"]

FLOAT32_SPREAD = 300.0
"""Features of float32 or shorter are whitened in float32 up to this ratio of deviations: the
root mean square over directions, for that is what the sum of squares over them loses by."""


@dataclass(frozen=True)
class GaussianScorer(FittedScorer):
    """Fitted Mahalanobis-type scorer: S = background term - class term.

    Attributes
    ----------
    origin : (D,) array of float64
        Mean of all training rows.
    class_whitening : (D, r) array of float64
        (f - origin) @ class_whitening has the identity as tied covariance; r = 0 where the
        method has no class term.
    class_means : (C, r) array of float64
        Whitened.
    background_whitening : (D, s) array of float64
        The same for the Gaussian of all rows; s = 0 where the method has no such term.
    background_sign : float
        +1 where the background distance is added (relative), -1 where it is the score.
    unit_length : bool
        Whether features are divided by their Euclidean norm first.
    conditioning : tuple of (str, value) pairs
        What `report` returns.
    """

    origin: Array
    class_whitening: Array
    class_means: Array
    background_whitening: Array
    background_sign: float
    unit_length: bool
    conditioning: tuple[tuple[str, Any], ...]

    shapes = {
        "origin": "D",
        "class_whitening": "D r",
        "class_means": "P r",
        "background_whitening": "D s",
    }

    def _score(self, x: Outputs) -> Array:
        single = self._in_float32(x)
        scores = self._scored(x, np.float32 if single else np.float64)
        beyond = ~np.isfinite(scores)
        if single and beyond.any():  # out of float32's range
            scores[beyond] = self._scored(x, np.float64)[beyond]
        return scores

    def _in_float32(self, x: Outputs) -> bool:
        """Whether float32 products lose no more than features of that length have lost."""
        assert x.features is not None
        return x.features.dtype.itemsize <= 4 and all(
            _spread(matrix) <= FLOAT32_SPREAD
            for matrix in (self.class_whitening, self.background_whitening)
        )

    def _scored(self, x: Outputs, dtype: Any) -> Array:
        origin, within, means, background = (
            np.ascontiguousarray(array, dtype=dtype)
            for array in (
                self.origin,
                self.class_whitening,
                self.class_means,
                self.background_whitening,
            )
        )

        halves, scratch = half_squared_lengths(means), Scratch()

        def judge(centred: Array, part: slice) -> Array:
            count, scores = len(centred), np.zeros(len(centred))
            if within.shape[1]:
                whitened = scratch.array("whitened", (count, within.shape[1]), dtype)
                np.matmul(centred, within, out=whitened)
                room = scratch.array("products", (count, len(means)), dtype)
                scores -= nearest_squared_distances(whitened, means, halves, room)
            if background.shape[1]:
                whitened = scratch.array("whitened", (count, background.shape[1]), dtype)
                np.matmul(centred, background, out=whitened)
                scores += self.background_sign * squared_lengths(whitened)
            return scores

        with np.errstate(over="ignore", invalid="ignore"):
            return scored_features(
                x, judge, unit_length=self.unit_length, dtype=dtype, origin=origin
            )

    def report(self) -> Mapping[str, Any]:
        """Rank, condition number and constant features of the inverted covariance."""
        return dict(self.conditioning)


def _spread(whitening: Array) -> float:
    """Largest standard deviation over that of each direction, as a root mean square."""
    lengths = np.linalg.norm(whitening, axis=0)
    return float(np.sqrt(np.square(lengths / lengths.min()).mean())) if lengths.size else 1.0


def fit_gaussian(
    detector: Any,
    name: str,
    train: Outputs | None,
    *,
    class_term: bool,
    background_sign: float,
    unit_length: bool = False,
) -> GaussianScorer:
    """One pass for the moments, one eigen-decomposition a term."""
    if train is None or train.features is None:
        raise InputError(f"{name} needs training outputs with features")
    if len(train) == 0:
        raise InputError(located(train, f"{name} cannot be fitted on zero rows"))
    one_class = np.zeros(len(train), dtype=np.int64)
    labels = training_labels(name, train) if class_term else one_class
    classes = max(int(labels.max()) + 1, train.classes if class_term else 1)
    moments = feature_moments(train, labels, classes, unit_length=unit_length)
    origin, dims, rule = moments.mean(), train.features.shape[1], detector.covariance
    nothing = np.zeros((dims, 0))
    report: dict[str, Any] = {}

    def inverted(covariance: Array, centres: Array, owner: Array) -> tuple[Array, dict[str, Any]]:
        if rule != "pseudo_inverse":
            rows = np.vstack([c for _, c in feature_chunks(train, unit_length=unit_length)])
            covariance = shrunk(covariance, rule, rows - centres[owner], name)
        map_ = whitening(covariance, located(train, name))
        return map_.matrix, conditioning(covariance, map_, len(train), rule)

    background, within, means = nothing, nothing, np.zeros((0, 0))
    if background_sign:
        background, report = inverted(moments.total_covariance(), origin[None], one_class)
    if class_term:
        centres = moments.class_means()
        within, report = inverted(moments.within_covariance(), centres, labels)
        means = (centres - origin) @ within
    return GaussianScorer(
        detector,
        train.classes if class_term else 0,
        dims,
        origin,
        within,
        means,
        background,
        background_sign,
        unit_length,
        tuple(report.items()),
    )
