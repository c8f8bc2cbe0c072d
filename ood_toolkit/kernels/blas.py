"""One thread for numpy's or scipy's linear algebra, so that several can run side by side.

BLAS's own threads wait for work by spinning, which takes a processor from whatever is done
between two products.  Threads that each make their own products and work on them lose
nothing; nor do numpy and scipy in turns, whose wheels bring a library each.  The number of
threads is one setting of the whole process: products elsewhere in it run on one thread too
while a block lasts.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

__all__ = ["one_blas_thread"]

_HOLDERS = {
    "numpy": ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"),
    "scipy": ("scipy.linalg._fblas",),
}
"""Extensions that a library's products are in."""
_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


@dataclass
class _Controls:
    """OpenBLAS's functions that tell and set its number of threads, and who has set it."""

    count: Callable[[], int]
    limit: Callable[[int], None]
    users: int = 0
    before: int = 1


_changing = threading.Lock()
_known: dict[int, _Controls] = {}
"""By the address of a library, so that one which numpy and scipy share is counted once."""


@contextmanager
def one_blas_thread(of: str = "numpy") -> Iterator[bool]:
    """Run products of numpy, or of scipy, on the calling thread alone while the block lasts.

    Yields whether that is so: only OpenBLAS, which their wheels come with on Linux, can be
    told, and not on every system.  Blocks may be nested and run at the same time.
    """
    controls = _controls(of)
    if controls is None:
        yield False
        return
    with _changing:
        if controls.users == 0:
            controls.before = controls.count()
            controls.limit(1)
        controls.users += 1
    try:
        yield True
    finally:
        with _changing:
            controls.users -= 1
            if controls.users == 0:
                controls.limit(controls.before)


@cache
def _controls(of: str = "numpy") -> _Controls | None:
    """What governs a library's threads, or None."""
    library = ctypes.CDLL(_library_of_products(of))
    for name in _NAMES:
        count = getattr(library, name.format("get"), None)
        limit = getattr(library, name.format("set"), None)
        if count is not None and limit is not None:
            limit.argtypes, limit.restype = [ctypes.c_int], None
            address = ctypes.cast(limit, ctypes.c_void_p).value or 0
            return _known.setdefault(address, _Controls(count, limit))
    return None


def _library_of_products(of: str) -> str | None:
    """File of an extension whose BLAS is the one wanted; that is found through it."""
    for name in _HOLDERS[of]:
        try:
            return importlib.import_module(name).__file__
        except ModuleNotFoundError:
            continue
    return None


def _forget() -> None:
    """In a forked child, where no block is being run, give BLAS its threads back."""
    global _changing
    _changing = threading.Lock()
    for controls in _known.values():
        if controls.users:
            controls.limit(controls.before)
        controls.users = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
