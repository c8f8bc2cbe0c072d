"""How sure a false-positive rate at a true-positive rate is, by the likelihood ratio."""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.likelihood import counts_at_roots, widest_ends
from ood_toolkit.metrics.false_positives import how_chosen
from ood_toolkit.metrics.fpr_among_ties import likely_ranks, rates_of_ties, ties_decide
from ood_toolkit.metrics.inputs import check_share, undefined
from ood_toolkit.metrics.intervals import Interval, normal_quantile
from ood_toolkit.metrics.ranking import Ranking

__all__ = [
    "LocalCurve",
    "fpr_interval",
    "local_curve",
    "probit",
    "rows_needed",
]

Array = npt.NDArray[Any]

_NORMAL = NormalDist()
_DIRECTIONS = 17  # in which the likelihood falls, from the threshold alone to the rate alone


def fpr_interval(
    ranking: Ranking, level: float = 0.95, tpr: float = 0.95, rule: str = "id_positive"
) -> Interval:
    """Confidence interval of the FPR at a TPR, by the likelihood ratio of both sets.

    A rate is in the interval if some threshold makes it likely: the number of positives that
    reach the threshold is binomial with share `tpr`, the number of negatives that reach it
    binomial with the rate, and the deviances of both together are at most the quantile of
    chi-squared with one degree of freedom.  Between thresholds the curve is taken to be normal
    on both axes (binormal) near the point, which smooths its steps.  Where the positives tie in
    large groups, so that the rate jumps, each group is a threshold of its own.  Where a group
    holds more than three deviations of the number of positives that reach the threshold, the
    interval covers almost as often as elsewhere.  Where groups are narrower, no row says which of
    three or more the wanted one is, and it covers more often than `level`, up to four fifths of
    the way from there to 1.

    Parameters
    ----------
    ranking : Ranking
        The scores.
    level : float
        In (0, 1).
    tpr, rule
        As of `Ranking.fpr_at_tpr`.  Rules that read other points of a curve with ties estimate
        the same rate; their own figure is always in the interval.

    Returns
    -------
    Interval
        In [0, 1]; NaN, with a warning, where the FPR is.  With fewer positives than
        `rows_needed` all may lie above the threshold wanted: the interval then ends at 1, with
        a warning.

    Raises
    ------
    InputError
        If `level` or `tpr` is out of range.
    UnknownName
        If there is no such rule.

    References
    ----------
    The likelihood ratio: Claeskens, Jing, Peng & Zhou, Canadian Journal of Statistics 2003.
    The binormal curve: Dorfman & Alf, Journal of Mathematical Psychology 1969.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ranking = Ranking.of(rng.normal(3, 1, 500), rng.normal(0, 1, 500))
    >>> low, high = fpr_interval(ranking)
    >>> low < ranking.fpr_at_tpr() < high
    True
    """
    limit = normal_quantile(level) ** 2
    share = check_share("tpr", tpr)
    fpr, reason = ranking.fpr_and_reason(tpr, rule)
    if reason:
        nan = undefined("interval of the FPR", reason)
        return Interval(nan, nan)
    hits, misses = ranking.id_at_or_above, ranking.ood_at_or_above
    if how_chosen(rule)[1]:
        hits, misses = misses[-1] - misses[::-1], hits[-1] - hits[::-1]
    rows, others = int(hits[-1]), int(misses[-1])
    counts, limits = _thresholds(hits, misses, share, level)
    beyond = -2.0 * rows * math.log(share)  # deviance of a threshold that all positives reach
    if beyond <= limit:
        if share < 1.0:
            warnings.warn(
                f"interval of the FPR: {rows} rows of the positive set cannot bound it from "
                f"above, which takes {rows_needed(share, level)}; it ends at 1",
                ToolkitWarning,
                stacklevel=2,
            )
        counts, limits = np.append(counts, float(others)), np.append(limits, limit - beyond)
    low, high = widest_ends(counts, others, limits)
    return Interval(min(low, fpr), max(high, fpr))


def rows_needed(tpr: float, level: float = 0.95) -> int:
    """Fewest positives whose scores bound an FPR at a TPR from above.

    Below, a threshold that they all reach may be one that a share `tpr` of all positives
    reaches.

    Examples
    --------
    >>> rows_needed(0.95)
    38
    """
    return math.floor(normal_quantile(level) ** 2 / (-2.0 * math.log(tpr))) + 1


def _thresholds(hits: Array, misses: Array, share: float, level: float) -> tuple[Array, Array]:
    """Negatives at or above each likely threshold, and how large their deviance may be.

    Both (K,) float64.  The curve is (G + 1,) counts, from the strictest threshold down.
    """
    rows, others = int(hits[-1]), int(misses[-1])
    limit = normal_quantile(level) ** 2
    if share == 1.0:  # no threshold but one that all positives reach
        return np.array([float(misses[np.searchsorted(hits, rows)])]), np.array([limit])
    if ties_decide(hits, share):
        return rates_of_ties(hits, misses, share, level)
    point = local_curve(hits, misses, share)
    angles = np.linspace(-0.5 * math.pi, 0.5 * math.pi, _DIRECTIONS)
    roots = math.sqrt(limit) * np.sin(angles)
    across = _probits(counts_at_roots(roots, rows, share), rows) - probit(rows * share, rows)
    shares = np.array([_NORMAL.cdf(point.level + point.steepness * x) for x in across])
    return np.clip(shares * (others + 1) - 0.5, 0.0, others), limit - roots**2


class LocalCurve(NamedTuple):
    """The curve near the point where a share of the positives is called, on normal axes.

    Attributes
    ----------
    level : float
        Probit of the share of the negatives.
    steepness : float
        By how much it rises with the probit of the share of the positives.
    gaps : int
        Between how many neighbouring positives it was found.
    """

    level: float
    steepness: float
    gaps: int


def local_curve(hits: Array, misses: Array, share: float) -> LocalCurve:
    """Line through the steps of a curve near a share of the positives, on normal axes.

    Parameters
    ----------
    hits, misses : (G + 1,) arrays of int
        The curve, from the strictest threshold down.
    share : float
        In (0, 1).
    """
    rows, others = int(hits[-1]), int(misses[-1])
    ranks = likely_ranks(rows, share)
    # a threshold that k positives reach lies between the k-th and the one below it
    below = np.minimum(ranks + 1, rows)
    reached = misses[np.searchsorted(hits, ranks)] + misses[np.searchsorted(hits, below)]
    middle = 0.5 * reached
    across, up = _probits(ranks, rows), _probits(middle, others)
    centred = across - across.mean()
    square = float(centred @ centred)
    steepness = max(0.0, float(centred @ up) / square) if square > 0.0 else 0.0
    level = probit(float(np.interp(rows * share, ranks, middle)), others)
    return LocalCurve(level, steepness, len(ranks) - 1)


def probit(count: float, rows: int) -> float:
    """Normal quantile of a count of so many rows; finite for none and for all."""
    return _NORMAL.inv_cdf((count + 0.5) / (rows + 1))


def _probits(counts: Array, rows: int) -> Array:
    return np.array([probit(float(count), rows) for count in counts])
