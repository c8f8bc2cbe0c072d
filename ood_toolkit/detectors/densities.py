"""Histograms of a row's values, and how far they are from a mean histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["Grid", "divergence", "smoothed"]

ROOM = 1e-8
"""What the last bin reaches beyond the largest training value, so that it holds it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal bins between the smallest and the largest training value.

    Attributes
    ----------
    low, high : float
        The ends.
    bins : int
        How many bins.
    """

    low: float
    high: float
    bins: int

    @classmethod
    def over(cls, ends: Array, bins: int) -> Grid:
        """The grid of values between two ends, both in it."""
        low, high = map(float, ends)
        return cls(low, max(high + ROOM, float(np.nextafter(high, np.inf))), bins)

    def counts(self, values: Array) -> Array:
        """Values of each row that lie in each bin; those outside lie in none.

        (n, K) -> (n, bins) int64.
        """
        width = self.bins + 2
        place = values - self.low
        place *= self.bins / (self.high - self.low)
        np.clip(np.floor(place, out=place), -1, self.bins, out=place)
        place += (width * np.arange(len(values)) + 1)[:, None]
        found = place.astype(np.int64)
        counted = np.bincount(found.ravel(), minlength=width * len(values))
        return np.asarray(counted.reshape(len(values), width)[:, 1:-1])


def smoothed(density: Array, window: int) -> Array:
    """Moving average along the bins, the ends repeated.  (n, bins) -> (n, bins).

    A window of even size reaches one bin further up than down, as a convolution of PyTorch
    with padding "same" does.
    """
    below = (window - 1) // 2
    padded = np.pad(density, ((0, 0), (below, window - 1 - below)), mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, window, 1).mean(axis=2))


def divergence(density: Array, mean: Array, window: int, floor: float) -> Array:
    """KL(p, q) + KL(q, p) of the mean density p and the smoothed density q of each row.

    (n, bins), (bins,) -> (n,).  `floor` is added to every bin of both, which then sum to one.
    """
    p = mean + floor
    p /= p.sum()
    q = smoothed(density, window) + floor
    q /= q.sum(axis=1, keepdims=True)
    return np.asarray(((p - q) * (np.log(p) - np.log(q))).sum(axis=1))
