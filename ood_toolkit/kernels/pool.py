"""Threads that share out blocks of rows; the kernels they run release the interpreter.

The pool is made when it is first needed, is kept, and is forgotten in a forked child, whose
copy of it has no threads.  numba's own threads are not used: its default layer ends a
process that forks after it has started them, and a call from two threads at once with
another.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Turns", "in_order", "share_out"]

Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_pool_threads = 0
_making = threading.Lock()


def share_out(work: Callable[[int, int], None], rows: int, step: int, threads: int) -> None:
    """Call work(start, stop) on blocks of `step` rows that cover 0 ... rows.

    A thread takes the next block when it has done one, so that a busy processor slows the
    whole down as little as it must.  The calling thread works too.
    """
    blocks = -(-rows // step)
    threads = min(threads, blocks)
    following = itertools.count()  # handing out a number is atomic
    # Emptied after an error, and at the end: a busy pool keeps what was submitted for a while.
    held = [work]

    def run() -> None:
        for block in following:
            mine = held[:1]
            if block >= blocks or not mine:
                return
            try:
                mine[0](block * step, min(rows, (block + 1) * step))
            except BaseException:
                held.clear()  # whoever is next begins nothing
                raise

    if threads <= 1:
        run()
        return
    pool = _helpers(threads - 1)
    helpers = [pool.submit(run) for _ in range(threads - 1)]
    try:
        run()
        for helper in helpers:
            if not helper.cancel():  # one that has not begun is not needed any more
                helper.result()
    finally:
        held.clear()
        for helper in helpers:  # after an error too nobody is at work any more
            if not helper.cancel():
                helper.exception()


def in_order(
    work: Callable[[int, int], Result], rows: int, step: int, threads: int
) -> Iterator[Result]:
    """The results of work(start, stop) on such blocks, first block first.

    At most two blocks a thread are done or waiting ahead of the one that is handed out.
    """
    blocks = [(start, min(rows, start + step)) for start in range(0, rows, step)]
    if min(threads, len(blocks)) <= 1:
        yield from (work(*block) for block in blocks)
        return
    pool = _helpers(threads)
    ahead: deque[Future[Result]] = deque()
    try:
        for block in blocks:
            ahead.append(pool.submit(work, *block))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for waiting in ahead:
            waiting.cancel()


class Turns:
    """Lets blocks that `in_order` runs side by side do their last step one after the other.

    Examples
    --------
    >>> turns, sums = Turns(), []
    >>> def work(start, stop):
    ...     with turns.of(start, stop) as my_turn:
    ...         part = sum(range(start, stop))  # side by side
    ...         my_turn()
    ...         sums.append(part)  # first block first
    >>> _ = list(in_order(work, 6, 2, threads=2))
    >>> sums
    [1, 5, 9]
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._failed: int | None = None

    @contextmanager
    def of(self, start: int, stop: int) -> Iterator[Callable[[], None]]:
        """A block's work; gives a function that waits until all earlier blocks are done."""
        try:
            yield lambda: self._wait(start)
            self._wait(start)
        except BaseException:
            with self._changed:
                self._failed = start if self._failed is None else min(start, self._failed)
                self._changed.notify_all()
            raise
        with self._changed:
            self._next = stop
            self._changed.notify_all()

    def _wait(self, start: int) -> None:
        with self._changed:
            while self._next != start:
                if self._failed is not None and self._failed < start:
                    raise RuntimeError("an earlier block failed")  # which is what is raised
                self._changed.wait()


def _helpers(threads: int) -> ThreadPoolExecutor:
    """The pool, with at least so many threads."""
    global _pool, _pool_threads
    with _making:
        if _pool is None or _pool_threads < threads:
            from concurrent.futures import ThreadPoolExecutor

            # A smaller pool may still be at work; it ends with its last user.
            _pool, _pool_threads = ThreadPoolExecutor(threads, "ood_toolkit"), threads
        return _pool


def _forget() -> None:
    global _pool, _pool_threads, _making
    _pool, _pool_threads, _making = None, 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
