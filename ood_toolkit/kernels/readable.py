"""The row statistics as plain loops in float64: slow, and meant to be read.

This is what runs where explicit vectors cannot be compiled and where numba's compiler is
switched off, and it settles the few rows whose numbers the fast kernels cannot hold.
Notation: z a row, p = softmax(z), j runs over its unmasked classes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import exact_kernel, step_kernel
from ood_toolkit.kernels.request import Request, Results

__all__ = ["COLLAPSE", "readable_rows"]

Floats = npt.NDArray[np.float64]

COLLAPSE = 24.0 * math.log(2.0)
"""exp(-COLLAPSE) = 2^-24, half a float32 unit in the last place of 1."""


@exact_kernel
def readable_rows(
    logits: Floats, rows: npt.NDArray[np.int64], wanted: Request, results: Results
) -> int:
    """(n, C) logits of rows numbered (n,) -> fills `results`; the first bad row or -1."""
    first_bad = -1
    for i in range(rows.size):
        if not readable_row(logits[i], rows[i], wanted, results) and first_bad < 0:
            first_bad = rows[i]
    return int(first_bad)


@step_kernel
def readable_row(z: Floats, i: int, wanted: Request, results: Results) -> bool:
    """(C,) float64 -> every statistic of row i; whether the row is good."""
    at, second, classes = _largest_two(z)
    if classes == 0 or not math.isfinite(z[at]) or math.isnan(second):
        return False
    floats, integers = wanted.floats, wanted.integers
    if integers[0] >= 0:
        results.integers[integers[0], i] = at
    if integers[1] >= 0:
        results.integers[integers[1], i] = classes
    if integers[2] >= 0:
        results.integers[integers[2], i] = _saturated(z, at)
    if floats[0] >= 0:
        results.floats[floats[0], i] = z[at]
    if floats[1] >= 0:
        results.floats[floats[1], i] = second
    for k in range(wanted.temperatures.size):
        temperature = wanted.temperatures[k]
        beyond = math.log1p(_others(z, at, temperature))
        if wanted.lse[k] >= 0:
            results.floats[wanted.lse[k], i] = z[at] / temperature + beyond
        if wanted.excess[k] >= 0:
            results.floats[wanted.excess[k], i] = beyond
    if (
        max(floats[2], floats[3], floats[4], floats[5], floats[6]) >= 0
        or wanted.gen.size > 0
        or wanted.prior.size > 0
    ):
        _softmax_sums(z, i, at, second, classes, wanted, results)
    return True


@step_kernel
def _largest_two(z: Floats) -> tuple[int, float, int]:
    """First argmax, second largest value (NaN where z holds one), count above -inf."""
    at, second, classes = 0, -np.inf, 0
    top, total = -np.inf, 0.0
    for j in range(z.size):
        if math.isnan(z[j]):
            total = np.nan
        if z[j] > -np.inf:
            classes += 1
        if z[j] > top:
            second, top, at = top, z[j], j
        elif z[j] > second:
            second = z[j]
    return at, second + total, classes


@step_kernel
def _saturated(z: Floats, at: int) -> int:
    """How many other unmasked classes lie at least 24 ln 2 below the largest."""
    count = 0
    for j in range(z.size):
        if j != at and z[j] > -np.inf and z[at] - z[j] >= COLLAPSE:
            count += 1
    return count


@step_kernel
def _others(z: Floats, at: int, temperature: float) -> float:
    """Sum over j != at of exp((z_j - max z) / T), with the roundings carried (Kahan)."""
    total, lost = 0.0, 0.0
    for j in range(z.size):
        if j != at:
            term = math.exp((z[j] - z[at]) / temperature) - lost
            longer = total + term
            lost = (longer - total) - term
            total = longer
    return total


@step_kernel
def _softmax_sums(
    z: Floats, i: int, at: int, second: float, classes: int, wanted: Request, results: Results
) -> None:
    """Everything that needs all of p; sums over j != at, so nothing cancels near max p = 1."""
    floats = wanted.floats
    rest = _others(z, at, 1.0)
    log_total = math.log1p(rest)  # lse(z) - max z
    total, uniform = 1.0 + rest, 1.0 / classes
    tail = rest / total
    entropy, impurity = log_total / total, tail / total
    distance = max(1.0 / total - uniform, 0.0)
    for j in range(z.size):
        if j != at and z[j] > -np.inf:
            log_p = z[j] - z[at] - log_total
            p = math.exp(log_p)
            if p > 0.0:
                entropy -= p * log_p
            impurity += p * (1.0 - p)
            distance += max(p - uniform, 0.0)
    if floats[2] >= 0:
        results.floats[floats[2], i] = tail
    if floats[3] >= 0:
        results.floats[floats[3], i] = entropy
    if floats[4] >= 0:
        results.floats[floats[4], i] = impurity
    if floats[5] >= 0:
        results.floats[floats[5], i] = distance
    if floats[6] >= 0:
        results.floats[floats[6], i] = -math.expm1(second - z[at]) / total
    for k in range(wanted.prior.size):
        results.floats[wanted.prior[k], i] = _divergence(z, at, log_total, wanted.log_prior[k])
    for k in range(wanted.gen.size):
        gamma, top = wanted.gen_gamma[k], wanted.gen_top[k]
        # the largest p: ln p + ln(1 - p) with 1 - p = rest / total
        value = math.exp(gamma * (_log_rest(z, at, second) - 2.0 * log_total))
        for larger in _largest_others(z, at, top - 1):
            log_p = larger - z[at] - log_total
            value += math.exp(gamma * (log_p + math.log1p(-math.exp(log_p))))
        results.floats[wanted.gen[k], i] = value


@step_kernel
def _log_rest(z: Floats, at: int, second: float) -> float:
    """Logarithm of the sum over j != at of exp(z_j - max z), without underflow."""
    if second == -np.inf:
        return -np.inf
    total = 0.0
    for j in range(z.size):
        if j != at:
            total += math.exp(z[j] - second)
    return float(second - z[at] + math.log(total))


@step_kernel
def _largest_others(z: Floats, at: int, count: int) -> Floats:
    """The `count` largest of z but for z[at], in the order of a heap."""
    heap = np.full(count, -np.inf)
    for j in range(z.size):
        if j == at or count == 0 or z[j] <= heap[0]:
            continue
        hole = 0  # where the smallest was: move the smaller child up until z[j] fits
        while True:
            child = 2 * hole + 1
            if child + 1 < count and heap[child + 1] < heap[child]:
                child += 1
            if child >= count or z[j] <= heap[child]:
                break
            heap[hole] = heap[child]
            hole = child
        heap[hole] = z[j]
    return heap


@step_kernel
def _divergence(z: Floats, at: int, log_total: float, log_prior: Floats) -> float:
    """Divergence sum p (ln p - ln q); infinite where p > 0 = q."""
    total = 0.0
    for j in range(z.size):
        log_p = -log_total if j == at else z[j] - z[at] - log_total
        if z[j] > -np.inf:
            if log_prior[j] == -np.inf:
                return np.inf  # even where p underflows
            p = math.exp(log_p)
            if p > 0.0:
                total += p * (log_p - log_prior[j])
    return total
