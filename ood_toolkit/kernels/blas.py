"""One thread for numpy's matrix products, so that several can run side by side.

BLAS's own threads wait for work by spinning, which takes a processor from whatever is done
between two products.  Threads that each make their own products and work on them lose
nothing.  The number of threads is one setting of the whole process: products elsewhere in
it run on one thread too while a block lasts.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["one_blas_thread"]

_HOLDERS = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)

_users, _before, _changing = 0, 1, threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Run numpy's products on the calling thread alone while the block lasts.

    Yields whether that is so: only OpenBLAS, which numpy's wheels come with on Linux,
    can be told, and not on every system.  Blocks may be nested and run at the same time.
    """
    global _users, _before
    controls = _controls()
    if controls is None:
        yield False
        return
    count, limit = controls
    with _changing:
        if _users == 0:
            _before = count()
            limit(1)
        _users += 1
    try:
        yield True
    finally:
        with _changing:
            _users -= 1
            if _users == 0:
                limit(_before)


@cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS's functions that tell and set its number of threads, or None."""
    library = ctypes.CDLL(_library_of_products())
    for name in _NAMES:
        count = getattr(library, name.format("get"), None)
        limit = getattr(library, name.format("set"), None)
        if count is not None and limit is not None:
            limit.argtypes, limit.restype = [ctypes.c_int], None
            return count, limit
    return None


def _library_of_products() -> str | None:
    """File of the extension that numpy's products are in; its BLAS is found through it."""
    for name in _HOLDERS:
        try:
            return importlib.import_module(name).__file__
        except ModuleNotFoundError:
            continue
    return None


def _forget() -> None:
    """In a forked child, where no block is being run, give BLAS its threads back."""
    global _users, _changing
    _changing = threading.Lock()
    if _users and (controls := _controls()) is not None:
        controls[1](_before)
    _users = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
