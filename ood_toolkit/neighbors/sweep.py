"""One block of queries against the whole bank, tile by tile.

Bounds, for a query q and a bank row b in tile coordinates, D columns, products in a type
of unit rounding u:

* a dot product is off by at most D u |q| |b| (1 + ...), in whatever order it is summed;
  rounding q and b to the type, and the three operations that make `low`, by less than
  8 u (|q| |b| + |b|^2 / 2);
* a distance in float64 is off by less than (D / 2 + 2) 2^-53 of itself, and the grain
  4 (D + 8) 2^-53 leaves as much again to keep unequal distances apart.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.topk import (
    SEGMENT,
    BankRows,
    Candidates,
    QueryRows,
    nearest,
    shortlist,
)
from ood_toolkit.neighbors.placement import BLOCK_ELEMENTS, Placement
from ood_toolkit.neighbors.workers import Workers

__all__ = [
    "CANDIDATE_BYTES",
    "QUERY_ROWS",
    "TILE_BYTES",
    "bank_rows",
    "candidate_capacity",
    "query_step",
    "sweep",
]

TILE_BYTES = 128 << 20
"""Products held at a time."""
CANDIDATE_BYTES = 48 << 20
"""Candidates held at a time."""
QUERY_ROWS = 2048
"""Most queries in a block."""

_FAR = 2.0**60  # queries of a larger norm could overflow float32 products
_NEAR = 2.0**-100  # smaller bank norms are taken as this, to keep `low` out of underflow
_UNDERFLOW = 2.0**-100  # far above what the products of a column lose to underflow

Grouped = TypeVar("Grouped", QueryRows, Candidates)


def bank_rows(
    bank: npt.NDArray[Any], squared_norms: npt.NDArray[np.float64], scale: float
) -> BankRows:
    """What the kernels need of a bank, given its squared norms in tile coordinates."""
    rounding = _unit_rounding(bank.dtype)
    grain = _grain(bank.shape[1])
    blur = 8.0 * rounding + grain
    floor = (0.5 * (1.0 - blur) * squared_norms).astype(bank.dtype)
    norm = np.maximum(np.sqrt(squared_norms), _NEAR).astype(bank.dtype)
    longest = np.maximum.reduceat(norm, np.arange(0, len(norm), SEGMENT))
    return BankRows(bank, floor, norm, longest, bank.dtype.type(blur), grain, scale)


def query_step(columns: int, capacity: int) -> int:
    """Queries in a block, so that its candidates and its float64 copies stay small."""
    by_candidates = CANDIDATE_BYTES // (16 * capacity)
    return max(1, min(QUERY_ROWS, by_candidates, BLOCK_ELEMENTS // columns))


def candidate_capacity(k: int, bank_size: int) -> int:
    """Room for candidates of one query."""
    return min(2 * k + 2 * SEGMENT, bank_size + SEGMENT)


def sweep(
    queries: npt.NDArray[np.float64],
    exclude: npt.NDArray[np.int64],
    rows: npt.NDArray[Any],
    bank: BankRows,
    placement: Placement,
    distances: npt.NDArray[np.float64],
    indices: npt.NDArray[np.int64],
    workers: Workers,
) -> None:
    """Fill (q, k) `distances` and `indices` with the nearest of `rows` to each of q queries.

    Parameters
    ----------
    queries : (q, D) float64 array
        As given.
    exclude : (q,) int64 array
        Row each query leaves out; -1 for none.
    rows : (M, D) array
        The bank in tile coordinates; `bank` describes it, `placement` led there.
    distances, indices : (q, k) float64 and int64 arrays, filled
        k is at most the number of rows left.
    workers : Workers
        Share out the queries between products.
    """
    count, k = distances.shape
    points, described = _query_rows(queries, placement, rows.dtype)
    found = _no_candidates(count, candidate_capacity(k, len(rows)), rows.dtype)
    width = _tile_width(len(rows), count * rows.itemsize)
    buffer = np.empty(count * width, dtype=rows.dtype)
    for first in range(0, len(rows), width):
        block = rows[first : first + width]
        tile = buffer[: count * len(block)].reshape(count, len(block))
        np.matmul(points, block.T, out=tile)
        inside = np.flatnonzero((exclude >= first) & (exclude < first + len(block)))
        tile[inside, exclude[inside] - first] = -np.inf

        def select(part: slice, tile: npt.NDArray[Any] = tile, first: int = first) -> None:
            mine, near = _take(described, part), _take(found, part)
            shortlist(tile[part], first, k, bank, mine, near)

        workers.share_out(select, count)

    def finish(part: slice) -> None:
        mine, near = _take(described, part), _take(found, part)
        nearest(k, bank, mine, near, distances[part], indices[part])

    workers.share_out(finish, count)
    order = np.argsort(distances, axis=1, kind="stable")  # ties stay by ascending index
    distances[:] = np.take_along_axis(distances, order, axis=1)
    indices[:] = np.take_along_axis(indices, order, axis=1)


def _tile_width(bank_size: int, bytes_per_row: int) -> int:
    """Bank rows in a tile, of as few and as equal tiles as fit; whole segments."""
    most = max(1, TILE_BYTES // (bytes_per_row * SEGMENT))
    segments = -(-bank_size // SEGMENT)
    tiles = -(-segments // most)
    return min(bank_size, -(-segments // tiles) * SEGMENT)


def _query_rows(
    queries: npt.NDArray[np.float64], placement: Placement, dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], QueryRows]:
    """Queries in tile coordinates and type, and what the kernels need of them."""
    columns = queries.shape[1]
    rounding, grain = _unit_rounding(dtype), _grain(columns)
    product_error = (columns + 8) * rounding
    product_error = product_error / (1.0 - product_error) + grain
    with np.errstate(over="ignore"):
        placed = placement.apply(queries)
        half = 0.5 * np.einsum("ij,ij->i", placed, placed)
    slack = 4.0 * grain * half + columns * _UNDERFLOW
    far = ~(half < 0.5 * _FAR**2)
    placed[far], half[far], slack[far] = 0.0, 0.0, np.inf
    slope = (product_error * np.sqrt(2.0 * half)).astype(dtype)
    return placed.astype(dtype), QueryRows(queries, half, slope, slack)


def _no_candidates(count: int, capacity: int, dtype: np.dtype[Any]) -> Candidates:
    return Candidates(
        np.empty((count, capacity), dtype=dtype),
        np.empty((count, capacity), dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.full(count, np.inf, dtype=dtype),
    )


def _unit_rounding(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps) / 2.0


def _grain(columns: int) -> float:
    return 4.0 * (columns + 8) * 2.0**-53


def _take(group: Grouped, part: slice) -> Grouped:
    return type(group)(*(array[part] for array in group))

