"""An exact nearest-neighbour search: products in blocks, then distances in float64.

Matrix products in the bank's own type, with a proven bound on their rounding, exclude
almost every row (`ood_toolkit.kernels.topk`); the rest are measured in float64, from the
rows as given.  What is returned is what measuring every pair would return, whatever the
blocks, the batch or the threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.neighbors.placement import row_blocks
from ood_toolkit.neighbors.prepared import MOST_COLUMNS, PreparedBank
from ood_toolkit.neighbors.sweep import query_step, sweep
from ood_toolkit.neighbors.workers import Workers, run_blocks
from ood_toolkit.outputs import FLOATS, Array

__all__ = ["NeighborIndex", "Neighbors"]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """The nearest bank rows of N queries, nearest first.

    Attributes
    ----------
    distances : (N, k) float64 array
        Euclidean distances, ascending; infinite beyond the range of float64.
    indices : (N, k) int64 array
        Bank rows; of equally distant ones the lowest index comes first.
    """

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NeighborIndex:
    """A bank of rows, ready for exact Euclidean nearest-neighbour search.

    Made by `build`.  The bank is not copied where it is contiguous float32 or float64, and
    must not change afterwards.  A moved copy is kept beside it only where its rows are
    mostly a common offset, or too small or too large to be squared in their type.

    Attributes
    ----------
    bank : (M, D) array of float32 or float64
        The rows searched.
    prepared : PreparedBank
        What products are taken of.

    Examples
    --------
    >>> import numpy as np
    >>> index = NeighborIndex.build(np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0]]))
    >>> found = index.search(np.array([[0.0, 1.5]]), k=2)
    >>> found.indices, found.distances
    (array([[1, 0]]), array([[0.5, 1.5]]))
    """

    bank: Array
    prepared: PreparedBank

    @classmethod
    def build(cls, bank: Any) -> NeighborIndex:
        """Prepare a bank.

        Parameters
        ----------
        bank : (M, D) array of float
            Searched by float64 products where it is float64, else as float32.

        Returns
        -------
        NeighborIndex
            Ready to search; the same bits whatever the memory layout of `bank`.

        Raises
        ------
        InputError
            If the bank is not a matrix of finite floats with rows and columns.
        """
        given = _matrix("bank", bank)
        if 0 in given.shape or given.shape[1] > MOST_COLUMNS:
            raise InputError(
                f"bank must have rows and 1 ... {MOST_COLUMNS} columns, got shape {given.shape}"
            )
        wide = np.float64 if given.dtype.newbyteorder("=") == np.float64 else np.float32
        rows = np.ascontiguousarray(given, dtype=wide).view()
        rows.setflags(write=False)
        for part in row_blocks(rows):
            _check_finite("bank", rows[part], part.start)
        return cls(rows, PreparedBank.of(rows))

    def __len__(self) -> int:
        return len(self.bank)

    def search(self, queries: Any, k: int, *, exclude: Any = None) -> Neighbors:
        """Find the k nearest bank rows of each query.

        Parameters
        ----------
        queries : (N, D) array of float
            Any memory layout; read block by block.
        k : int
            Neighbours wanted; fewer come back where the bank does not hold as many.
        exclude : (N,) array of int, optional
            A bank row to leave out for each query, such as the query itself; -1 for none.

        Returns
        -------
        Neighbors
            Distances and indices, (N, min(k, M)), or (N, min(k, M - 1)) where a row is
            left out for any query.

        Raises
        ------
        InputError
            If shapes disagree, k is below 1, or a query holds NaN or infinity.
        """
        given = _matrix("queries", queries)
        if given.shape[1] != self.bank.shape[1]:
            raise InputError(
                f"queries have {given.shape[1]} columns but the bank has {self.bank.shape[1]}"
            )
        if k < 1:
            raise InputError(f"k must be 1 or larger, got {k}")
        left_out = _exclusions(exclude, len(given), len(self))
        k = min(int(k), len(self) - bool((left_out >= 0).any()))
        found = Neighbors(np.empty((len(given), k)), np.empty((len(given), k), dtype=np.int64))
        if k == 0:
            return found

        def search_block(part: slice, workers: Workers, share: int) -> None:
            block = np.array(given[part], dtype=np.float64, order="C")
            _check_finite("queries", block, part.start)
            near, at = found.distances[part], found.indices[part]
            sweep(self.prepared, block, left_out[part], near, at, workers, share)

        def most(share: int) -> int:
            return query_step(k, self.bank.shape, share)

        run_blocks(search_block, len(given), most, thread_count())
        return found

    def kth_distance(self, queries: Any, k: int, *, exclude: Any = None) -> npt.NDArray[np.float64]:
        """Distance to the k-th nearest bank row; to the last one where there are fewer.

        Parameters
        ----------
        queries : (N, D) array of float
            As in `search`.
        k : int
            As in `search`.
        exclude : (N,) array of int, optional
            As in `search`.

        Returns
        -------
        (N,) float64 array
            0 or more; larger is farther from the bank.

        Raises
        ------
        InputError
            As in `search`, and where `exclude` leaves no row.
        """
        found = self.search(queries, k, exclude=exclude)
        if found.distances.shape[1] == 0:
            raise InputError("no neighbour is left: the bank's only row is excluded; add rows")
        last: npt.NDArray[np.float64] = found.distances[:, -1].copy()
        return last


def _matrix(name: str, values: Any) -> Array:
    array: Array = np.asanyarray(values)
    if array.dtype.newbyteorder("=") not in FLOATS:
        raise InputError(
            f"{name}: dtype {array.dtype} is not one of float16, bfloat16, float32, float64; "
            f"convert it first, e.g. {name}.astype('float32')"
        )
    if array.ndim != 2:
        raise InputError(f"{name} must be (rows, columns), got shape {array.shape}")
    return array


def _check_finite(name: str, block: Array, start: int) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        row = start + int(np.argmin(finite))
        raise InputError(f"{name}: row {row} holds NaN or infinity; repair or remove it")


def _exclusions(exclude: Any, queries: int, bank: int) -> npt.NDArray[np.int64]:
    if exclude is None:
        return np.full(queries, -1, dtype=np.int64)
    rows = np.asarray(exclude)
    if rows.dtype.kind not in "iu" or rows.shape != (queries,):
        raise InputError(
            f"exclude must be ({queries},) integers, one for each query, "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    outside = (rows < -1) | (rows >= bank)
    if outside.any():
        at = int(np.argmax(outside))
        raise InputError(f"exclude: row {at} is {rows[at]}, expected -1 ... {bank - 1}")
    chosen: npt.NDArray[np.int64] = rows.astype(np.int64)
    return chosen
