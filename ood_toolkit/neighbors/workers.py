"""How a search is shared out over threads.

Many queries: blocks of them run side by side, each with its own products on one BLAS
thread.  Few queries, or a BLAS that cannot be told: block after block, with products on
BLAS's threads, and between two of them the rows of the block shared out.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from ood_toolkit.kernels.blas import one_blas_thread

__all__ = ["Workers", "run_blocks"]

SIDE_BY_SIDE_ROWS = 512
"""Fewest queries a thread for blocks to run side by side; smaller products are slower."""

_LEAST_SHARE = 64  # rows; handing over fewer costs more than it gives


class Workers:
    """Threads that share out rows, for as long as the `with` block lasts."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._helpers = ThreadPoolExecutor(max(1, threads - 1))  # starts none before it must

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._helpers.shutdown()

    def share_out(self, work: Callable[[slice], None], rows: int) -> None:
        """Call `work` on slices that cover 0 ... rows; returns when all are done."""
        step = max(_LEAST_SHARE, -(-rows // self._threads))
        *handed_over, own = (slice(start, start + step) for start in range(0, rows, step))
        tasks = [self._helpers.submit(work, part) for part in handed_over]
        work(own)
        for task in tasks:
            task.result()


def run_blocks(
    search: Callable[[slice, Workers, int], None],
    rows: int,
    most: Callable[[int], int],
    threads: int,
) -> None:
    """Call search(block, workers, share) on blocks that cover 0 ... rows.

    Parameters
    ----------
    search : callable
        `workers` are for its own use, `share` is how many blocks are searched at once.
    rows : int
        Queries.
    most : callable
        Most queries in a block, given `share`.
    threads : int
        Threads to use.
    """
    if threads > 1 and rows >= SIDE_BY_SIDE_ROWS * threads:
        with one_blas_thread() as alone:
            if alone:
                blocks = _equal_blocks(rows, most(threads), threads)
                with ThreadPoolExecutor(threads) as pool, Workers(1) as serial:
                    for task in [pool.submit(search, b, serial, threads) for b in blocks]:
                        task.result()
                return
    with Workers(threads) as workers:
        for block in _equal_blocks(rows, most(1), 1):
            search(block, workers, 1)


def _equal_blocks(rows: int, most: int, multiple: int) -> list[slice]:
    """As few blocks of at most so many rows as there can be, in a multiple of some number."""
    count = -(-rows // (most * multiple)) * multiple
    step = max(1, -(-rows // max(1, count)))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
