"""Runs of agreement: how many of the nearest bank rows belong to one group, without a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.runs import fill_runs
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.kernels.topk import QueryRows
from ood_toolkit.neighbors.index import NeighborIndex
from ood_toolkit.neighbors.workers import Workers, run_blocks

__all__ = ["Runs", "matching_runs"]

PRODUCT_BYTES = 128 << 20
"""Products held at a time, by all blocks together, unless the bank is very large."""

LEAST_ROWS, MOST_ROWS = 16, 1024
"""Queries in a block: fewer would waste each reading of the bank."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The runs of N queries.

    Attributes
    ----------
    length : (N,) int64 array
        Nearest bank rows of the wanted group before the first of another.
    nearest : (N,) float64 array
        Distance to the nearest row of any group; infinite where none is left.
    breaker : (N,) int64 array
        The row of another group that ends the run; -1 where there is none.
    """

    length: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.float64]
    breaker: npt.NDArray[np.int64]


def matching_runs(
    index: NeighborIndex, queries: Any, groups: Any, wanted: Any, *, exclude: Any = None
) -> Runs:
    """Find, for each query, the run of nearest bank rows that belong to the group it wants.

    Parameters
    ----------
    index : NeighborIndex
        Of M bank rows.
    queries : (N, D) array of finite floats
        Read block by block.
    groups : (M,) array of int
        Group of each bank row, within int32.
    wanted : (N,) array of int
        Group of each query.
    exclude : (N,) array of int, optional
        A bank row to leave out for each query, such as the query itself; -1 for none.

    Returns
    -------
    Runs
        Exact: what sorting every distance would give, ties by lowest bank row.

    Examples
    --------
    >>> import numpy as np
    >>> index = NeighborIndex.build(np.array([[0.0], [1.0], [2.0], [3.0]]))
    >>> runs = matching_runs(index, np.array([[-1.0], [4.0]]), [0, 0, 1, 0], [0, 0])
    >>> runs.length, runs.breaker, runs.nearest
    (array([2, 1]), array([2, 2]), array([1., 1.]))
    """
    bank, count = index.prepared, len(queries)
    of_row, of_query = np.asarray(groups, dtype=np.int32), np.asarray(wanted, dtype=np.int32)
    left_out = None if exclude is None else np.asarray(exclude)
    found = Runs(np.empty(count, np.int64), np.empty(count), np.empty(count, np.int64))

    def measure(part: slice, workers: Workers, share: int) -> None:
        points, described = bank.place(np.array(queries[part], dtype=np.float64, order="C"))
        products = points @ bank.rows.T
        if left_out is not None:
            inside = np.flatnonzero(left_out[part] >= 0)
            products[inside, left_out[part][inside]] = -np.inf

        def fill(some: slice) -> None:
            whole = slice(part.start + some.start, min(part.start + some.stop, part.stop))
            fill_runs(
                products[some],
                bank.described,
                QueryRows(*(array[some] for array in described)),
                of_row,
                of_query[whole],
                found.length[whole],
                found.nearest[whole],
                found.breaker[whole],
            )

        workers.share_out(fill, len(points))

    def most(share: int) -> int:
        by_bytes = PRODUCT_BYTES // (len(index) * bank.rows.itemsize * share)
        return min(MOST_ROWS, max(LEAST_ROWS, by_bytes))

    run_blocks(measure, count, most, thread_count())
    return found
