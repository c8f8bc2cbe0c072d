"""Twins of Gaussians with a covariance a class, in fifty digits.

Fifty digits, because a covariance of few rows and a small ridge has a condition number that
leaves float64 nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import by_class, float_features

__all__ = ["MIXTURE_TWINS"]


def digits_of(rows: Array) -> list[list[Any]]:
    """The rows in fifty digits."""
    return [[mpf(value) for value in row] for row in rows.tolist()]


def scatter_of(rows: Array) -> tuple[list[Any], Any]:
    """Mean and Σ_i (f_i - μ)(f_i - μ)ᵀ in fifty digits."""
    exact = digits_of(rows)
    mean = [sum(column) / len(exact) for column in zip(*exact, strict=True)]
    centred = [[a - m for a, m in zip(row, mean, strict=True)] for row in exact]
    scatter = mp.zeros(len(mean))
    for i, j in np.ndindex(len(mean), len(mean)):
        scatter[i, j] = sum(row[i] * row[j] for row in centred)
    return mean, scatter


def quadratic(f: Array, mean: list[Any], inverse: Any) -> Any:
    """(f - μ)ᵀ Σ⁻¹ (f - μ)."""
    centred = [mpf(a) - m for a, m in zip(f.tolist(), mean, strict=True)]
    return sum(
        centred[i] * inverse[i, j] * centred[j] for i, j in np.ndindex(len(centred), len(centred))
    )


def gmm(
    x: Outputs,
    train: Outputs,
    components: int = 1,
    per_class: bool = True,
    covariance: str = "full",
    ridge: float = 1e-6,
    seed: int = 0,
) -> Array:
    """ln Σ_k π_k N(f; μ_k, Σ_k + ridge I), k over the components of every class."""
    f = float_features(train)
    parts = []
    for group in by_class(f, train).values() if per_class else [f]:
        share = mpf(len(group)) / len(f)
        if components == 1:
            mean, scatter = scatter_of(group)
            parts.append((share, mean, scatter / len(group) + ridge * mp.eye(len(mean))))
            continue
        from sklearn.mixture import GaussianMixture

        found = GaussianMixture(
            components, covariance_type=covariance, reg_covar=ridge, random_state=seed
        ).fit(group)
        for k in range(components):
            sigma = found.covariances_[k] if covariance == "full" else found.covariances_
            weight = share * mpf(float(found.weights_[k]))
            parts.append((weight, digits_of(found.means_)[k], mp.matrix(digits_of(sigma))))
    inverses = [mp.inverse(sigma) for _, _, sigma in parts]
    factors = [pi / mp.sqrt(mp.det(2 * mp.pi * sigma)) for pi, _, sigma in parts]
    scores = []
    for row in float_features(x):
        terms = zip(factors, parts, inverses, strict=True)
        density = sum(a * mp.exp(-quadratic(row, part[1], inv) / 2) for a, part, inv in terms)
        scores.append(float(mp.log(density)))
    return np.array(scores, np.float64)


def hvcm_blocks(
    x: Outputs, train: Outputs, blocks: int | str = "auto", ridge: float = 1e-6
) -> Array:
    """-min_c Σ_k (1/K) ½ d²_ck; Σ_ck unbiased + ridge tr/B I, pooled where block k is constant."""
    f, classes = float_features(train), by_class(float_features(train), train)
    dims = f.shape[1]
    columns = np.array_split(np.arange(dims), -(-dims // 32) if blocks == "auto" else int(blocks))
    total = [mpf(0)] * len(float_features(x))
    per_class: dict[int, list[Any]] = dict.fromkeys(classes, total)
    for own in columns:
        parts = {c: scatter_of(group[:, own]) for c, group in classes.items()}
        degrees = {c: max(len(group) - 1, 1) for c, group in classes.items()}
        zero = mp.zeros(len(own))
        pooled = sum((s for _, s in parts.values()), zero) / (len(f) - len(classes))
        for c, (mean, scatter) in parts.items():
            sigma = scatter / degrees[c] if trace(scatter) > mpf(10) ** -40 else pooled
            if trace(sigma) < mpf(10) ** -40:
                continue
            inverse = mp.inverse(sigma + ridge * trace(sigma) / len(own) * mp.eye(len(own)))
            distances = [quadratic(row[own], mean, inverse) for row in float_features(x)]
            per_class[c] = [
                a + d / (2 * len(columns)) for a, d in zip(per_class[c], distances, strict=True)
            ]
    scores = [-min(row) for row in zip(*per_class.values(), strict=True)]
    return np.array([float(score) for score in scores], np.float64)


def trace(matrix: Any) -> Any:
    """Sum of the diagonal."""
    return sum(matrix[i, i] for i in range(matrix.rows))


MIXTURE_TWINS: dict[str, Callable[..., Array]] = {"gmm": gmm, "hvcm_blocks": hvcm_blocks}
