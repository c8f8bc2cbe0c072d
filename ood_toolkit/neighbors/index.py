"""An exact nearest-neighbour search: products in blocks, then distances in float64.

The candidates of a query come from matrix products in the bank's own type, with a proven
bound on their rounding (`ood_toolkit.kernels.topk`); only rows that the bound cannot
exclude are measured, in float64, from the rows as given.  What is returned is therefore
what measuring every pair would return, whatever the blocks, the batch or the threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.neighbors.placement import Placement, row_blocks
from ood_toolkit.neighbors.sweep import bank_rows, candidate_capacity, query_step, sweep
from ood_toolkit.neighbors.workers import Workers, thread_count
from ood_toolkit.outputs import FLOATS, Array

__all__ = ["NeighborIndex", "Neighbors"]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """The nearest bank rows of N queries, nearest first.

    Attributes
    ----------
    distances : (N, k) float64 array
        Euclidean distances, ascending.
    indices : (N, k) int64 array
        Bank rows; of equally distant ones the lowest index comes first.
    """

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NeighborIndex:
    """A bank of rows, ready for exact Euclidean nearest-neighbour search.

    Made by `build`.  The bank is kept as given and must not change afterwards; a moved
    copy is kept beside it only where its entries are mostly a common offset, or too small
    or too large for products in their type.

    Attributes
    ----------
    bank : (M, D) array of float32 or float64
        The rows searched.
    rows : (M, D) array of the bank's type
        What products are taken of: the bank in the coordinates of `placement`.
    placement : Placement
        Those coordinates.
    squared_norms : (M,) float64 array
        Of `rows`.

    Examples
    --------
    >>> import numpy as np
    >>> index = NeighborIndex.build(np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0]]))
    >>> found = index.search(np.array([[0.0, 1.5]]), k=2)
    >>> found.indices, found.distances
    (array([[1, 0]]), array([[0.5, 1.5]]))
    """

    bank: Array
    rows: Array
    placement: Placement
    squared_norms: npt.NDArray[np.float64]

    @classmethod
    def build(cls, bank: Any) -> NeighborIndex:
        """Prepare a bank.

        Parameters
        ----------
        bank : (M, D) array of float
            float64 is searched by float64 products, any other type as float32.

        Raises
        ------
        InputError
            If the bank is not a non-empty matrix of finite floats.
        """
        bank = _matrix("bank", bank)
        if 0 in bank.shape:
            raise InputError(f"bank must have rows and columns, got shape {bank.shape}")
        wide = np.float64 if bank.dtype.newbyteorder("=") == np.float64 else np.float32
        bank = np.ascontiguousarray(bank, dtype=wide)
        _check_finite("bank", bank)
        placement = Placement.of(bank)
        rows = placement.move(bank)
        squared_norms = np.empty(len(rows))
        for part in row_blocks(rows):
            block = rows[part].astype(np.float64)
            squared_norms[part] = np.einsum("ij,ij->i", block, block)
        return cls(_read_only(bank), _read_only(rows), placement, _read_only(squared_norms))

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
            Distances and indices, (N, min(k, available)).

        Raises
        ------
        InputError
            If shapes disagree, k is below 1, or a query holds NaN or infinity.
        """
        queries = _matrix("queries", queries)
        if queries.shape[1] != self.bank.shape[1]:
            raise InputError(
                f"queries have {queries.shape[1]} columns but the bank has {self.bank.shape[1]}"
            )
        if k < 1:
            raise InputError(f"k must be 1 or larger, got {k}")
        without = _exclusions(exclude, len(queries), len(self))
        k = min(int(k), len(self) - bool((without >= 0).any()))
        found = Neighbors(
            np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
        )
        if k == 0:
            return found
        described = bank_rows(self.bank, self.squared_norms, self.placement.scale)
        step = query_step(queries.shape[1], candidate_capacity(k, len(self)))
        with Workers(thread_count()) as workers:
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                block = np.array(queries[part], dtype=np.float64, order="C")
                _check_finite("queries", block, start)
                sweep(
                    block,
                    without[part],
                    self.rows,
                    described,
                    self.placement,
                    found.distances[part],
                    found.indices[part],
                    workers,
                )
        return found

    def kth_distance(
        self, queries: Any, k: int, *, exclude: Any = None
    ) -> npt.NDArray[np.float64]:
        """Distance to the k-th nearest bank row, to the last one where there are fewer.  (N,).

        Raises
        ------
        InputError
            As `search`, and where `exclude` leaves no row.
        """
        found = self.search(queries, k, exclude=exclude)
        if found.distances.shape[1] == 0:
            raise InputError("no neighbour is left: the bank has one row, and it is excluded")
        return found.distances[:, -1]


def _matrix(name: str, values: Any) -> Array:
    array = np.asanyarray(values)
    if array.dtype.newbyteorder("=") not in FLOATS:
        raise InputError(
            f"{name}: dtype {array.dtype} is not one of float16, bfloat16, float32, float64; "
            f"convert it first, e.g. {name}.astype('float32')"
        )
    if array.ndim != 2:
        raise InputError(f"{name} must be (rows, columns), got shape {array.shape}")
    return array


def _check_finite(name: str, block: Array, start: int = 0) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        row = start + int(np.argmin(finite))
        raise InputError(f"{name}: row {row} holds NaN or infinity; remove or repair it")


def _exclusions(exclude: Any, queries: int, bank: int) -> npt.NDArray[np.int64]:
    if exclude is None:
        return np.full(queries, -1, dtype=np.int64)
    rows = np.asarray(exclude)
    if rows.dtype.kind not in "iu" or rows.shape != (queries,):
        raise InputError(
            f"exclude must be ({queries},) integers, one a query, "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    outside = (rows < -1) | (rows >= bank)
    if outside.any():
        at = int(np.argmax(outside))
        raise InputError(f"exclude: row {at} is {rows[at]}, expected -1 ... {bank - 1}")
    return rows.astype(np.int64)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.setflags(write=False)
    return view
