"""Equal rows of a bank.

Of equal rows the lowest indices come first, so all but a few can be passed over; without
this, a query would be measured against each of thousands of equally distant rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.neighbors.placement import row_blocks

__all__ = ["earlier_copies"]


def earlier_copies(bank: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many equal rows come before each row of a bank; too few is possible, too many not.

    (M, D) -> (M,).  Rows are grouped by one weighted sum each; a row counts only where it
    equals the first row of its group.
    """
    sums = _weighted_sums(bank)
    order = np.argsort(sums, kind="stable")
    ordered = sums[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(bank)])
    first = np.repeat(order[starts], sizes)  # of the group of each row in `order`
    equal = np.ones(len(bank), dtype=bool)
    grouped = np.flatnonzero(np.repeat(sizes, sizes) > 1)
    for part in row_blocks(bank, len(grouped)):
        some = grouped[part]
        equal[some] = (bank[order[some]] == bank[first[some]]).all(axis=1)
    running = np.cumsum(equal)
    copies = np.zeros(len(bank), dtype=np.int64)
    copies[order] = np.where(equal, running - np.repeat(running[starts], sizes), 0)
    return copies


def _weighted_sums(bank: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """One number a row, the same for equal rows and hardly ever for others."""
    weights = 1.5 + np.sin(np.arange(bank.shape[1], dtype=np.float64))
    sums = np.empty(len(bank))
    with np.errstate(over="ignore", invalid="ignore"):
        for part in row_blocks(bank):
            # the element order of einsum does not depend on the row, as BLAS's may
            sums[part] = np.einsum("ij,j->i", bank[part].astype(np.float64), weights)
    sums[~np.isfinite(sums)] = np.inf
    return sums
