"""Every compile option, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from ood_toolkit.kernels._cache import use_careful_cache

__all__ = ["exact_kernel", "inline_kernel", "kernel", "step_kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Every licence but "no NaN" and "no infinity": a row of -inf must not turn into NaN.
_IEEE_AT_INFINITY = {"nsz", "arcp", "contract", "afn", "reassoc"}
_OPTIONS = {"nogil": True, "error_model": "numpy"}
# Said each time: a function that says nothing takes over the licences of its first caller.
_AS_WRITTEN = {"fastmath": False}
_ONLY_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _compile(function: Function, **options: Any) -> Function:
    try:
        compiled = numba.njit(cache=True, **_OPTIONS, **options)(function)
    except RuntimeError as reason:
        if "cannot cache" not in str(reason):
            raise
        # Neither the package's folder nor the user's cache can be written:
        # compile anew in each process.
        return cast(Function, numba.njit(cache=False, **_OPTIONS, **options)(function))
    use_careful_cache(compiled)
    return cast(Function, compiled)


def kernel(function: Function) -> Function:
    """Compile a serial kernel that releases the GIL and is cached on disk."""
    return _compile(function, fastmath=_IEEE_AT_INFINITY)


def exact_kernel(function: Function) -> Function:
    """Compile a serial kernel that does every operation as written, in the order written."""
    return _compile(function, **_AS_WRITTEN)


def inline_kernel(function: Function) -> Function:
    """Compile, exactly as written, a step that melts into the kernels that call it."""
    return _inside(function, forceinline=True)


def step_kernel(function: Function) -> Function:
    """Compile, exactly as written, a step that kernels call, and that their cache holds."""
    return _inside(function)


def _inside(function: Function, **options: Any) -> Function:
    """Compile a function that only kernels call."""
    options |= {**_AS_WRITTEN, **_ONLY_INSIDE, **_OPTIONS}
    return cast(Function, numba.njit(**options)(function))
