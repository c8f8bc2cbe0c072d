"""What no score can beat: one read of its array by two threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.peers import THREADS

__all__ = ["one_read"]

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


def one_read(array: npt.NDArray[Any]) -> Callable[[], None]:
    """A call that reads a contiguous array once, in blocks shared by `THREADS` threads."""
    words = array.reshape(-1).view(np.uint8)
    words = words[: words.size // 8 * 8].view(np.uint64)

    def read() -> None:
        following = itertools.count()

        def share() -> None:
            for block in following:
                if block * BLOCK >= words.size:
                    return
                _parity(words[block * BLOCK : (block + 1) * BLOCK])

        others = [_pool.submit(share) for _ in range(THREADS - 1)]
        share()
        for other in others:
            other.result()

    return read
