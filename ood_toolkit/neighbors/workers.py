"""Threads that share out the rows of a block between matrix products.

BLAS runs its own threads; these wait without spinning while it does.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

__all__ = ["Workers"]

_LEAST_SHARE = 64  # rows; handing over fewer costs more than it gives


class Workers:
    """The calling thread and its helpers, for as long as the `with` block lasts."""

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
