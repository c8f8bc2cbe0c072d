"""Twins of the scores that go with OpenMax, neuron coverage and perturbed heads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from mpmath import findroot, mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import float_features, unit
from tests.reference.from_head import float_head
from tests.reference.from_logits import DIGITS, log_softmax, logit_rows, predicted, softmax

__all__ = ["HEAD_AND_LOGIT_TWINS"]


def probabilities(x: Outputs) -> list[Array]:
    """Softmax of each row, 0 for a masked class."""
    rows = [softmax(z) for z in logit_rows(x)]
    return [np.array([float(p.get(c, 0)) for c in range(x.classes)]) for p in rows]


def openmax_distance(z: dict[int, Any], mean: Array, kind: str) -> float:
    """‖z - m‖ over live classes, or that / 200 plus 1 - cos(z, m)."""
    row, centre = np.array([float(v) for v in z.values()]), mean[list(z)]
    far = float(np.linalg.norm(row - centre))
    if kind == "euclidean":
        return far
    size = float(np.linalg.norm(row) * np.linalg.norm(centre))
    return far / 200 + 1 - (float(row @ centre) / size if size else 0.0)


def weibull_of(tail: list[float]) -> Callable[[float], Any]:
    """P(D <= d) under the likeliest Weibull law of x = d - min + 10,000."""
    moved = [mpf(d) - min(tail) + 10_000 for d in tail]
    logs = [mp.log(x / max(moved)) for x in moved]
    mean = sum(logs) / len(logs)
    if mean == 0:
        return lambda d: 1 - mp.exp(-1) if d == tail[0] else mpf(d > tail[0])

    def slope(k: Any) -> Any:
        powers = [mp.exp(k * y) for y in logs]
        return sum(p * y for p, y in zip(powers, logs, strict=True)) / sum(powers) - 1 / k - mean

    k = findroot(slope, (-1 / mean, -(1 + len(logs)) / mean), solver="anderson", verify=False)
    scale = max(moved) * (sum(mp.exp(k * y) for y in logs) / len(logs)) ** (1 / k)

    def law(d: float) -> Any:
        x = mpf(d) - min(tail) + 10_000
        power = k * mp.log(x / scale) if x > 0 else -mp.inf
        return 1 - mp.exp(-mp.exp(min(power, 9)))  # e^-e^9 is nothing in fifty digits

    return law


def openmax(
    x: Outputs, train: Outputs, tail: int = 20, alpha: int = 3, distance: str = "euclidean"
) -> Array:
    """-p of the logit Σ u_c among z_c - u_c, u_c = z_c (α - rank) / α F_c(d_c) of the α largest.

    F_c is fitted to the `tail` largest distances of the class's right rows to their mean.
    """
    assert train.logits is not None
    assert train.labels is not None
    z = train.logits.astype(np.float64)
    right = z.argmax(axis=1) == train.labels
    means, laws, scores = {}, {}, []
    with mp.workdps(DIGITS):
        for c in range(z.shape[1]):
            own = z[(train.labels == c) & right]
            own = own if len(own) else z[train.labels == c]
            means[c] = own.mean(axis=0)
            far = [openmax_distance(dict(enumerate(row)), means[c], distance) for row in own]
            laws[c] = weibull_of(sorted(far)[-tail:])
        for row in logit_rows(x):
            revised, left, unknown = dict(row), dict(row), mpf(0)
            revising = min(alpha, z.shape[1])
            for rank in range(min(revising, len(row))):
                c = predicted(left)
                del left[c]
                outlying = laws[c](openmax_distance(row, means[c], distance))
                share = row[c] * (revising - rank) / revising * outlying
                revised[c] -= share
                unknown += share
            known = sum(mp.exp(v) for v in revised.values())
            scores.append(float(-mp.exp(unknown) / (mp.exp(unknown) + known)))
    return np.array(scores, np.float64)


def relation(x: Outputs, train: Outputs, power: float = 1.0, threshold: float = 0.03) -> Array:
    """Σ_i k_i^power over k_i > threshold, k_i = max(cos(f, f_i), 0) ⟨p, p_i⟩."""
    bank = list(zip(unit(float_features(train)), probabilities(train), strict=True))
    scores = []
    for f, p in zip(unit(float_features(x)), probabilities(x), strict=True):
        kernels = [max(float(f @ g), 0.0) * float(p @ q) for g, q in bank]
        scores.append(sum(k**power for k in kernels if k > threshold))
    return np.array(scores, np.float64)


def neuron_states(x: Outputs, weight: Array, steepness: float) -> list[list[Any]]:
    """σ(α f_d g_d), g = Wᵀ(p - 1/C), C the live classes."""
    states = []
    for f, z in zip(float_features(x), logit_rows(x), strict=True):
        p = softmax(z)
        excess = {c: p[c] - mpf(1) / len(z) for c in z}
        drives = [
            mpf(float(f[d])) * sum(excess[c] * mpf(float(weight[c, d])) for c in z)
            for d in range(len(f))
        ]
        states.append([1 / (1 + mp.exp(-steepness * drive)) for drive in drives])
    return states


def coverage_edges(bins: int) -> list[Any]:
    """log_1000 of even steps from 1 to √1000, then 1 - those, the last edge beyond 1."""
    count = bins // 2
    steps = [1 + (mp.sqrt(1000) - 1) * k / (count - 1) for k in range(count)]
    left = [mp.log(step) / mp.log(1000) for step in steps]
    edges = [*left[:-1], *(1 - e for e in reversed(left))]
    return [*edges[:-1], edges[-1] + mpf("0.01"), mpf("1.2")]


def nac(
    x: Outputs,
    train: Outputs,
    filled: int = 50,
    bins: int = 50,
    steepness: float = 100.0,
    samples: int = 1000,
) -> Array:
    """Mean over neurons of min(count of the state's bin [e_i, e_i+1) / filled, 1).

    Counted are as many rows of every class, at even steps: samples / C, or the smallest class.
    """
    assert train.labels is not None
    weight, _ = float_head(x, train)
    groups = [np.flatnonzero(train.labels == c) for c in range(len(weight))]
    each = max(1, min(min(map(len, groups)), samples // len(groups)))
    chosen = np.array([g[k * len(g) // each] for g in groups for k in range(each)])
    with mp.workdps(DIGITS):
        edges = coverage_edges(bins)
        counts = [[0] * len(edges) for _ in weight[0]]
        for row in neuron_states(train.rows(chosen), weight, steepness):
            for d, state in enumerate(row):
                counts[d][bisect_right(edges, state)] += 1
        scores = []
        for row in neuron_states(x, weight, steepness):
            found = [counts[d][bisect_right(edges, state)] for d, state in enumerate(row)]
            scores.append(sum(min(n / filled, 1.0) for n in found) / len(row))
    return np.array(scores, np.float64)


def histogram(values: Array, ends: tuple[float, float], bins: int) -> Array:
    """Share of the values in each of equal bins [a, b) from the least to the largest + 1e-8."""
    edges = np.linspace(ends[0], ends[1] + 1e-8, bins + 1)
    return np.histogram(values, edges)[0] / len(values)


def symmetric_kl(density: Array, mean: Array, window: int, floor: float) -> float:
    """KL(p, q) + KL(q, p); q is smoothed, both have `floor` added and sum to one.

    Smoothing averages `window` bins: (window - 1) // 2 below, the others above, ends repeated.
    """
    last, below = len(density) - 1, (window - 1) // 2
    q = np.array(
        [
            np.mean([density[min(max(i + k - below, 0), last)] for k in range(window)])
            for i in range(len(density))
        ]
    )
    p, q = (mean + floor) / np.sum(mean + floor), (q + floor) / np.sum(q + floor)
    return float(np.sum(p * np.log(p / q)) + np.sum(q * np.log(q / p)))


def weiper(
    x: Outputs,
    train: Outputs,
    copies: int = 100,
    distance: float = 1.8,
    bins: int = 100,
    smoothing: int = 4,
    logit_smoothing: int = 15,
    lambda_1: float = 2.5,
    lambda_2: float = 0.1,
    seed: int = 0,
) -> Array:
    """-KL of the feature's histogram - λ₁ KL of the perturbed logits' + λ₂ mean max softmax.

    A copy of the head has weights w + distance ‖w‖ ε, ε a random direction.
    """
    weight, bias = float_head(train, train)
    heads = []
    for j in range(copies):
        noise = np.random.default_rng((seed, j)).standard_normal(weight.shape)
        heads.append(
            np.array(
                [
                    w + distance * np.linalg.norm(w) * e / np.linalg.norm(e)
                    for w, e in zip(weight, noise, strict=True)
                ]
            )
        )

    def views(record: Outputs) -> tuple[Array, Array]:
        f = float_features(record)
        logits = [[head @ row + bias for head in heads] for row in f]
        return f, np.reshape(np.array(logits, np.float64), (len(f), copies, len(bias)))

    features_seen, logits_seen = views(train)
    on_f, on_z = ((v.min(), v.max()) for v in (features_seen, logits_seen))
    mean_f = np.mean([histogram(f, on_f, bins) for f in features_seen], axis=0)
    mean_z = np.mean([histogram(z.ravel(), on_z, bins) for z in logits_seen], axis=0)
    scores = []
    for f, z in zip(*views(x), strict=True):
        far_f = symmetric_kl(histogram(f, on_f, bins), mean_f, smoothing, 0.01)
        far_z = symmetric_kl(histogram(z.ravel(), on_z, bins), mean_z, logit_smoothing, 0.025)
        sure = np.mean([np.max(np.exp(v - v.max())) / np.sum(np.exp(v - v.max())) for v in z])
        scores.append(-far_f - lambda_1 * far_z + lambda_2 * sure)
    return np.array(scores, np.float64)


SHARES = [
    Fraction(low) + (Fraction(high) - Fraction(low)) * k / (count - 1)
    for low, high, count in (("0.001", "0.1", 100), ("0.105", "0.5", 81), ("0.51", "0.99", 49))
    for k in range(count)
]


def cfood(x: Outputs, train: Outputs, fraction: float = 0.1, share: float = 0.01) -> Array:
    """-κ, the least share of the grid at which enough reference rows i have ‖f - f_i‖² ≤ r_i(κ).

    r_i(κ) is i's squared distance to its ⌊κn⌋-th other row, at least the first; κ = 1 if none.
    """
    n = max(2, round(fraction * len(train)))
    bank = unit(float_features(train))[[i * len(train) // n for i in range(n)]]
    distances = [[np.sum((a - b) ** 2) for b in bank] for a in bank]
    fellows = [sorted(row[:i] + row[i + 1 :]) for i, row in enumerate(distances)]
    scores = []
    for f in unit(float_features(x)):
        far = [np.sum((f - b) ** 2) for b in bank]
        found = 1.0
        for kappa in SHARES:
            rank = max(1, floor(kappa * n))
            inside = sum(d <= row[rank - 1] for d, row in zip(far, fellows, strict=True))
            if inside / n >= share:
                found = float(kappa)
                break
        scores.append(-found)
    return np.array(scores, np.float64)


def feature_odin(
    x: Outputs,
    train: Outputs | None = None,
    temperature: float = 1000.0,
    epsilon: float = 0.0014,
) -> Array:
    """ln max softmax(z'/T), z' the logits of f - ε sgn(Wᵀ(softmax(z/T) - e_ŷ)), sgn(0) = 1."""
    weight, _ = float_head(x, None)
    scores = []
    with mp.workdps(DIGITS):
        for z in logit_rows(x):
            top, p = predicted(z), softmax({c: v / temperature for c, v in z.items()})
            moved = dict(z)
            for d in range(weight.shape[1]):
                slope = sum((p[c] - (c == top)) * mpf(float(weight[c, d])) for c in z)
                step = epsilon if slope >= 0 else -epsilon
                moved = {c: v - step * mpf(float(weight[c, d])) for c, v in moved.items()}
            logs = log_softmax({c: v / temperature for c, v in moved.items()})
            scores.append(float(max(logs.values())))
    return np.array(scores, np.float64)


HEAD_AND_LOGIT_TWINS: dict[str, Callable[..., Array]] = {
    "cfood": cfood,
    "feature_odin": feature_odin,
    "nac": nac,
    "openmax": openmax,
    "relation": relation,
    "weiper": weiper,
}
