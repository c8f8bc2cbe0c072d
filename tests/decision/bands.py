"""What a simulation may show of a promise that holds."""

from __future__ import annotations

from scipy.stats import binom

__all__ = ["REPETITIONS", "inside_band", "not_above_band"]

REPETITIONS = 2000


def inside_band(seen: int, promised: float, repetitions: int = REPETITIONS) -> bool:
    """Whether a count lies within the central 99 % of its binomial law."""
    low, high = binom.ppf([0.005, 0.995], repetitions, promised)
    return bool(low <= seen <= high)


def not_above_band(seen: int, most: float, repetitions: int = REPETITIONS) -> bool:
    """Whether a count is not above the 99 % band of the most that is allowed."""
    return bool(seen <= binom.ppf(0.99, repetitions, most))
