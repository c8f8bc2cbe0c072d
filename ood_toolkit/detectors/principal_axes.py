"""The subspace that mapped training directions fill, and what rows hold outside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.detectors.covariance import eigenpairs
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Subspace", "principal_subspace", "residual_lengths"]

Map = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Subspace:
    """Mean (M,) and the first principal axes (q, M) of mapped training features."""

    mean: Array
    axes: Array
    explained: float


def principal_subspace(name: str, train: Outputs, mapped: Map, size: int, share: float) -> Subspace:
    """The fewest principal axes of mapped unit features that explain `share` of the variance.

    (n, D) -> (n, size) is the map.  The smaller of the two matrices of products is taken
    apart, (N, N) or (size, size).
    """
    total = np.zeros(size)
    for _, chunk in feature_chunks(train, unit_length=True):
        total += mapped(chunk).sum(axis=0)
    mean = total / len(train)
    if len(train) < size:
        rows = np.concatenate([mapped(c) for _, c in feature_chunks(train, unit_length=True)])
        _, singular, vectors = np.linalg.svd(rows - mean, full_matrices=False)
        values, axes = singular**2, vectors
    else:
        scatter = np.zeros((size, size))
        for _, chunk in feature_chunks(train, unit_length=True):
            centred = mapped(chunk) - mean
            scatter += centred.T @ centred
        ascending, columns = eigenpairs(scatter, name)
        values, axes = np.maximum(ascending[::-1], 0.0), columns.T[::-1]
    rounding = (size * np.finfo(np.float64).eps) ** 2 * len(train)  # mapped rows have length 1
    if values[0] <= rounding:
        raise InputError(
            located(train, f"{name}: the covariance is zero; all training rows have one direction")
        )
    explained = np.cumsum(values) / values.sum()
    kept = min(int(np.searchsorted(explained, share)) + 1, len(values))
    if kept == size:
        raise InputError(
            located(
                train,
                f"{name}: all {size} axes are needed to explain {share:g} of the variance, which "
                "leaves no residual; choose a smaller share",
            )
        )
    return Subspace(mean, np.ascontiguousarray(axes[:kept]), float(explained[kept - 1]))


def residual_lengths(mapped: Array, mean: Array, axes: Array) -> Array:
    """Length of each row's part outside the subspace.  (n, M), (M,), (q, M) -> (n,)."""
    centred = mapped - mean
    centred -= (centred @ axes.T) @ axes
    return np.asarray(np.linalg.norm(centred, axis=1))
