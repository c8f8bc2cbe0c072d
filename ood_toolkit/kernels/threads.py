"""How many threads the toolkit may use."""

from __future__ import annotations

import os

from ood_toolkit.errors import InputError

__all__ = ["thread_count"]


def thread_count() -> int:
    """Threads to use: OOD_TOOLKIT_THREADS, else NUMBA_NUM_THREADS, else the processors.

    Of these only those count that this process may run on.

    Raises
    ------
    InputError
        If the variable is not a whole number of 1 or more.
    """
    for name in ("OOD_TOOLKIT_THREADS", "NUMBA_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text:
            if not (text.isascii() and text.isdecimal()) or int(text) < 1:
                raise InputError(f"{name} is {text!r}; set it to a number of 1 or more")
            return int(text)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
