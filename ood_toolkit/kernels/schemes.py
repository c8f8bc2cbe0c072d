"""The published ways to a softmax, by name, for study and for benchmarks.

Scores do not use them: `energy` reads the logits once and `fused` twice, the second time
near the processor.  All three return the same probabilities, up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels._jit import exact_kernel, inline_kernel
from ood_toolkit.kernels._lanes import lanes_from, largest_lane, sum_lanes
from ood_toolkit.kernels._lanewise import add_exponent, fma, larger, select, spread
from ood_toolkit.kernels._memory import load, offset, pointer, store, zeros
from ood_toolkit.kernels._polynomials import LN2_HIGH, LN2_LOW, constants, two_to
from ood_toolkit.kernels._simd import LANES
from ood_toolkit.kernels.exponential import exp, log, reduced
from ood_toolkit.kernels.softmax_sums import carried

__all__ = [
    "SCHEMES",
    "Softmax",
    "logits_at",
    "online_normalizer",
    "padded_rows",
    "row_at",
    "three_pass",
    "two_pass",
]

BLOCK = 512  # logits between two corrections of the online normaliser's sum


class Softmax(NamedTuple):
    """Softmax of rows of logits.

    Attributes
    ----------
    probabilities : (N, C) array of the logits' dtype
        Rows sum to one.
    log_sum_exp : (N,) array of float64
        Logarithms of the normalising sums.
    """

    probabilities: npt.NDArray[Any]
    log_sum_exp: npt.NDArray[np.float64]


def three_pass(logits: npt.NDArray[Any]) -> Softmax:
    """Softmax by three reads: the largest logit, the sum, the quotients.

    The common way, as in BLAS-like libraries and deep learning frameworks.

    Parameters
    ----------
    logits : (N, C) array of float32 or float64
        Finite, or -inf for masked classes; no row of only those.

    Returns
    -------
    Softmax
        Probabilities in [0, 1] and log-sum-exps.

    Raises
    ------
    InputError
        If the dtype is another.

    Examples
    --------
    >>> three_pass(np.array([[2.0, 1.0, 0.1]])).probabilities.round(3)
    array([[0.659, 0.242, 0.099]])
    """
    return _softmax(_three_pass, logits)


def online_normalizer(logits: npt.NDArray[Any]) -> Softmax:
    """Softmax by two reads: maximum and sum together, the sum corrected as the maximum grows.

    Milakov & Gimelshein 2018, "Online normalizer calculation for softmax"; corrected once
    every 512 logits.

    Parameters
    ----------
    logits : (N, C) array of float32 or float64
        Finite, or -inf for masked classes; no row of only those.

    Returns
    -------
    Softmax
        Probabilities in [0, 1] and log-sum-exps.

    Raises
    ------
    InputError
        If the dtype is another.

    Examples
    --------
    >>> online_normalizer(np.array([[2.0, 1.0, 0.1]])).log_sum_exp.round(3)
    array([2.417])
    """
    return _softmax(_online_normalizer, logits)


def two_pass(logits: npt.NDArray[Any]) -> Softmax:
    """Softmax by two reads without a maximum: sums of pairs m 2^n that cannot overflow.

    Dukhan & Ablavatski 2020, "The Two-Pass Softmax Algorithm".  A probability below 2^-100
    is 0.

    Parameters
    ----------
    logits : (N, C) array of float32 or float64
        Below 7e5 in size, or -inf for masked classes; no row of only those.

    Returns
    -------
    Softmax
        Probabilities in [0, 1] and log-sum-exps.

    Raises
    ------
    InputError
        If the dtype is another.

    Examples
    --------
    >>> two_pass(np.array([[2.0, 1.0, 0.1]])).log_sum_exp.round(3)
    array([2.417])
    """
    return _softmax(_two_pass, logits)


SCHEMES = {"three_pass": three_pass, "online_normalizer": online_normalizer, "two_pass": two_pass}
"""Name -> function."""


def padded_rows(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The logits in one piece, with masked classes up to sixteen columns."""
    if logits.dtype not in (np.float32, np.float64):
        raise InputError(f"logits must be float32 or float64, got {logits.dtype}")
    n, c = logits.shape
    if c >= LANES:
        return np.ascontiguousarray(logits)
    padded = np.full((n, LANES), -np.inf, logits.dtype)
    padded[:, :c] = logits
    return padded


def _softmax(scheme: Any, logits: npt.NDArray[Any]) -> Softmax:
    n, c = logits.shape
    padded = padded_rows(logits)
    probabilities, lse = np.empty_like(padded), np.empty(n)
    kind = padded.dtype.type(0)
    scheme(padded.ctypes.data, probabilities.ctypes.data, kind, padded.shape[1], lse)
    return Softmax(probabilities[:, :c], lse)


@inline_kernel
def row_at(address: int, kind: Any, i: int, classes: int) -> Any:
    """Where row i begins."""
    return offset(pointer(address, kind), i * classes)


@inline_kernel
def logits_at(row: Any, at: int, classes: int) -> Any:
    """Sixteen logits from `at` on; near the end the last, those seen already as -inf."""
    x = load(row, min(at, classes - LANES))
    if at > classes - LANES:
        x = select(lanes_from(at - classes + LANES), x, -np.inf)
    return x


@inline_kernel
def _largest(row: Any, start: int, stop: int, classes: int) -> Any:
    top = spread(-np.inf, zeros(row))
    for at in range(start, stop, LANES):
        top = larger(logits_at(row, at, classes), top)
    return spread(largest_lane(top), top)


@inline_kernel
def _divide(row: Any, out: Any, classes: int, top: Any, total: Any) -> None:
    """Write exp(z - top) / total."""
    share = 1.0 / spread(total, zeros(row))
    for at in range(0, classes, LANES):
        at = min(at, classes - LANES)
        store(out, at, exp(load(row, at) - top) * share)


@inline_kernel
def _log_of(total: float) -> float:
    return float(log(np.float64(total)))


@exact_kernel
def _three_pass(source: int, target: int, kind: Any, classes: int, lse: Any) -> None:
    for i in range(lse.size):
        row, out = row_at(source, kind, i, classes), row_at(target, kind, i, classes)
        top = _largest(row, 0, classes, classes)
        total, lost = zeros(row), zeros(row)
        for at in range(0, classes, LANES):
            total, lost = carried(total, lost, exp(logits_at(row, at, classes) - top))
        lse[i] = np.float64(largest_lane(top)) + _log_of(sum_lanes(total))
        _divide(row, out, classes, top, sum_lanes(total))


@exact_kernel
def _online_normalizer(source: int, target: int, kind: Any, classes: int, lse: Any) -> None:
    for i in range(lse.size):
        row, out = row_at(source, kind, i, classes), row_at(target, kind, i, classes)
        top = spread(-np.inf, zeros(row))
        total, lost = zeros(row), zeros(row)
        for start in range(0, classes, BLOCK):
            stop = min(start + BLOCK, classes)
            above = larger(_largest(row, start, stop, classes), top)
            if largest_lane(above) == -np.inf:
                continue  # all masked so far
            shrunk = exp(top - above)
            total, lost, top = total * shrunk, lost * shrunk, above
            for at in range(start, stop, LANES):
                total, lost = carried(total, lost, exp(logits_at(row, at, classes) - top))
        lse[i] = np.float64(largest_lane(top)) + _log_of(sum_lanes(total))
        _divide(row, out, classes, top, sum_lanes(total))


@inline_kernel
def _pair(x: Any) -> Any:
    """E^x as m 2^n: m, and n as a float; of -inf a pair far below any other."""
    shift, high, low, _half, _one, _least, _most = constants(x)
    x = larger(spread(-7e5, x), x)
    shifted, f = reduced(x, high, shift)
    return two_to(fma(x, low, f)), shifted - shift


@inline_kernel
def _shrunk(x: Any, power: Any) -> Any:
    """X 2^power for a whole power <= 0; 0 where that is below 2^-100."""
    factor = add_exponent(spread(1.0, x), larger(power, -100.0) + constants(x)[0])
    return x * select(power > -100.0, factor, 0.0)


@exact_kernel
def _two_pass(source: int, target: int, kind: Any, classes: int, lse: Any) -> None:
    for i in range(lse.size):
        row, out = row_at(source, kind, i, classes), row_at(target, kind, i, classes)
        total, lost = zeros(row), zeros(row)
        power = spread(-2e6, total)
        for at in range(0, classes, LANES):
            m, n = _pair(logits_at(row, at, classes))
            above = larger(n, power)
            total, lost = _shrunk(total, power - above), _shrunk(lost, power - above)
            power = above
            total, lost = carried(total, lost, _shrunk(m, n - power))
        highest = spread(largest_lane(power), power)
        sums = sum_lanes(_shrunk(total, power - highest))
        whole = np.float64(largest_lane(highest))
        lse[i] = fma(whole, LN2_HIGH, fma(whole, LN2_LOW, _log_of(sums)))
        share = 1.0 / spread(sums, total)
        for at in range(0, classes, LANES):
            at = min(at, classes - LANES)
            m, n = _pair(load(row, at))
            store(out, at, _shrunk(m, n - highest) * share)
