"""How much one method's false-positive rate differs from another's on the same rows."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.metrics.false_positives import how_chosen
from ood_toolkit.metrics.fpr_among_ties import ties_are_wide, ties_decide
from ood_toolkit.metrics.fpr_interval import local_curve, probit
from ood_toolkit.metrics.influence import moments_of
from ood_toolkit.metrics.inputs import check_share, least_count
from ood_toolkit.metrics.intervals import Interval, apart_interval, degrees_of_freedom
from ood_toolkit.metrics.ranking import Ranking
from ood_toolkit.metrics.student import student_quantile, student_two_sided
from ood_toolkit.metrics.tied_thresholds import tied_interval, tied_p_value

__all__ = ["fpr_difference"]

Array = npt.NDArray[Any]
Scores = tuple[Array, Array]

_NORMAL = NormalDist()


def fpr_difference(
    rankings: tuple[Ranking, Ranking],
    scores: tuple[Scores, Scores],
    level: float,
    tpr: float,
    rule: str,
) -> tuple[float, Interval, float]:
    """Difference of two methods' FPR, its interval, and the p-value of no difference.

    Parameters
    ----------
    rankings : two Rankings
    scores : two pairs of arrays
        (N,) ID and (M,) OOD scores that they rank, of the same rows in the same order.
    level, tpr, rule
        As of `fpr_interval`.

    Returns
    -------
    tuple
        FPR of the first minus that of the second; an interval of it; a number in [0, 1].
    """
    share = check_share("tpr", tpr)
    own = [ranking.fpr_and_reason(tpr, rule)[0] for ranking in rankings]
    difference = own[0] - own[1]
    sides = [
        _Side.of(ranking, pair, how_chosen(rule)[1])
        for ranking, pair in zip(rankings, scores, strict=True)
    ]
    if share < 1.0 and any(ties_decide(side.hits, share) for side in sides):
        return _among_ties(difference, sides, share, level)
    return _among_many(difference, sides, share, level)


class _Side(NamedTuple):
    """One method with the set that is called positive first.

    Attributes
    ----------
    hits, misses : (G + 1,) arrays of int
        Its curve.
    positives, negatives : arrays of float
        Scores by row; larger = called sooner.
    """

    hits: Array
    misses: Array
    positives: Array
    negatives: Array

    @classmethod
    def of(cls, ranking: Ranking, scores: Scores, ood_positive: bool) -> _Side:
        hits, misses = ranking.id_at_or_above, ranking.ood_at_or_above
        if ood_positive:
            hits, misses = misses[-1] - misses[::-1], hits[-1] - hits[::-1]
            return cls(hits, misses, -scores[1], -scores[0])
        return cls(hits, misses, *scores)


def _among_ties(
    difference: float, sides: list[_Side], share: float, level: float
) -> tuple[float, Interval, float]:
    positives = sides[0].positives, sides[1].positives
    negatives = sides[0].negatives, sides[1].negatives
    wide = all(ties_are_wide(side.hits, share) for side in sides)
    low, high = tied_interval(positives, negatives, share, difference, level, wide)
    p_value = tied_p_value(positives, negatives, share, 0.0, wide)
    return difference, Interval(low, high), p_value


def _among_many(
    difference: float, sides: list[_Side], share: float, level: float
) -> tuple[float, Interval, float]:
    """By the influence of the rows: a negative on its rate, a positive on the threshold.

    A positive that passes raises the threshold wanted, and lowers the rate by the slope of the
    curve there.
    """
    first, second = (_Influences.of(side, share) for side in sides)
    of_positives = first.of_positives - second.of_positives
    of_negatives = first.of_negatives - second.of_negatives
    # the slopes are estimates, whose own variance the square of a slope contains
    excess = share * (1.0 - share) * (first.of_slope + second.of_slope) / of_positives.size
    variance = max(_variance_of_mean(of_positives) - excess, 0.0) + _variance_of_mean(of_negatives)
    error = math.sqrt(variance)
    # rows on which methods disagree may be few, and the variance as unsure as they are
    moments = moments_of(of_positives, of_negatives)
    freedom = degrees_of_freedom(moments, of_positives.size, of_negatives.size)
    if error == 0.0:
        return _without_exception(difference, min(of_positives.size, of_negatives.size), level)
    reach = student_quantile(level, freedom) * error
    interval = Interval(max(difference - reach, -1.0), min(difference + reach, 1.0))
    return difference, interval, student_two_sided(difference / error, freedom)


def _without_exception(difference: float, rows: int, level: float) -> tuple[float, Interval, float]:
    """Where all rows say the same: as sure as so many of them can be."""
    if difference == 0.0:
        return difference, Interval(0.0, 0.0), 1.0
    least = min(apart_interval(1.0, rows, level).low, abs(difference))
    ends = (least, abs(difference)) if difference > 0.0 else (difference, -least)
    return difference, Interval(*ends), min(1.0, 2.0 * 0.5**rows)


class _Influences(NamedTuple):
    """What rows add to an FPR: (N,) positives, (M,) negatives; and the slope's variance."""

    of_positives: Array
    of_negatives: Array
    of_slope: float

    @classmethod
    def of(cls, side: _Side, share: float) -> _Influences:
        rows, others = side.positives.size, side.negatives.size
        rank = least_count(share, rows)
        threshold = np.partition(side.positives, rows - rank)[rows - rank]
        slope = of_slope = 0.0
        if share < 1.0:
            curve = local_curve(side.hits, side.misses, share)
            tall = _NORMAL.pdf(probit(rows * share, rows))
            slope = curve.steepness * _NORMAL.pdf(curve.level) / tall
        if slope > 0.0:
            # negatives between neighbouring positives are geometric in number; a line through
            # K sums of such numbers has 6/5 of the variance of their mean
            between = slope * others / rows
            of_slope = 1.2 * slope**2 * (1.0 + 1.0 / between) / max(curve.gaps, 1)
        passes = side.positives >= threshold
        return cls(-slope * passes, 1.0 * (side.negatives >= threshold), of_slope)


def _variance_of_mean(values: Array) -> float:
    return float(values.var(ddof=1)) / values.size if values.size > 1 else 0.0
