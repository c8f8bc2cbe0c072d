"""Several Gaussians, each with a covariance of its own, kept as small as their ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.covariance import eigenpairs
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.outputs import Array

__all__ = ["Gaussian", "GaussianStackScorer", "inverted", "inverted_span", "stacked"]

LEAST_VARIANCE = 1e-4
"""Smallest share of the largest variance that is still found by products of rows."""


@dataclass(frozen=True, slots=True)
class Gaussian:
    """One Gaussian, ready for distances.

    Attributes
    ----------
    mean : (D,) array of float64
        Where it is.
    axes : (r, D) array of float64
        Orthonormal directions in which its rows vary.
    precisions : (r,) array of float64
        Inverse variance along each.
    floor : float
        Inverse variance in all other directions; 0 where distances ignore them.
    """

    mean: Array
    axes: Array
    precisions: Array
    floor: float

    def log_determinant(self) -> float:
        """Ln |Sigma|, with 1 / floor as the variance in all other directions."""
        others = len(self.mean) - len(self.axes)
        return float(
            -np.log(self.precisions).sum() - (others * np.log(self.floor) if others else 0)
        )


def inverted(
    mean: Array, covariance: Array, ridge: float = 0.0, *, name: str = "a Gaussian"
) -> Gaussian:
    """The Gaussian of a mean (D,) and a covariance (D, D), to whose diagonal `ridge` is added.

    Eigenvalues up to D * eps * the largest are rounding and count as zero before the ridge; so
    do those that rounding of the mean alone can leave.  Messages begin with the name.
    """
    values, vectors = eigenpairs(covariance, name)
    kept = _vary(values, mean)
    axes = np.ascontiguousarray(vectors[:, kept].T)
    return Gaussian(mean, axes, 1.0 / (values[kept] + ridge), 1.0 / ridge if ridge else 0.0)


def inverted_span(
    mean: Array, centred: Array, ridge: float = 0.0, *, name: str = "a Gaussian"
) -> Gaussian | None:
    """The same from rows less their mean, of which there are fewer than dimensions.

    The eigenvectors of the rows' products with each other, (n, n), lead to those of the
    covariance.  None where variances differ by so much that the small ones lose digits.
    """
    with one_blas_thread():
        values, vectors = eigenpairs(centred @ centred.T / len(centred), name)
        kept = _vary(values, mean)
        if not kept.any() or values[kept][0] < LEAST_VARIANCE * values[-1]:
            return None
        axes = vectors[:, kept].T @ centred
    axes /= np.sqrt(len(centred) * values[kept])[:, None]
    return Gaussian(mean, axes, 1.0 / (values[kept] + ridge), 1.0 / ridge if ridge else 0.0)


def _vary(values: Array, mean: Array) -> Array:
    """Which eigenvalues, ascending, are more than rounding.  (n,), (D,) -> (n,) bool."""
    eps = len(mean) * np.finfo(np.float64).eps
    return np.asarray(values > max(eps * values[-1], (eps * float(np.linalg.norm(mean))) ** 2))


@dataclass(frozen=True)
class GaussianStackScorer(FittedScorer):
    """What scorers of several Gaussians hold.

    Attributes
    ----------
    means : (K, D) array of float64
        One row a Gaussian.
    axes : (R, D) array of float64
        Directions of all of them, one after the other.
    precisions : (R,) array of float64
        Inverse variance along each direction.
    spans : (K, 2) array of int64
        First direction of each Gaussian, and the first that is not its own.
    floors : (K,) array of float64
        Inverse variance of each Gaussian in all other directions; 0 where they are ignored.
    """

    means: Array
    axes: Array
    precisions: Array
    spans: Array
    floors: Array

    shapes = {"means": "K D", "axes": "R D", "precisions": "R", "spans": "K 2", "floors": "K"}

    def squared_distances(self, chunk: Array) -> Iterator[Array]:
        """Squared Mahalanobis distance to one Gaussian after the other.  (n, D) -> (n,) each."""
        for mean, (first, last), floor in zip(self.means, self.spans, self.floors, strict=True):
            centred = chunk - mean
            along = centred @ self.axes[first:last].T
            distance = (along * along) @ self.precisions[first:last]
            if floor and last - first < self.dims:
                rest = centred - along @ self.axes[first:last]
                distance += floor * np.einsum("nd,nd->n", rest, rest)
            yield distance


def stacked(gaussians: Iterable[Gaussian]) -> tuple[Array, Array, Array, Array, Array]:
    """The array fields of a `GaussianStackScorer`; directions in common are kept once."""
    parts = list(gaussians)
    first_of: dict[int, int] = {}
    spans, kept, size = [], [], 0
    for part in parts:
        if id(part.axes) not in first_of:
            first_of[id(part.axes)] = size
            kept.append(part)
            size += len(part.axes)
        first = first_of[id(part.axes)]
        spans.append((first, first + len(part.axes)))
    return (
        np.array([part.mean for part in parts]),
        np.concatenate([part.axes for part in kept]),
        np.concatenate([part.precisions for part in kept]),
        np.array(spans, dtype=np.int64),
        np.array([part.floor for part in parts], dtype=np.float64),
    )
