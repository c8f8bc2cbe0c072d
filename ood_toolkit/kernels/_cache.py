"""numba's disk cache, made safe where kernels call kernels in other files.

numba drops a cached kernel when the kernel's own file changes, but not when a kernel that
it calls does; and two processes that compile different types of one kernel at once can
leave an index that names the other's machine code.  Here a cache entry is known by the
text of every file that the kernel reaches, and its data file by that same key.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

__all__ = ["use_careful_cache"]


def use_careful_cache(compiled: Any) -> None:
    """Replace the disk cache of a function that numba compiled with `cache=True`."""
    function = getattr(compiled, "py_func", None)
    if function is not None:  # NUMBA_DISABLE_JIT leaves the plain function
        _text(function.__code__.co_filename)
        compiled._cache = _CarefulCache(function)


class _CarefulCache(FunctionCache):  # type: ignore[misc]
    def load_overload(self, signature: Any, target: Any) -> Any:
        # numba would first load all that it knows to compile, and scipy with it.  What has
        # been compiled needs its runtime only; what has not, the compiler does that for.
        rtsys.initialize(target)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        key = (*super()._index_key(signature, codegen), _reached_text(self._py_func))
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        # One data file a key, so that no other process writes another type's code there.
        file = self._cache_file
        file._data_name = lambda number: f"{self._impl.filename_base}.{digest}.nbc"
        return key


def _reached_text(function: Any) -> str:
    """Digest of the files of a function and of all functions that it names, directly or not.

    And of the file that says how they are compiled.
    """
    files = {str(Path(__file__).with_name("_jit.py"))}
    seen: set[Any] = set()
    waiting = [function]
    while waiting:
        reached = waiting.pop()
        if reached in seen:
            continue
        seen.add(reached)
        files.add(reached.__code__.co_filename)
        for name in _names(reached.__code__):
            called = _python_function(reached.__globals__.get(name))
            if called is not None and called.__module__.startswith("ood_toolkit."):
                waiting.append(called)
    return hashlib.sha256(b"\0".join(_text(file) for file in sorted(files))).hexdigest()


@cache
def _text(file: str) -> bytes:
    """The text of a file when this process imported it, for it may change while that runs."""
    return Path(file).read_bytes() if Path(file).exists() else b""


def _names(code: Any) -> set[str]:
    """Global names in a function and in the functions defined inside it."""
    inner = [_names(c) for c in code.co_consts if inspect.iscode(c)]
    return set(code.co_names).union(*inner)


def _python_function(value: Any) -> Any:
    """The Python function behind a compiled kernel, an intrinsic or a function; else None."""
    for attribute in ("py_func", "_defn"):
        value = getattr(value, attribute, value)
    return value if inspect.isfunction(value) else None
