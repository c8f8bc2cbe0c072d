"""What no score can beat: one read of its array by two threads, and writing what it returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.peers import THREADS

__all__ = ["one_read", "read_and_write"]

BLOCK = 1 << 18
"""Words of 8 bytes that a thread reads at a time."""

_pool = ThreadPoolExecutor(THREADS - 1)


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _parity(words: npt.NDArray[np.uint64]) -> np.uint64:
    """Exclusive or of all words: the cheapest use of each that a compiler cannot leave out."""
    total = np.uint64(0)
    for i in range(words.size):
        total ^= words[i]
    return total


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _read_and_write(words: npt.NDArray[np.uint32], scores: npt.NDArray[np.float64]) -> None:
    """Read (n, C) words; write (k, n) numbers, sixteen rows at a time."""
    for first in range(0, len(words), 16):
        group, total = words[first : first + 16].reshape(-1), np.uint32(0)
        for i in range(group.size):
            total ^= group[i]
        for k in range(len(scores)):
            places = scores[k][first : first + 16]
            for j in range(places.size):
                places[j] = total


def one_read(array: npt.NDArray[Any]) -> Callable[[], None]:
    """A call that reads a contiguous array once, in blocks shared by `THREADS` threads."""
    words = array.reshape(-1).view(np.uint8)
    words = words[: words.size // 8 * 8].view(np.uint64)
    return lambda: _share_out(lambda a, b: _parity(words[a:b]), words.size, BLOCK)


def read_and_write(array: npt.NDArray[np.float32], outputs: int) -> Callable[[], None]:
    """The same, which also writes so many float64 a row of the (N, C) array.

    They go to memory that each call asks for anew, as the scores do that a caller is given.
    """
    words = array.view(np.uint32)
    step = max(1, 2 * BLOCK // array.shape[1] // 16) * 16

    def call() -> None:
        scores = np.empty((outputs, len(words)))
        _share_out(lambda a, b: _read_and_write(words[a:b], scores[:, a:b]), len(words), step)

    return call


def _share_out(work: Callable[[int, int], object], size: int, step: int) -> None:
    """Call work(start, stop) on blocks that cover 0 ... size, on `THREADS` threads."""
    following = itertools.count()

    def share() -> None:
        for block in following:
            if block * step >= size:
                return
            work(block * step, min(size, (block + 1) * step))

    others = [_pool.submit(share) for _ in range(THREADS - 1)]
    share()
    for other in others:
        other.result()
