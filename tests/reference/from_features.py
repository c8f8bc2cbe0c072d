"""Twins of the scores of features and labels, in float64, one row at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ood_toolkit.outputs import Array, Outputs

__all__ = ["FEATURE_TWINS", "float_features", "unit"]


def float_features(x: Outputs) -> Array:
    """Features widened to float64."""
    return np.asarray(x.features, dtype=np.float64)


def unit(rows: Array) -> Array:
    """f / ‖f‖₂; a row of zeros stays a row of zeros."""
    scaled = [f / (np.linalg.norm(f) or 1.0) for f in rows]
    return np.reshape(np.array(scaled), rows.shape)


def by_class(f: Array, train: Outputs) -> dict[int, Array]:
    """The training rows of each class; label -1 belongs to none."""
    assert train.labels is not None
    return {c: f[train.labels == c] for c in sorted(set(train.labels.tolist()) - {-1})}


def covariance_of(centred: Array, estimator: str) -> Array:
    """Σ = XᵀX / N, as it is or shrunk to a multiple of the identity."""
    n, d = centred.shape
    sigma: Array = centred.T @ centred / n
    level = np.trace(sigma) / d
    spread = np.sum((sigma - level * np.eye(d)) ** 2)
    if estimator == "pseudo_inverse" or spread == 0:
        return sigma
    if estimator == "ledoit_wolf":  # (1/N²) Σ_i ‖x_i x_iᵀ - Σ‖² / ‖Σ - level·I‖²
        noise = sum(np.sum((np.outer(f, f) - sigma) ** 2) for f in centred) / n**2
        weight = min(noise / spread, 1.0)
    elif estimator == "oas":  # scikit-learn's form, which leaves out the paper's 2/D terms
        mean_square = np.mean(sigma**2)
        weight = min((mean_square + level**2) / ((n + 1) * (mean_square - level**2 / d)), 1.0)
    else:
        raise ValueError(f"covariance {estimator!r}")
    shrunk: Array = (1 - weight) * sigma + weight * level * np.eye(d)
    return shrunk


def squared_distances(rows: Array, mean: Array, sigma: Array) -> Array:
    """(f - μ)ᵀ Σ⁺ (f - μ), over the eigenvalues above D · eps · λ_max."""
    values, vectors = np.linalg.eigh(sigma)
    cutoff = len(values) * np.finfo(np.float64).eps * values.max()
    kept = [(λ, v) for λ, v in zip(values, vectors.T, strict=True) if λ > cutoff]
    return np.array([sum(np.dot(f - mean, v) ** 2 / λ for λ, v in kept) for f in rows], np.float64)


def nearest_class(rows: Array, groups: dict[int, Array], covariance: str) -> Array:
    """min_c d_c² under the class means and the one covariance they share."""
    means = {c: group.mean(axis=0) for c, group in groups.items()}
    centred = np.vstack([group - means[c] for c, group in groups.items()])
    sigma = covariance_of(centred, covariance)
    distances = [squared_distances(rows, mean, sigma) for mean in means.values()]
    return np.array([min(row) for row in zip(*distances, strict=True)], np.float64)


def background(rows: Array, f: Array, covariance: str) -> Array:
    """d_0² under one Gaussian over every training row."""
    mean = f.mean(axis=0)
    return squared_distances(rows, mean, covariance_of(f - mean, covariance))


def mahalanobis(x: Outputs, train: Outputs, covariance: str = "pseudo_inverse") -> Array:
    """-min_c d_c²."""
    groups = by_class(float_features(train), train)
    return -nearest_class(float_features(x), groups, covariance)


def relative_mahalanobis(x: Outputs, train: Outputs, covariance: str = "pseudo_inverse") -> Array:
    """d_0² - min_c d_c²."""
    return mahalanobis(x, train, covariance) - marginal_mahalanobis(x, train, covariance)


def marginal_mahalanobis(x: Outputs, train: Outputs, covariance: str = "pseudo_inverse") -> Array:
    """-d_0²."""
    return -background(float_features(x), float_features(train), covariance)


def mahalanobis_pp(x: Outputs, train: Outputs, covariance: str = "pseudo_inverse") -> Array:
    """-min_c d_c² of unit features; their class means are not made unit again."""
    groups = by_class(unit(float_features(train)), train)
    return -nearest_class(unit(float_features(x)), groups, covariance)


def knn(x: Outputs, train: Outputs, k: int = 50, normalize: bool = True) -> Array:
    """-‖f - f_(k)‖₂, f_(k) the k-th nearest training row, the last where there are fewer."""
    rows, bank = float_features(x), float_features(train)
    if normalize:
        rows, bank = unit(rows), unit(bank)
    scores = []
    for f in rows:
        distances = sorted(float(np.linalg.norm(f - g)) for g in bank)
        scores.append(-distances[min(k, len(distances)) - 1])
    return np.array(scores, np.float64)


def cosine_prototype(x: Outputs, train: Outputs) -> Array:
    """max_c cos(f, m_c), m_c the mean of the unit features of class c."""
    groups = by_class(unit(float_features(train)), train)
    prototypes = unit(np.array([group.mean(axis=0) for group in groups.values()]))
    scores = [max(float(np.dot(f, m)) for m in prototypes) for f in unit(float_features(x))]
    return np.array(scores, np.float64)


FEATURE_TWINS: dict[str, Callable[..., Array]] = {
    "cosine_prototype": cosine_prototype,
    "knn": knn,
    "mahalanobis": mahalanobis,
    "mahalanobis_pp": mahalanobis_pp,
    "marginal_mahalanobis": marginal_mahalanobis,
    "relative_mahalanobis": relative_mahalanobis,
}
