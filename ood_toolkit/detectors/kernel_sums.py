"""Sums of Gaussian kernels over a bank of rows, block by block, and the bandwidth rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array

__all__ = ["BandwidthChoice", "KernelBank", "choose_bandwidth"]

BLOCK = 4 * CHUNK
"""Bank rows in a block."""
LEFT_OUT_MOST = 5000
"""Rows, at even steps through the bank, that the bandwidth is judged on."""
STEPS = np.geomspace(0.7, 1.8, 25)
"""Bandwidths tried, as multiples of the first guess."""
NEGLIGIBLE = 60.0
"""A kernel smaller than the largest by this exponent is below the last digit of any sum."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelBank:
    """Rows ready for kernel sums.

    Attributes
    ----------
    rows : (M, d) array of float32 or float64
        All different.
    index : NeighborIndex
        Of the rows.
    origin : (d,) array of float64
        Near the rows, so that little cancels in their products.
    """

    rows: Array
    index: NeighborIndex
    origin: Array

    @classmethod
    def of(cls, rows: Array) -> KernelBank:
        """Index the rows."""
        return cls(rows, NeighborIndex.build(rows), rows.mean(axis=0, dtype=np.float64))

    def nearest(self, queries: Array) -> Array:
        """Squared distance of each query to the nearest row.  (n, d) -> (n,)."""
        return np.asarray(self.index.kth_distance(queries, 1) ** 2)

    def squared_distances(self, queries: Array) -> Iterator[tuple[slice, Array]]:
        """Squared distances to one block of rows after the other.  (n, d) -> (n, block) each."""
        centred = queries - self.origin
        own = np.einsum("nd,nd->n", centred, centred)
        for start in range(0, len(self.rows), BLOCK):
            part = slice(start, min(start + BLOCK, len(self.rows)))
            block = self.rows[part] - self.origin
            squares = centred @ block.T
            squares *= -2.0
            squares += own[:, np.newaxis]
            squares += np.einsum("md,md->m", block, block)
            yield part, squares

    def log_sums(self, queries: Array, nearest: Array, weights: Array, bandwidth: float) -> Array:
        """Ln sum_i weights_i exp(-||q - row_i||^2 / (2 h^2)) of each query.  (n, d) -> (n,)."""
        factor = 1.0 / (2.0 * bandwidth**2)
        total = np.zeros(len(queries))
        for part, squares in self.squared_distances(queries):
            squares -= nearest[:, np.newaxis]
            # none is nearer than the nearest, and that one adds at least 1: what says otherwise
            # is rounding, which a small bandwidth would make infinite
            np.maximum(squares, 0.0, out=squares)
            squares *= -factor
            np.exp(squares, out=squares)
            total += squares @ weights[part]
        return np.asarray(np.log(np.maximum(total, 1.0)) - nearest * factor)


@dataclass(frozen=True, slots=True)
class BandwidthChoice:
    """A bandwidth, the rms distance to the nearest other row, and the effective sample size."""

    bandwidth: float
    nearest: float
    effective: float


def choose_bandwidth(banks: list[KernelBank], fixed: float | None = None) -> BandwidthChoice | None:
    """The bandwidth with the largest leave-one-out log-likelihood.

    The first guess is the rms distance of a row to the nearest other one of its bank, over
    sqrt(d); multiples of it in `STEPS` are tried.  With `fixed` that bandwidth alone is.  The
    effective sample size is the median over rows of (sum K)^2 / sum K^2 at the choice.  None
    where no bank has two rows.
    """
    left_out = _left_out(banks)
    if not left_out:
        return None
    near = [bank.index.kth_distance(bank.rows[at], 1, exclude=at) ** 2 for bank, at in left_out]
    dims = banks[0].rows.shape[1]
    spacing = float(np.sqrt(np.concatenate(near).mean()))
    tried = spacing / np.sqrt(dims) * STEPS if fixed is None else np.array([fixed])
    sums = [
        _left_out_sums(bank, at, squares, tried)
        for (bank, at), squares in zip(left_out, near, strict=True)
    ]
    first = np.concatenate([pair[0] for pair in sums], axis=1)
    second = np.concatenate([pair[1] for pair in sums], axis=1)
    exponents = np.concatenate(near) / (2.0 * tried[:, np.newaxis] ** 2)
    likelihood = (np.log(first) - exponents).mean(axis=1) - dims * np.log(tried)
    best = int(np.argmax(likelihood))
    effective = float(np.median(first[best] ** 2 / second[best]))
    return BandwidthChoice(float(tried[best]), spacing, effective)


def _left_out(banks: list[KernelBank]) -> list[tuple[KernelBank, Array]]:
    """Which rows of each bank are left out, where another row remains."""
    useful = [bank for bank in banks if len(bank.rows) > 1]
    total = sum(len(bank.rows) for bank in useful)
    wanted = min(total, LEFT_OUT_MOST)
    chosen = np.arange(wanted) * total // max(wanted, 1)
    pairs, start = [], 0
    for bank in useful:
        stop = start + len(bank.rows)
        at = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(at):
            pairs.append((bank, at))
        start = stop
    return pairs


def _left_out_sums(
    bank: KernelBank, at: Array, nearest: Array, tried: Array
) -> tuple[Array, Array]:
    """Sums of K and of K^2 over the other rows, both over the nearest one's, for each bandwidth.

    (k,) rows, (k,) squared distances, (b,) bandwidths -> (b, k) twice.
    """
    first, second = np.zeros((len(tried), len(at))), np.zeros((len(tried), len(at)))
    cutoff = NEGLIGIBLE * 2.0 * tried.max() ** 2

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        own = at[part]
        queries = bank.rows[own].astype(np.float64)
        for block, squares in bank.squared_distances(queries):
            squares -= nearest[part, np.newaxis]
            np.maximum(squares, 0.0, out=squares)  # as in `log_sums`
            inside = np.flatnonzero((own >= block.start) & (own < block.stop))
            squares[inside, own[inside] - block.start] = np.inf
            counted = squares < cutoff
            sizes = counted.sum(axis=1)
            rows = start + np.flatnonzero(sizes)
            begins = (np.cumsum(sizes) - sizes)[rows - start]
            exponents = squares[counted]
            for b, bandwidth in enumerate(tried):
                kernel = np.exp(exponents / (-2.0 * bandwidth**2))
                first[b, rows] += np.add.reduceat(kernel, begins)
                kernel *= kernel
                second[b, rows] += np.add.reduceat(kernel, begins)

    with one_blas_thread():
        share_out(work, len(at), CHUNK, thread_count())
    return np.maximum(first, 1.0), np.maximum(second, 1.0)
