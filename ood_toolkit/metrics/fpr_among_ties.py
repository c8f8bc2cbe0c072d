"""Which false-positive rates may be the one wanted, where positives tie in large groups."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.likelihood import deviances
from ood_toolkit.metrics.intervals import normal_quantile

__all__ = ["likely_ranks", "quantile_of_range", "rates_of_ties", "ties_are_wide", "ties_decide"]

Array = npt.NDArray[Any]

_NORMAL = NormalDist()
_WINDOW = 3.0  # deviations of the number of positives about the threshold
_WIDE = 3.0  # deviations that a group holds beside which at most one other is likely
_HALVINGS = 60


def likely_ranks(rows: int, share: float) -> Array:
    """Numbers of positives that may reach the threshold wanted; at least one."""
    wanted, reach = rows * share, _WINDOW * math.sqrt(rows * share * (1.0 - share))
    # below the last positive nothing says where its gap ends
    last = max(1, min(rows - 1, math.ceil(wanted + reach)))
    return np.arange(min(last, max(1, math.floor(wanted - reach))), last + 1)


def ties_decide(hits: Array, share: float) -> bool:
    """Whether positives near the threshold tie in groups larger than their number is sure.

    Parameters
    ----------
    hits : (G + 1,) array of int
        Positives at or above each threshold.
    share : float
        Of the positives, in (0, 1), that reach the threshold wanted.
    """
    deviation = math.sqrt(int(hits[-1]) * share * (1.0 - share))
    entries = np.searchsorted(hits, likely_ranks(int(hits[-1]), share))
    return bool((hits[entries] - hits[entries - 1]).max() > max(1.0, deviation))


def ties_are_wide(hits: Array, share: float) -> bool:
    """Whether the group wanted is so large that at most one other may be it.

    Parameters
    ----------
    hits, share
        As of `ties_decide`.
    """
    rows = int(hits[-1])
    own = int(np.searchsorted(hits, rows * share))
    return bool(hits[own] - hits[own - 1] > _WIDE * math.sqrt(rows * share * (1.0 - share)))


def rates_of_ties(hits: Array, misses: Array, share: float, level: float) -> tuple[Array, Array]:
    """Negatives at or above each likely threshold, and how large their deviance may be.

    A group of tied positives is the threshold wanted if a share below `share` of all positives
    lies above it, and one of at least `share` at or above; only what the counts say against
    either counts.  Narrow groups are almost a curve: what the positives say against one is
    taken from what its negatives may deviate.  Of wide ones at most two may be the one wanted.
    Both are then held until half of what may go wrong speaks against one, and as the truth is
    near one end only, that end may miss it with all of what may go wrong rather than half.

    Parameters
    ----------
    hits, misses : (G + 1,) arrays of int
        The curve, from the strictest threshold down.
    share : float
        In (0, 1).
    level : float
        In (0, 1).

    Returns
    -------
    tuple of arrays
        Both (K,) float64.

    References
    ----------
    Ends of an interval of two candidates: Imbens & Manski, Econometrica 2004.
    """
    entries = np.flatnonzero(np.diff(hits)) + 1
    above, reached = hits[entries - 1], hits[entries]
    wanted = int(hits[-1]) * share
    against = np.where(reached < wanted, reached, np.where(above >= wanted, above, wanted))
    used = deviances(against.astype(np.float64), int(hits[-1]), share)
    wide = ties_are_wide(hits, share)
    limit = normal_quantile(0.5 + 0.5 * level if wide else level) ** 2
    kept = used <= limit
    counts = misses[entries[kept]].astype(np.float64)
    if not wide:
        return counts, limit - used[kept]
    rows = int(misses[-1])
    rates = (counts[[0, -1]] + 0.5) / (rows + 1)  # of none or all the deviation is not 0
    deviation = math.sqrt(float((rates * (1.0 - rates)).max()) / rows)
    reach = quantile_of_range(level, float(rates[1] - rates[0]) / deviation)
    return counts, np.full(counts.size, reach**2)


def quantile_of_range(level: float, width: float) -> float:
    """How many deviations beyond its ends a range holds either end with probability `level`.

    Parameters
    ----------
    level : float
        In (0, 1).
    width : float
        Of the range, in deviations; at least 0.

    Returns
    -------
    float
        The two-sided normal quantile of a range without width, the one-sided of a wide one.

    Examples
    --------
    >>> round(quantile_of_range(0.95, 0.0), 3), round(quantile_of_range(0.95, 9.0), 3)
    (1.96, 1.645)
    """
    near, far = 0.0, normal_quantile(level)
    for _ in range(_HALVINGS):
        middle = 0.5 * (near + far)
        if _NORMAL.cdf(middle + width) - _NORMAL.cdf(-middle) < level:
            near = middle
        else:
            far = middle
    return far
