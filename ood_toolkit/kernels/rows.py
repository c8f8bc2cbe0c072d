"""One pass over rows of logits that returns every statistic asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.readable import readable_rows
from ood_toolkit.kernels.request import Results, request
from ood_toolkit.kernels.statistics import RowStatistics, Statistic

__all__ = ["BLOCK_ELEMENTS", "row_statistics"]

BLOCK_ELEMENTS = 1 << 20
"""Logits widened at a time: a block of rows that stays near the processor."""


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
        float64 arrays (int64 for PREDICTION, CLASSES and SATURATED), and the first bad
        row.  The values of bad rows mean nothing.

    Raises
    ------
    InputError
        If a statistic does not exist, or its numbers make no sense for C classes.
    """
    n, c = logits.shape
    names, asked, (floats, integers) = request(wanted, c)
    results = Results(np.empty((floats, n)), np.empty((integers, n), dtype=np.int64))
    first_bad = -1
    rows = max(1, BLOCK_ELEMENTS // max(c, 1))
    for start in range(0, n, rows):
        block = np.array(logits[start : start + rows], dtype=np.float64)
        with np.errstate(over="ignore"):  # heard only where numba's compiler is off
            bad = readable_rows(block, start, asked, results)
        if first_bad < 0:
            first_bad = bad
    return results.named(names, first_bad)
