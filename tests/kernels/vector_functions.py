"""Functions of explicit vectors over arrays, for tests of what only kernels can call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import exact_kernel
from ood_toolkit.kernels._memory import load, pointer, store
from ood_toolkit.kernels._simd import LANES

Function = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def over_vectors(function: Any) -> Function:
    """A function of arrays of float32 or float64, sixteen numbers at a time."""

    @exact_kernel
    def run(source, target, kind, count):  # type: ignore[no-untyped-def]
        x, y = pointer(source, kind), pointer(target, kind)
        for i in range(0, count, LANES):
            store(y, i, function(load(x, i)))

    def apply(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        padded = np.zeros(-(-x.size // LANES) * LANES, x.dtype)
        padded[: x.size] = x
        result = np.empty_like(padded)
        run(padded.ctypes.data, result.ctypes.data, x.dtype.type(0), padded.size)
        return result[: x.size]

    return apply
