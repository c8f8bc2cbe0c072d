"""What calibrators share that treat each class's probability by itself and renormalise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.outputs import Array, Outputs

__all__ = ["KEPT", "OneVsRest", "joined", "log_complement", "split_at"]

KEPT = 1e-9
"""Share of the old probability that is added to a new one, so that ties keep the old order
and a row whose new probabilities are all zero keeps its old ones."""


@dataclass(frozen=True)
class OneVsRest(FittedCalibrator):
    """A fitted calibrator that maps each class's probability on its own, then renormalises."""

    @abstractmethod
    def _by_class(self, log_p: Array) -> Array:
        """(n, C) log-probabilities -> (n, C) new probabilities, not yet summing to one."""

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        log_p = log_softmax(z)
        old = np.exp(log_p)
        new = np.where(np.isfinite(z), self._by_class(log_p), 0.0) + KEPT * old
        total = new.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):  # a masked class stays masked
            return np.asarray(np.log(new / total))


def log_complement(log_p: Array) -> Array:
    """ln(1 - p) from ln p, exact where p is near 0 and where it is near 1."""
    with np.errstate(divide="ignore"):
        return np.where(
            log_p > -0.5, np.log(-np.expm1(log_p)), np.log1p(-np.exp(np.minimum(log_p, 0.0)))
        )


def joined(parts: list[Array]) -> tuple[Array, Array]:
    """Arrays of different lengths end to end, and where each begins: (total,), (parts + 1,)."""
    begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.concatenate(parts).astype(np.float64), begins


def split_at(values: Array, begins: Array, part: int) -> Array:
    """The part of `values` that `joined` was given."""
    found: Array = values[begins[part] : begins[part + 1]]
    return found
