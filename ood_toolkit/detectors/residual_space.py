"""The subspace that training features leave out, and how far features reach into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.covariance import eigenpairs
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.prototypes import squared_lengths
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["ResidualSpace", "head_origin", "residual_norms", "residual_space"]

FLOAT32_SHARE = 300.0**-2
"""Features of float32 or shorter are projected in float32 where at least this share of their
second moment lies in the residual: what rounding adds to a residual grows as its root shrinks."""

CORRECTION = 1e-8
"""Largest relative correction of a solution that one more correction would not change."""


def head_origin(head: Head) -> Array:
    """The point where the head says nothing: -W^+ b.  (D,) float64."""
    weight, bias = head.weight.astype(np.float64), head.bias.astype(np.float64)
    if not bias.any():
        return np.zeros(weight.shape[1])
    solution = _through_gram(weight, bias)
    if solution is None:
        solution = np.linalg.lstsq(weight, bias, rcond=None)[0]
    return np.asarray(-solution)


def _through_gram(weight: Array, bias: Array) -> Array | None:
    """W^+ b of a well-conditioned W by its Gram matrix, several times as quick as by its SVD.

    Solving through W W^T or W^T W loses the digits of a condition number squared; a
    correction by what is left of b brings them back, where they are at most half of them.
    None where they are more, as of a W without full rank.  (C, D), (C,) -> (D,).
    """
    wide = weight.shape[0] <= weight.shape[1]
    gram = weight @ weight.T if wide else weight.T @ weight

    def solved(left: Array) -> Array:
        if wide:
            return np.asarray(weight.T @ np.linalg.solve(gram, left))
        return np.asarray(np.linalg.solve(gram, weight.T @ left))

    try:
        solution = solved(bias)
        correction = solved(bias - weight @ solution)
    except np.linalg.LinAlgError:
        return None
    if not np.linalg.norm(correction) <= CORRECTION * np.linalg.norm(solution):
        return None
    return np.asarray(solution + correction)


def principal_dimensions(dims: int) -> int:
    """The authors' rule for the size of the principal subspace of D-dimensional features."""
    if dims >= 2048:
        return 1000
    return 512 if dims >= 768 else dims // 2


@dataclass(frozen=True, slots=True)
class ResidualSpace:
    """What the training features leave outside their principal subspace.

    Attributes
    ----------
    origin : (D,) array of float64
        -W^+ b.
    basis : (D, D - dim) array of float64
        Orthonormal.
    mean_norm : float
        Mean length of the training features' part in it.
    explained : float
        Share of their second moment in the principal subspace.
    """

    origin: Array
    basis: Array
    mean_norm: float
    explained: float


def residual_space(name: str, train: Outputs | None, dim: int | str) -> ResidualSpace:
    """Eigenvectors of the second moment about -W^+ b, beyond the `dim` largest."""
    if train is None or train.features is None or train.head is None:
        raise InputError(f"{name} needs training outputs with features and head")
    if len(train) == 0:
        raise InputError(located(train, f"{name} cannot be fitted on zero rows"))
    dims = train.features.shape[1]
    kept = principal_dimensions(dims) if isinstance(dim, str) else dim
    if kept >= dims:
        raise BadParameter(
            f"{name}.dim = {kept} leaves no residual of {dims}-dimensional features; "
            f"choose at most {dims - 1}"
        )
    warn_if_head_disagrees(name, train)
    origin = head_origin(train.head)
    moments = feature_moments(train, origin=origin)
    values, vectors = eigenpairs(moments.scatter / len(train), located(train, name))
    basis = np.ascontiguousarray(vectors[:, : dims - kept])
    total = values.sum()
    explained = float(values[dims - kept :].sum() / total) if total > 0 else 0.0
    norms = residual_norms(train, origin, basis, explained)
    return ResidualSpace(origin, basis, float(norms.mean()), explained)


def residual_norms(x: Outputs, origin: Array, basis: Array, explained: float) -> Array:
    """Length of each row's part in a subspace.  Origin (D,), basis (D, r) -> (N,) float64.

    `explained` is the share of the training features' second moment outside the subspace.
    """
    assert x.features is not None
    single = x.features.dtype.itemsize <= 4 and 1.0 - explained >= FLOAT32_SHARE
    norms = _norms(x, origin, basis, np.float32 if single else np.float64)
    beyond = ~np.isfinite(norms)
    if single and beyond.any():  # out of float32's range
        norms[beyond] = _norms(x, origin, basis, np.float64)[beyond]
    return norms


def _norms(x: Outputs, origin: Array, basis: Array, dtype: Any) -> Array:
    """The same by products in one type."""
    directions, scratch = np.ascontiguousarray(basis, dtype=dtype), Scratch()

    def judge(centred: Array, _: slice) -> Array:
        along = scratch.array("along", (len(centred), directions.shape[1]), dtype)
        return np.sqrt(squared_lengths(np.matmul(centred, directions, out=along)))

    with np.errstate(over="ignore", invalid="ignore"):
        return scored_features(x, judge, origin=origin, dtype=dtype)
