"""Further twins of scores of features, with or without the head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import (
    background,
    by_class,
    float_features,
    mahalanobis_pp,
    unit,
)
from tests.reference.from_head import energy_of_features, float_head, residual_norms
from tests.reference.from_logits import LOGIT_TWINS, logit_rows, predicted, softmax

__all__ = ["FURTHER_FEATURE_TWINS", "activations"]


def predictions(x: Outputs) -> list[int]:
    """ŷ of each row."""
    return [predicted(z) for z in logit_rows(x)]


def feature_norm(x: Outputs, train: Outputs | None = None, order: int = 1) -> Array:
    """‖max(f, 0)‖₁ or ‖max(f, 0)‖₂."""
    positive = np.maximum(float_features(x), 0)
    return np.array([np.linalg.norm(f, order) for f in positive], np.float64)


def relative_mahalanobis_pp(
    x: Outputs, train: Outputs, covariance: str = "pseudo_inverse"
) -> Array:
    """d_0² - min_c d_c² of unit features, the background's unit too."""
    nearest = mahalanobis_pp(x, train, covariance)
    return nearest + background(unit(float_features(x)), unit(float_features(train)), covariance)


def residual(x: Outputs, train: Outputs, dim: int | str = "auto") -> Array:
    """-‖NSᵀ(f - u)‖, ViM's part without the logits."""
    return -residual_norms(x, train, dim)[0]


def gradnorm(x: Outputs, train: Outputs | None = None, target: str = "ones") -> Array:
    """‖∂ Σ_c t_c · -ln p_c / ∂W‖₁ = ‖f‖₁ · Σ |C p_c - 1| for t = 1, that over C for t = 1/C."""
    scores = []
    for f, z in zip(float_features(x), logit_rows(x), strict=True):
        spread = sum(abs(len(z) * p - 1) for p in softmax(z).values())
        scores.append(float(spread) * np.abs(f).sum() / {"ones": 1, "uniform": len(z)}[target])
    return np.array(scores, np.float64)


def she(x: Outputs, train: Outputs, metric: str = "inner_product") -> Array:
    """⟨f, M_ŷ⟩, M_c the mean feature of the correct training rows of class c, else of all its."""
    f, right = float_features(train), np.array(predictions(train)) == train.labels
    patterns = {}
    for c, group in by_class(f, train).items():
        correct = f[(train.labels == c) & right]
        patterns[c] = (correct if len(correct) else group).mean(axis=0)
    likeness: dict[str, Callable[[Array, Array], float]] = {
        "inner_product": lambda a, m: float(a @ m),
        "euclidean": lambda a, m: -float(np.linalg.norm(a - m)),
        "cosine": lambda a, m: float(a @ m / (np.linalg.norm(a) * np.linalg.norm(m))),
    }
    rows = zip(float_features(x), predictions(x), strict=True)
    return np.array([likeness[metric](f, patterns[c]) for f, c in rows], np.float64)


def nnguide(x: Outputs, train: Outputs, k: int = 100, fraction: float = 0.01) -> Array:
    """lse(z) · mean of the k largest ⟨f/‖f‖, g_i⟩, g_i = f_i/‖f_i‖ · lse(z_i) of the bank rows.

    The bank is round(fraction N) rows, at least one, at even steps through the training set.
    """
    size = max(1, round(fraction * len(train)))
    chosen = train.rows(np.array([i * len(train) // size for i in range(size)]))
    guides = unit(float_features(chosen)) * LOGIT_TWINS["energy"](chosen)[:, np.newaxis]
    energies = LOGIT_TWINS["energy"](x)
    scores = []
    for f, energy in zip(unit(float_features(x)), energies, strict=True):
        largest = sorted((float(f @ g) for g in guides), reverse=True)[:k]
        scores.append(energy * sum(largest) / len(largest))
    return np.array(scores, np.float64)


def fdbd(x: Outputs, train: Outputs, reduce: str = "sum", regulariser: str = "distance") -> Array:
    """Σ_{c≠ŷ} |z_ŷ - z_c| / ‖w_ŷ - w_c‖ over ‖f - μ‖ (or ‖f‖); equal rows of W do not count."""
    weight, _ = float_head(x, train)
    mean = float_features(train).mean(axis=0)
    scores = []
    for f, z in zip(float_features(x), logit_rows(x), strict=True):
        top = predicted(z)
        others = [c for c in z if np.any(weight[c] != weight[top])]
        gaps = [float(z[top] - z[c]) / np.linalg.norm(weight[top] - weight[c]) for c in others]
        total = sum(gaps) / {"sum": 1, "mean": len(gaps)}[reduce]
        scores.append(total / np.linalg.norm(f - {"distance": mean, "norm": 0}[regulariser]))
    return np.array(scores, np.float64)


def nci(x: Outputs, train: Outputs, alpha: float = 1e-4) -> Array:
    """⟨w_ŷ, f - μ⟩ / ‖f - μ‖ + α ‖f‖₁."""
    weight, _ = float_head(x, train)
    mean = float_features(train).mean(axis=0)
    scores = []
    for f, c in zip(float_features(x), predictions(x), strict=True):
        closeness = weight[c] @ (f - mean) / np.linalg.norm(f - mean)
        scores.append(closeness + alpha * np.abs(f).sum())
    return np.array(scores, np.float64)


def angle(a: Array, b: Array) -> float:
    """The angle between two directions; by half-angles, where arccos loses the small ones."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))


def ora(x: Outputs, train: Outputs) -> Array:
    """max_{c≠ŷ} θ_c / π, θ_c the angle at which the mean m of the class means sees f and f_c.

    f_c is the point of the boundary with class c that is nearest to f; θ_c = 0 where f or f_c
    is m itself.
    """
    weight, _ = float_head(x, train)
    groups = by_class(float_features(train), train).values()
    origin = np.mean([group.mean(axis=0) for group in groups], axis=0)
    scores = []
    for f, z in zip(float_features(x), logit_rows(x), strict=True):
        top, angles = predicted(z), [0.0]
        for c in z:
            normal = weight[top] - weight[c]
            if np.any(normal != 0):
                boundary = f - float(z[top] - z[c]) / (normal @ normal) * normal
                if np.any(f != origin) and np.any(boundary != origin):
                    angles.append(angle(f - origin, boundary - origin) / np.pi)
        scores.append(max(angles))
    return np.array(scores, np.float64)


def neco(x: Outputs, train: Outputs, dim: int | str = "auto", max_logit: bool = True) -> Array:
    """‖P_d s‖ / ‖s‖ · max z, s the standardised feature, P_d its first d principal axes.

    `auto` is the least d that explains 90 % of the variance.
    """
    f = float_features(train)
    mean, std = f.mean(axis=0), f.std(axis=0)
    std[std == 0] = 1.0
    standard = (f - mean) / std
    values, vectors = np.linalg.eigh(standard.T @ standard)
    explained = np.cumsum(values[::-1]) / values.sum()
    d = int(np.argmax(explained >= 0.9)) + 1 if dim == "auto" else int(dim)
    axes = vectors[:, ::-1][:, :d]
    rows = (float_features(x) - mean) / std
    ratios = [np.linalg.norm(axes.T @ s) / (np.linalg.norm(s) or 1.0) for s in rows]
    scale = LOGIT_TWINS["max_logit"](x) if max_logit else np.ones(len(ratios))
    return np.array(ratios, np.float64) * scale


def dice(x: Outputs, train: Outputs, percentile: float = 90.0) -> Array:
    """Energy under the weights whose contribution mean(f)_d · W_cd is above that percentile."""
    weight, bias = float_head(x, train)
    contribution = float_features(train).mean(axis=0) * weight
    kept = contribution > np.percentile(contribution, percentile)
    return energy_of_features(float_features(x), weight * kept, bias)


def vra(x: Outputs, train: Outputs, low: float = 10.0, high: float = 90.0) -> Array:
    """Energy of f clipped to two percentiles of all training activations."""
    bounds = np.percentile(float_features(train), [low, high])
    clipped = np.clip(float_features(x), *bounds)
    return energy_of_features(clipped, *float_head(x, train))


def activations(f: Array, rule: str, percentile: float) -> Array:
    """One row shaped by ASH-P, ASH-B, ASH-S or SCALE."""
    kept = len(f) - round(len(f) * percentile / 100)
    largest = sorted(range(len(f)), key=lambda i: (-f[i], i))[:kept]
    pruned = np.zeros(len(f))
    pruned[largest] = f[largest]
    if rule == "ash_p":
        return pruned
    if rule == "ash_b":
        pruned[largest] = f.sum() / max(kept, 1)
        return pruned
    factor = np.exp(f.sum() / pruned.sum()) if pruned.sum() != 0 else 1.0
    return np.array({"ash_s": pruned, "scale": f}[rule] * factor)


def shaped(rule: str, usual: float) -> Callable[..., Array]:
    """The twin of one shaping rule followed by energy."""

    def twin(x: Outputs, train: Outputs | None = None, percentile: float = usual) -> Array:
        rows = [activations(f, rule, percentile) for f in float_features(x)]
        return energy_of_features(rows, *float_head(x, train))

    return twin


FURTHER_FEATURE_TWINS: dict[str, Callable[..., Array]] = {
    "ash_b": shaped("ash_b", 90.0),
    "ash_p": shaped("ash_p", 90.0),
    "ash_s": shaped("ash_s", 90.0),
    "dice": dice,
    "fdbd": fdbd,
    "feature_norm": feature_norm,
    "gradnorm": gradnorm,
    "nci": nci,
    "neco": neco,
    "nnguide": nnguide,
    "ora": ora,
    "relative_mahalanobis_pp": relative_mahalanobis_pp,
    "residual": residual,
    "scale": shaped("scale", 85.0),
    "she": she,
    "vra": vra,
}
