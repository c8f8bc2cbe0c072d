"""One block of queries against the whole bank, a tile of products at a time."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.topk import SEGMENT, Candidates, QueryRows, nearest, shortlist
from ood_toolkit.neighbors.prepared import PreparedBank
from ood_toolkit.neighbors.workers import Workers

__all__ = ["CANDIDATE_BYTES", "QUERY_ROWS", "TILE_BYTES", "query_step", "sweep"]

TILE_BYTES = 64 << 20
"""Products held at a time, by all blocks together."""
CANDIDATE_BYTES = 48 << 20
"""Candidates held at a time, by all blocks together."""
BLOCK_BYTES = 32 << 20
"""Float64 queries held at a time, by all blocks together."""
QUERY_ROWS = 2048
"""Most queries in a block."""

Grouped = TypeVar("Grouped", QueryRows, Candidates)


def query_step(k: int, shape: tuple[int, ...], share: int) -> int:
    """Most queries in a block of a search for k in a bank of some shape, `share` blocks at once."""
    size, columns = shape
    by_candidates = CANDIDATE_BYTES // (16 * _capacity(k, size) * share)
    by_queries = BLOCK_BYTES // (8 * columns * share)
    return max(1, min(QUERY_ROWS, by_candidates, by_queries))


def sweep(
    bank: PreparedBank,
    queries: npt.NDArray[np.float64],
    exclude: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float64],
    indices: npt.NDArray[np.int64],
    workers: Workers,
    share: int,
) -> None:
    """Find the k nearest of the bank's M rows to each of q queries.

    Parameters
    ----------
    bank : PreparedBank
        Its rows are read tile by tile.
    queries : (q, D) float64 array
        As given.
    exclude : (q,) int64 array
        Row each query leaves out; -1 for none.
    distances, indices : (q, k) float64 and int64 arrays, filled
        Nearest first, ties by lowest index; k is at most the number of rows left.
    workers : Workers
        Share out the queries between products.
    share : int
        How many blocks are searched at once.
    """
    (count, k), size = distances.shape, len(bank.rows)
    points, described = bank.place(queries)
    facts = bank.described_for(k)
    found = _no_candidates(count, _capacity(k, size), points.dtype)
    width = _tile_width(size, TILE_BYTES // (count * points.itemsize * share))
    buffer = np.empty(count * width, dtype=points.dtype)
    for first in range(0, size, width):
        block = bank.rows[first : first + width]
        tile = buffer[: count * len(block)].reshape(count, len(block))
        np.matmul(points, block.T, out=tile)
        inside = np.flatnonzero((exclude >= first) & (exclude < first + len(block)))
        tile[inside, exclude[inside] - first] = -np.inf

        def select(part: slice, tile: npt.NDArray[Any] = tile, first: int = first) -> None:
            mine, near = _take(described, part), _take(found, part)
            shortlist(tile[part], first, k, facts, mine, near)

        workers.share_out(select, count)

    def measure(part: slice) -> None:
        mine, near = _take(described, part), _take(found, part)
        nearest(k, facts, mine, near, distances[part], indices[part])

    workers.share_out(measure, count)
    order = np.argsort(distances, axis=1, kind="stable")  # ties stay by ascending index
    distances[:] = np.take_along_axis(distances, order, axis=1)
    indices[:] = np.take_along_axis(indices, order, axis=1)


def _capacity(k: int, bank_size: int) -> int:
    """Room for the candidates of one query."""
    return min(2 * k + 2 * SEGMENT, bank_size + SEGMENT)


def _no_candidates(count: int, capacity: int, dtype: np.dtype[Any]) -> Candidates:
    return Candidates(
        np.empty((count, capacity), dtype=dtype),
        np.empty((count, capacity), dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.full(count, np.inf, dtype=dtype),
    )


def _tile_width(bank_size: int, most: int) -> int:
    """Bank rows in a tile: as few and as equal tiles as fit, of whole segments.

    Of an odd number of segments, because rows that lie a power of two apart share few
    cache lines, and a product into them takes up to a fifth longer.
    """
    segments = -(-bank_size // SEGMENT)
    tiles = -(-segments // max(1, most // SEGMENT))
    return min(bank_size, (-(-segments // tiles) | 1) * SEGMENT)


def _take(group: Grouped, part: slice) -> Grouped:
    return type(group)(*(array[part] for array in group))
