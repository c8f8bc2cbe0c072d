"""Arrays that a thread keeps from one block of rows to the next.

Memory fresh from the system is touched for the first time page by page, which takes about as
long as writing it; a block's temporary arrays are large enough to be fresh each time.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Scratch"]


class Scratch:
    """Room for temporary arrays, for each thread its own, for as long as this object lives.

    Examples
    --------
    >>> scratch = Scratch()
    >>> first = scratch.array("products", (4, 3), float)
    >>> second = scratch.array("products", (2, 3), float)
    >>> second.shape, np.shares_memory(first, second)
    ((2, 3), True)
    """

    def __init__(self) -> None:
        self._mine = threading.local()

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
        """An array of unknown content; what this thread had under the name is overwritten."""
        size = math.prod(shape)
        held = self._mine.__dict__
        if name not in held or held[name].size < size or held[name].dtype != dtype:
            held[name] = np.empty(size, dtype=dtype)
        found: npt.NDArray[Any] = held[name][:size].reshape(shape)
        return found
