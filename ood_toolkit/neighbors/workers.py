"""Threads that share out the rows of a block between matrix products.

BLAS runs its own threads; these wait without spinning while it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from ood_toolkit.errors import InputError

__all__ = ["Workers", "thread_count"]

_LEAST_SHARE = 64  # rows; handing over fewer costs more than it gives


def thread_count() -> int:
    """Threads to use: OOD_TOOLKIT_THREADS, else the processors this process may run on.

    Raises
    ------
    InputError
        If the variable is not a whole number of 1 or more.
    """
    text = os.environ.get("OOD_TOOLKIT_THREADS", "")
    if not text:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"OOD_TOOLKIT_THREADS is {text!r}; set it to a number of 1 or more")
    return int(text)


class Workers:
    """A pool of threads for as long as the `with` block lasts."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def share_out(self, work: Callable[[slice], None], rows: int) -> None:
        """Call `work` on slices that cover 0 ... rows; returns when all are done."""
        step = max(_LEAST_SHARE, -(-rows // self._threads))
        parts = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
        if len(parts) == 1:
            work(parts[0])
            return
        for task in [self._pool.submit(work, part) for part in parts]:
            task.result()
