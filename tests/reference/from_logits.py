"""Twins of the scores of one row of logits, worked out in fifty decimal digits.

Fifty digits, because 1 - p and ln p lose everything in float64 once a softmax saturates, and
a twin must not share that weakness.  A row is a mapping from class to logit that leaves the
masked classes (logit -inf) out, so `len(row)` is C.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from itertools import pairwise
from math import fsum
from typing import Any

import numpy as np
from mpmath import mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.transport import transport_cost

__all__ = ["LOGIT_TWINS", "by_rows", "log_softmax", "logit_rows", "predicted", "softmax"]

DIGITS = 50
Row = dict[int, Any]
Ground = str | tuple[tuple[float, ...], ...] | None
LOGIT_TWINS: dict[str, Callable[..., Array]] = {}


def logit_rows(x: Outputs) -> list[Row]:
    """The live logits of each row."""
    assert x.logits is not None
    rows = x.logits.astype(np.float64).tolist()
    return [{c: mpf(z) for c, z in enumerate(row) if z != -np.inf} for row in rows]


def predicted(z: Row) -> int:
    """argmax_c z_c, the first on ties."""
    return min(z, key=lambda c: (-z[c], c))


def log_sum_exp(values: list[Any]) -> Any:
    """ln Σ exp(v), exact however far the largest term is ahead of the others."""
    ordered = sorted(values, reverse=True)
    return ordered[0] + mp.log1p(sum(mp.exp(v - ordered[0]) for v in ordered[1:]))


def log_softmax(z: Row) -> Row:
    """ln p_c = z_c - lse(z)."""
    top = predicted(z)
    others = sum(mp.exp(z[c] - z[top]) for c in z if c != top)
    return {c: (z[c] - z[top]) - mp.log1p(others) for c in z}


def softmax(z: Row) -> Row:
    """p_c = exp(z_c) / Σ exp(z)."""
    return {c: mp.exp(value) for c, value in log_softmax(z).items()}


def complement(p: Row) -> Row:
    """1 - p_c; for the largest p as the sum of the others, so that nothing cancels."""
    top = predicted(p)
    return {c: 1 - p[c] if c != top else sum(p[k] for k in p if k != top) for c in p}


def by_rows(score: Callable[..., Any]) -> Callable[..., Array]:
    """Score every row by a function of its live logits."""

    @wraps(score)
    def twin(x: Outputs, train: Outputs | None = None, **parameters: Any) -> Array:
        with mp.workdps(DIGITS):
            return np.array([float(score(z, **parameters)) for z in logit_rows(x)], np.float64)

    return twin


def row_twin(score: Callable[..., Any]) -> Callable[..., Array]:
    """Enter the score of a row among the twins."""
    LOGIT_TWINS[score.__name__] = by_rows(score)
    return LOGIT_TWINS[score.__name__]


@row_twin
def msp(z: Row) -> Any:
    """max_c p_c."""
    return max(softmax(z).values())


@row_twin
def msp_kl(z: Row) -> Any:
    """KL(p ‖ uniform) = ln C - H(p)."""
    logs = log_softmax(z)
    return mp.log(len(z)) + sum(mp.exp(v) * v for v in logs.values())


@row_twin
def max_logit(z: Row) -> Any:
    """max_c z_c."""
    return max(z.values())


@row_twin
def energy(z: Row, temperature: float = 1.0) -> Any:
    """T · lse(z / T)."""
    t = mpf(temperature)
    return t * log_sum_exp([v / t for v in z.values()])


@row_twin
def odin_temperature(z: Row, temperature: float = 1000.0) -> Any:
    """ln max_c softmax(z / T)_c = max z / T - lse(z / T)."""
    return max(log_softmax({c: v / mpf(temperature) for c, v in z.items()}).values())


@row_twin
def entropy(z: Row) -> Any:
    """-H(p) = Σ p ln p."""
    return sum(mp.exp(v) * v for v in log_softmax(z).values())


@row_twin
def renyi(z: Row, order: float = 2.0) -> Any:
    """-H_a(p), H_a = ln(Σ p^a) / (1 - a); Shannon at a = 1, -ln max p at a = ∞."""
    logs = list(log_softmax(z).values())
    if order == 1:
        return sum(mp.exp(v) * v for v in logs)
    if order == np.inf:
        return max(logs)
    a = mpf(order)
    return -log_sum_exp([a * v for v in logs]) / (1 - a)


@row_twin
def margin(z: Row) -> Any:
    """p_(1) - p_(2); a masked class has p = 0."""
    first, second, *_ = [*sorted(softmax(z).values(), reverse=True), mpf(0)]
    return first - second


@row_twin
def logit_margin(z: Row) -> Any:
    """z_(1) - z_(2); +inf where only one class is live."""
    first, second, *_ = [*sorted(z.values(), reverse=True), mpf("-inf")]
    return first - second


@row_twin
def gini(z: Row, variant: str = "alpha") -> Any:
    """DOCTOR: -(1 - Σp²) / Σp², or -(1 - max p) / max p."""
    p = softmax(z)
    doubt = complement(p)
    if variant == "alpha":
        return -sum(p[c] * doubt[c] for c in p) / sum(v * v for v in p.values())
    if variant == "beta":
        top = predicted(p)
        return -doubt[top] / p[top]
    raise ValueError(f"variant {variant!r}")


@row_twin
def gen(z: Row, gamma: float = 0.1, top: int = 100) -> Any:
    """-Σ p^γ (1 - p)^γ over the `top` largest p."""
    p = softmax(z)
    doubt = complement(p)
    largest = sorted(p, key=lambda c: (-p[c], c))[:top]
    return -sum((p[c] * doubt[c]) ** mpf(gamma) for c in largest)


@row_twin
def label_non_uniformity(z: Row, normalise: str = "w1", ground: Ground = None) -> Any:
    """Wasserstein-1 distance of p to the uniform distribution over the live classes."""
    p, share = softmax(z), mpf(1) / len(z)
    if ground is None:
        distance = sum(max(v - share, mpf(0)) for v in p.values())
    elif ground == "path":
        distance = path_distance(p)
    else:
        distance = transport_distance(p, ground)
    if normalise == "w1":
        return distance
    if normalise == "l1" and ground is None:
        return sum(abs(v - share) for v in p.values())
    if normalise == "unit":  # over the largest value: W1 is convex in p, so at some one-hot p
        largest = max(fsum(ground_cost(ground, i, j) for j in p) for i in p)
        return distance / (largest * share) if largest else mpf(0)
    raise ValueError(f"normalise {normalise!r} with ground {ground!r}")


def ground_cost(ground: Ground, i: int, j: int) -> float:
    """What moving a unit of probability from class i to class j costs."""
    if ground is None:
        return float(i != j)
    return float(abs(i - j)) if isinstance(ground, str) else ground[i][j]


def path_distance(p: Row) -> Any:
    """∫ |F_p(t) - F_uniform(t)| dt, class c at position c."""
    ahead, total = mpf(0), mpf(0)
    for here, following in pairwise(sorted(p)):
        ahead += p[here] - mpf(1) / len(p)
        total += abs(ahead) * (following - here)
    return total


def fraction(value: Any) -> Fraction:
    """The exact value of a number of fifty digits."""
    mantissa, exponent = map(int, value.man_exp)
    return Fraction(mantissa) * Fraction(2) ** exponent


def transport_distance(p: Row, ground: Ground) -> Any:
    """min Σ x_ij cost_ij over plans x ≥ 0 with row sums p and column sums 1/C."""
    exact = [fraction(v) for v in p.values()]
    supply, demand = [v / sum(exact) for v in exact], [Fraction(1, len(p))] * len(p)
    total = transport_cost(supply, demand, [[ground_cost(ground, i, j) for j in p] for i in p])
    return mpf(total.numerator) / total.denominator
