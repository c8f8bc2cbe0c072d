"""Twins of density, neighbour and subspace scores of features, one row at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import background, by_class, float_features, unit
from tests.reference.from_logits import logit_rows, predicted
from tests.reference.further_mixtures import MIXTURE_TWINS

__all__ = ["FURTHER_DENSITY_TWINS"]

EULER = 0.5772156649015329


def ssd(
    x: Outputs,
    train: Outputs,
    clusters: int | str = 1,
    covariance: str = "pseudo_inverse",
    seed: int = 0,
) -> Array:
    """-min_k d_k² of unit features, each cluster with its own mean and covariance."""
    f = unit(float_features(train))
    owner = np.zeros(len(f), int)
    if clusters == "classes":
        owner = np.array(train.labels)
    elif clusters != 1:
        from sklearn.cluster import KMeans

        owner = KMeans(int(clusters), n_init=10, random_state=seed).fit(f).labels_
    rows = unit(float_features(x))
    distances = [background(rows, f[owner == k], covariance) for k in sorted(set(owner))]
    return np.array([-min(row) for row in zip(*distances, strict=True)], np.float64)


def trust_score(
    x: Outputs, train: Outputs, k: int = 10, alpha: float = 0.0, neighbor: int = 1
) -> Array:
    """min_{c≠ŷ} d_c / (d_ŷ + 1e-12), d_c the distance to a row of class c where it is dense."""

    def distances(f: Array, bank: Array) -> list[float]:
        return sorted(np.linalg.norm(bank - f, axis=1).tolist())

    dense = {}
    for c, group in by_class(float_features(train), train).items():
        radii = [distances(f, group)[min(k, len(group)) - 1] for f in group]
        dense[c] = group[np.array(radii) <= np.quantile(radii, 1 - alpha)]
    scores = []
    for f, z in zip(float_features(x), logit_rows(x), strict=True):
        d = {c: distances(f, bank)[min(neighbor, len(bank)) - 1] for c, bank in dense.items()}
        own = d.pop(predicted(z))
        scores.append(min(d.values()) / (own + 1e-12))
    return np.array(scores, np.float64)


def outside_principal_axes(rows: Array, f: Array, explained: float) -> Array:
    """‖(I - U Uᵀ)(r - μ)‖ of each row, U the fewest principal axes that explain so much."""
    mean = f.mean(axis=0)
    _, singular, axes = np.linalg.svd(f - mean, full_matrices=False)
    q, total = 0, 0.0
    while total < explained * np.sum(singular**2):
        total += singular[q] ** 2
        q += 1
    lengths = []
    for row in rows:
        rest = row - mean
        for axis in axes[:q]:
            rest = rest - np.dot(rest, axis) * axis
        lengths.append(np.linalg.norm(rest))
    return np.array(lengths, np.float64)


def pca(x: Outputs, train: Outputs, explained: float = 0.85) -> Array:
    """Minus what the principal axes of unit features leave of a unit feature."""
    f = unit(float_features(train))
    return -outside_principal_axes(unit(float_features(x)), f, explained)


def corp(
    x: Outputs,
    train: Outputs,
    explained: float = 0.8,
    gamma: float = 2.0,
    width: int = 2048,
    seed: int = 0,
) -> Array:
    """The same of √(2/M) cos(Ω v + u), v the unit feature, Ω ~ √(2γ) N(0, 1), u ~ U[0, 2π)."""
    rng = np.random.default_rng(seed)
    omega = np.sqrt(2 * gamma) * rng.normal(size=(width, float_features(train).shape[1]))
    u = rng.uniform(0, 2 * np.pi, width)

    def mapped(rows: Array) -> Array:
        angles = np.reshape([omega @ v + u for v in unit(rows)], (len(rows), width))
        return np.sqrt(2 / width) * np.cos(angles)

    f = mapped(float_features(train))
    return -outside_principal_axes(mapped(float_features(x)), f, explained)


def log_kernels(f: Array, bank: Array, h: float) -> Array:
    """ln N(f; f_i, h² I) for each row f_i of the bank."""
    squares = np.sum((bank - f) ** 2, axis=1)
    return np.asarray(-squares / (2 * h**2) - len(f) * np.log(h * np.sqrt(2 * np.pi)))


def log_mean(terms: Array) -> float:
    """ln of the mean of exp(terms)."""
    top = terms.max()
    return float(top + np.log(np.sum(np.exp(terms - top)) / len(terms)))


def leave_one_out_bandwidth(groups: list[Array]) -> float:
    """h of largest Σ ln p̂_{-i}(f_i) over distinct rows, of 25 around rms nearest distance / √D."""
    pairs = [(g[i], np.delete(g, i, axis=0)) for g in groups for i in range(len(g)) if len(g) > 1]
    squares = [np.sum((f - others) ** 2, axis=1) for f, others in pairs]
    first = np.sqrt(np.mean([min(row) for row in squares]) / groups[0].shape[1])
    likelihoods = []
    for h in first * np.geomspace(0.7, 1.8, 25):
        logs = [log_mean(-row / (2 * h**2)) for row in squares]
        likelihoods.append((np.mean(logs) - groups[0].shape[1] * np.log(h), h))
    return float(max(likelihoods)[1])


def kde(
    x: Outputs,
    train: Outputs,
    bandwidth: float | str = "auto",
    per_class: bool = False,
    whiten: bool = False,
) -> Array:
    """ln p̂(f) under a Gaussian kernel of width h on each training row; the best class's."""
    f, rows = float_features(train), float_features(x)
    if whiten:
        mean = f.mean(axis=0)
        values, vectors = np.linalg.eigh((f - mean).T @ (f - mean) / len(f))
        kept = values > len(values) * np.finfo(float).eps * max(values)
        turn = vectors[:, kept] / np.sqrt(values[kept])
        f, rows = (
            (f - mean) @ turn,
            np.reshape([turn.T @ (r - mean) for r in rows], (-1, sum(kept))),
        )
    groups = list(by_class(f, train).values()) if per_class else [f]
    distinct = [np.unique(group, axis=0) for group in groups]
    h = leave_one_out_bandwidth(distinct) if bandwidth == "auto" else float(bandwidth)
    scores = [max(log_mean(log_kernels(r, group, h)) for group in groups) for r in rows]
    return np.array(scores, np.float64)


def lof(x: Outputs, train: Outputs, k: int = 20) -> Array:
    """-(1/k) Σ_j lrd_j / lrd(f) over the k nearest, lrd = 1 / (mean max(d, reach_j) + 1e-10)."""
    bank = float_features(train)
    k = min(k, len(bank) - 1)

    def nearest(f: Array, left_out: int = -1) -> list[tuple[float, int]]:
        distances = np.linalg.norm(bank - f, axis=1).tolist()
        return sorted((d, j) for j, d in enumerate(distances) if j != left_out)[:k]

    around = [nearest(f, i) for i, f in enumerate(bank)]
    reach = [pairs[-1][0] for pairs in around]

    def density(pairs: list[tuple[float, int]]) -> float:
        return 1 / (sum(max(d, reach[j]) for d, j in pairs) / k + 1e-10)

    densities = [density(pairs) for pairs in around]
    scores = []
    for f in float_features(x):
        pairs = nearest(f)
        scores.append(-sum(densities[j] for _, j in pairs) / k / density(pairs))
    return np.array(scores, np.float64)


def isolation_forest(
    x: Outputs, train: Outputs, trees: int = 100, samples: int = 256, seed: int = 0
) -> Array:
    """-2^(-mean path / c(n)): scikit-learn's trees, walked node by node."""
    from sklearn.ensemble import IsolationForest

    samples = min(samples, len(train))
    forest = IsolationForest(n_estimators=trees, max_samples=samples, random_state=seed)
    forest.fit(float_features(train))

    def mean_path(n: int) -> float:
        return 0.0 if n < 2 else 1.0 if n == 2 else 2 * (log(n - 1) + EULER) - 2 * (n - 1) / n

    nodes = [
        list(
            zip(
                grown.tree_.children_left.tolist(),
                grown.tree_.children_right.tolist(),
                grown.tree_.feature.tolist(),
                grown.tree_.threshold.tolist(),
                grown.tree_.n_node_samples.tolist(),
                strict=True,
            )
        )
        for grown in forest.estimators_
    ]

    def path(tree: list[Any], f: list[float]) -> float:
        node, edges = 0, 0
        while tree[node][0] >= 0:
            left, right, feature, threshold, _ = tree[node]
            node = left if f[feature] <= threshold else right
            edges += 1
        return edges + mean_path(tree[node][4])

    scores = []
    for f in float_features(x).astype(np.float32).tolist():
        depth = sum(path(tree, f) for tree in nodes) / trees
        scores.append(-(2 ** (-depth / mean_path(samples))))
    return np.array(scores, np.float64)


FURTHER_DENSITY_TWINS: dict[str, Callable[..., Array]] = {
    "corp": corp,
    "isolation_forest": isolation_forest,
    "kde": kde,
    "lof": lof,
    "pca": pca,
    "ssd": ssd,
    "trust_score": trust_score,
    **MIXTURE_TWINS,
}
