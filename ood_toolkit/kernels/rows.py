"""One pass over rows of logits that returns every statistic asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    LARGEST,
    NONUNIFORMITY,
    PREDICTION,
    SECOND,
    TAIL,
    RowStatistics,
    Statistic,
)

__all__ = ["BLOCK_ELEMENTS", "row_statistics", "widened"]

BLOCK_ELEMENTS = 1 << 20
"""Logits widened at a time: a block of rows that stays near the processor."""

_COLUMNS = (LARGEST, SECOND, TAIL, ENTROPY, IMPURITY, NONUNIFORMITY)


def widened(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Contiguous float32 or float64 copy of a block, itself where it is one already."""
    wide = np.float64 if block.dtype == np.float64 else np.float32
    return np.ascontiguousarray(block, dtype=wide)


def row_statistics(logits: npt.NDArray[Any], wanted: Iterable[Statistic]) -> RowStatistics:
    """Row-wise statistics of the softmax of `logits`.  (N, C) -> one (N,) array each.

    Parameters
    ----------
    logits : (N, C) array of float16, bfloat16, float32 or float64
        Any memory layout; a memory map is read block by block.
    wanted : iterable of Statistic
        What to return; sums run in float64 whatever the input's type.

    Returns
    -------
    RowStatistics
        float64 arrays (int64 for PREDICTION and CLASSES), and the first bad row.  The
        values of bad rows mean nothing.
    """
    wanted = tuple(dict.fromkeys(wanted))
    n, c = logits.shape
    temperatures = np.array(
        [s.arguments[0] for s in wanted if s.name == "log_sum_exp"], dtype=np.float64
    )
    gens = np.array(
        [s.arguments for s in wanted if s.name == "generalized_entropy"], dtype=np.float64
    ).reshape(-1, 2)
    softmax_needed = any(
        s in (TAIL, ENTROPY, IMPURITY, NONUNIFORMITY) or s.name == "generalized_entropy"
        for s in wanted
    )
    integers = np.empty((2, n), dtype=np.int64)
    columns = np.empty((len(_COLUMNS), n))
    lse = np.empty((len(temperatures), n))
    generalized = np.empty((len(gens), n))
    first_bad = -1
    rows = max(1, BLOCK_ELEMENTS // max(c, 1))
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        bad = _block(
            widened(logits[start:stop]),
            temperatures,
            gens,
            softmax_needed,
            integers[:, start:stop],
            columns[:, start:stop],
            lse[:, start:stop],
            generalized[:, start:stop],
        )
        if bad >= 0 and first_bad < 0:
            first_bad = start + bad
    values: dict[Statistic, npt.NDArray[Any]] = {}
    for statistic in wanted:
        if statistic == PREDICTION:
            values[statistic] = integers[0]
        elif statistic == CLASSES:
            values[statistic] = integers[1]
        elif statistic.name == "log_sum_exp":
            values[statistic] = lse[int(np.flatnonzero(temperatures == statistic.arguments[0])[0])]
        elif statistic.name == "generalized_entropy":
            match = np.flatnonzero((gens == np.array(statistic.arguments)).all(axis=1))
            values[statistic] = generalized[int(match[0])]
        else:
            values[statistic] = columns[_COLUMNS.index(statistic)]
    return RowStatistics(values, first_bad)


@kernel
def _block(logits, temperatures, gens, softmax_needed, integers, columns, lse, generalized):  # type: ignore[no-untyped-def]
    """(n, C) -> fills the (k, n) outputs; returns the first bad row or -1."""
    n, c = logits.shape
    first_bad = -1
    p = np.empty(c)
    for i in range(n):
        row = logits[i]
        top, second, at, classes, bad = -np.inf, -np.inf, 0, 0, False
        for j in range(c):
            z = np.float64(row[j])
            if math.isnan(z) or z == np.inf:
                bad = True
            if z > -np.inf:
                classes += 1
            if z > top:
                second, top, at = top, z, j
            elif z > second:
                second = z
        if classes == 0 or bad:
            if first_bad < 0:
                first_bad = i
            continue
        integers[0, i], integers[1, i] = at, classes
        columns[0, i], columns[1, i] = top, second
        for k in range(temperatures.size):
            inverse = 1.0 / temperatures[k]
            rest = 0.0
            for j in range(c):
                if j != at:
                    rest += math.exp((np.float64(row[j]) - top) * inverse)
            lse[k, i] = top * inverse + math.log1p(rest)
        if softmax_needed:
            _softmax_sums(row, top, at, classes, p, gens, i, columns, generalized)
    return first_bad


@kernel
def _softmax_sums(row, top, at, classes, p, gens, i, columns, generalized):  # type: ignore[no-untyped-def]
    """(C,) -> tail, entropy, impurity, non-uniformity and generalised entropies of row i."""
    c = row.size
    rest = 0.0
    for j in range(c):
        p[j] = math.exp(np.float64(row[j]) - top)
        if j != at:
            rest += p[j]
    total = 1.0 + rest
    log_total = math.log1p(rest)
    tail = rest / total
    uniform = 1.0 / classes
    entropy, impurity, excess = log_total / total, tail / total, 0.0
    for j in range(c):
        p[j] /= total
        if p[j] > uniform:
            excess += p[j] - uniform
        if j != at and p[j] > 0.0:
            entropy += p[j] * (log_total - (np.float64(row[j]) - top))
            impurity += p[j] * (1.0 - p[j])
    columns[2, i], columns[3, i], columns[4, i] = tail, entropy, impurity
    columns[5, i] = excess
    if gens.shape[0] == 0:
        return
    ordered = np.sort(p)
    for k in range(gens.shape[0]):
        gamma, m = gens[k, 0], min(int(gens[k, 1]), c)
        # the largest term takes 1 - p from the tail, which keeps its digits
        value = (ordered[c - 1] * tail) ** gamma
        for r in range(1, m):
            q = ordered[c - 1 - r]
            value += (q * (1.0 - q)) ** gamma
        generalized[k, i] = value
