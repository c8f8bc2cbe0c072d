"""Kullback-Leibler divergence of rows of probabilities to given templates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["divergences"]

Float64 = npt.NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)  # probabilities below add nothing that a sum can hold


def divergences(
    p: Float64, log_templates: Float64, chosen: npt.NDArray[np.int64], room: Float64
) -> Float64:
    """KL(p || d) of each row and the template chosen for it, in nats.

    (n, C), logarithms (K, C), (n,), a place for logarithms (n, C) -> (n,).  Where p is 0 a
    class adds nothing, whatever finite number stands for its logarithm.
    """
    np.log(np.maximum(p, _TINY, out=room), out=room)
    found = np.empty(len(p))
    _fill(p, room, log_templates, chosen, found)
    return found


@kernel
def _fill(p: Float64, log_p: Float64, log_templates: Float64, chosen: Any, found: Float64) -> None:
    for i in range(len(p)):
        row, logs, template, total = p[i], log_p[i], log_templates[chosen[i]], 0.0
        for j in range(row.size):
            total += row[j] * (logs[j] - template[j])
        found[i] = total
