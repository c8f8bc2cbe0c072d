"""Partial top-k over tiles of a matrix product, with proven bounds on their rounding.

Half the squared distance of a query q to a bank row b is |q|^2 / 2 + key, with
key = |b|^2 / 2 - q.b.  A tile holds rounded products q.b; from it comes, in the tile's
type, a number that is never above the true key, and one that is never below it:

    low = floor - q.b - slope * norm,    high = low + 2 * slope * norm + blur * norm^2

A row is dropped only where its `low` is above the `high` of k others, so the rows that
stay hold the k nearest.  Where too many stay (near-duplicates, ties) their distances
decide.  Every distance comes from `fill_distances`, so a pair has one value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.distances import fill_distances

__all__ = ["SEGMENT", "BankRows", "Candidates", "QueryRows", "nearest", "shortlist"]

SEGMENT = 64
"""Columns tested at once; candidates need room for that many more."""

GROUPS_PER_NEIGHBOR = 3
"""Groups of bank rows, for each neighbour wanted, whose least members set a first limit."""


class BankRows(NamedTuple):
    """What a kernel knows of M bank rows; T is the tile's type.

    Attributes
    ----------
    rows : (M, D) array of T
        As given, for exact distances.
    floor, norm : (M,) arrays of T
        The part of `low` that depends on the bank row alone; its norm, rounded up.
    longest : (ceil(M / SEGMENT),) array of T
        The largest norm in each segment of rows.
    blur : scalar of T
        Relative error of half a squared norm, and more than the rounding to T.
    grain : float
        Relative error of a squared distance in float64.
    scale : float
        Tile coordinates per original one, a power of two.
    """

    rows: npt.NDArray[Any]
    floor: npt.NDArray[Any]
    norm: npt.NDArray[Any]
    longest: npt.NDArray[Any]
    blur: Any
    grain: float
    scale: float


class QueryRows(NamedTuple):
    """What a kernel knows of q queries; T is the tile's type.

    Attributes
    ----------
    rows : (q, D) float64 array
        As given, for exact distances.
    half : (q,) float64 array
        |q|^2 / 2 in tile coordinates.
    slope : (q,) array of T
        Error of a product, per unit of the bank row's norm.
    slack : (q,) float64 array
        Error that no bank row enters; infinite where bounds mean nothing.
    """

    rows: npt.NDArray[np.float64]
    half: npt.NDArray[np.float64]
    slope: npt.NDArray[Any]
    slack: npt.NDArray[np.float64]


class Candidates(NamedTuple):
    """The rows that may still be among the k nearest of each of q queries.

    Attributes
    ----------
    low : (q, capacity) array of T
        Lower bounds of keys; capacity is at least 2 k + 2 SEGMENT.
    row : (q, capacity) int64 array
        Bank rows, ascending.
    size : (q,) int64 array
        How many of a row's entries are in use.
    limit : (q,) array of T
        A bank row becomes a candidate only where its `low` is below.
    """

    low: npt.NDArray[Any]
    row: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    limit: npt.NDArray[Any]


@kernel
def shortlist(
    tile: npt.NDArray[Any],
    first: int,
    k: int,
    bank: BankRows,
    queries: QueryRows,
    found: Candidates,
) -> None:
    """(q, m) products with bank rows first ... first + m - 1 -> updates `found`.

    Tiles come in ascending order of `first`, a multiple of SEGMENT; -inf in a tile leaves
    that pair out.
    """
    columns = tile.shape[1]
    capacity = found.low.shape[1]
    floors, norms = bank.floor[first : first + columns], bank.norm[first : first + columns]
    longest = bank.longest[first // SEGMENT :]
    least = np.empty(GROUPS_PER_NEIGHBOR * k, floors.dtype)
    for i in range(tile.shape[0]):
        slope, low, row = queries.slope[i], found.low[i], found.row[i]
        if found.limit[i] == np.inf and columns >= 2 * least.size:
            _least_of_groups(tile[i], floors, norms, slope, bank.blur, least)
            _lower_limit(i, _kth_least(least.astype(np.float64), k), bank, queries, found)
        n, done = found.size[i], 0
        while done < columns:
            limit = found.limit[i]
            n, done = _scan(tile[i], floors, norms, longest, slope, limit, done, first, low, row, n)
            if n + SEGMENT > capacity:
                n = _prune(i, n, k, bank, queries, found)
                if n > (k + capacity) // 2:
                    n = _settle(i, n, k, bank, queries, found, np.empty(n))
        found.size[i] = n


@kernel
def _least_of_groups(products, floors, norms, slope, blur, least):  # type: ignore[no-untyped-def]
    """Least `high` of each of g disjoint groups of a row's columns.  (m,) -> fills (g,).

    Of any groups, the k least are k rows' bounds, so the k-th least key is not above them.
    """
    groups = least.size
    least[:] = np.inf
    for start in range(0, products.size - groups + 1, groups):
        product, floor = products[start : start + groups], floors[start : start + groups]
        norm = norms[start : start + groups]
        for j in range(groups):
            high = floor[j] - product[j] + (slope + blur * norm[j]) * norm[j]
            least[j] = high if high < least[j] else least[j]


@kernel
def _scan(products, floors, norms, longest, slope, limit, start, first, low, row, n):  # type: ignore[no-untyped-def]
    """Append columns start ... of a row, (m,), whose `low` is below the limit to n candidates.

    Stops at the end of the row or where the candidates are full; returns how many there
    are and the column to go on from.
    """
    for at in range(start, products.size, SEGMENT):
        product, floor = products[at : at + SEGMENT], floors[at : at + SEGMENT]
        above = limit + slope * longest[at // SEGMENT]
        hits = np.float32(0.0)  # a sum of floats, because the compiler makes vectors of it
        for j in range(product.size):
            hits += np.float32(1.0) if floor[j] - product[j] < above else np.float32(0.0)
        if hits == np.float32(0.0):
            continue
        for j in range(at, min(at + SEGMENT, products.size)):
            bound = floors[j] - products[j] - slope * norms[j]
            if bound < limit:
                low[n], row[n] = bound, first + j
                n += 1
        if n + SEGMENT > low.size:
            return n, at + SEGMENT
    return n, products.size


@kernel
def nearest(
    k: int,
    bank: BankRows,
    queries: QueryRows,
    found: Candidates,
    distances: npt.NDArray[np.float64],
    indices: npt.NDArray[np.int64],
) -> None:
    """Candidates of q queries -> fills (q, k) bank indices, ascending, and distances."""
    for i in range(found.size.size):
        n = found.size[i]
        if n > k:
            n = _prune(i, n, k, bank, queries, found)
        distance = np.empty(n)
        _settle(i, n, k, bank, queries, found, distance)
        distances[i], indices[i] = distance[:k], found.row[i, :k]


@kernel
def _prune(i, n, k, bank, queries, found):  # type: ignore[no-untyped-def]
    """Drop candidates of query i that k others are proven to beat; returns how many stay."""
    low, row, slope = found.low[i], found.row[i], np.float64(queries.slope[i])
    high = np.empty(n)
    for j in range(n):
        norm = np.float64(bank.norm[row[j]])
        high[j] = np.float64(low[j]) + 2.0 * slope * norm + bank.blur * norm * norm
    _lower_limit(i, _kth_least(high, k), bank, queries, found)
    limit, kept = found.limit[i], 0
    for j in range(n):
        if low[j] < limit:
            low[kept], row[kept] = low[j], row[j]
            kept += 1
    return kept


@kernel
def _settle(i, n, k, bank, queries, found, distance):  # type: ignore[no-untyped-def]
    """Keep the k nearest candidates of query i by distance, then index; returns k.

    `distance`, (n,), is filled: its first k are those of the candidates kept.
    """
    low, row = found.low[i], found.row[i]
    fill_distances(queries.rows[i], bank.rows, row[:n], distance)
    kth = _kth_least(distance.copy(), k)
    ties = k
    for j in range(n):
        if distance[j] < kth:
            ties -= 1
    kept = 0
    for j in range(n):
        if distance[j] == kth:
            ties -= 1
        if distance[j] < kth or (distance[j] == kth and ties >= 0):
            low[kept], row[kept], distance[kept] = low[j], row[j], distance[j]
            kept += 1
    half = 0.5 * (kth * bank.scale) ** 2 * (1.0 + bank.grain)
    _lower_limit(i, half - queries.half[i], bank, queries, found)
    return kept


@kernel
def _lower_limit(i, key, bank, queries, found):  # type: ignore[no-untyped-def]
    """Lower the limit of query i to a key that k rows reach, rounded up."""
    limit = key + queries.slack[i]
    limit += bank.blur * abs(limit)
    if limit < found.limit[i]:
        found.limit[i] = limit


@kernel
def _kth_least(values, k):  # type: ignore[no-untyped-def]
    """The k-th least of (n,) numbers, 1 <= k <= n; reorders them."""
    left, right, wanted = 0, values.size - 1, k - 1
    while left < right:
        pivot = values[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            break
    return values[wanted]
