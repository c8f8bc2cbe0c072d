"""How sure an AUROC is, by DeLong's variance."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.area_moments import auroc_moments
from ood_toolkit.metrics.ranking import Ranking
from ood_toolkit.metrics.student import student_quantile

__all__ = [
    "Interval",
    "apart_interval",
    "auroc_interval",
    "degrees_of_freedom",
    "delong_interval",
    "interval_of_logits",
    "logit_interval",
    "normal_quantile",
    "variance_of_moments",
    "variance_of_variance",
]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def auroc_interval(id_scores: Any, ood_scores: Any, level: float = 0.95) -> Interval:
    """Confidence interval of the AUROC by DeLong's variance, on the logit scale.

    The quantile is Student's, since the variance itself is an estimate, and an unsure one near
    an AUROC of 1, where few rows decide it.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        Within [0, 1]; where the sets do not overlap, so that the variance is 0, that of
        `apart_interval`; NaN, with a warning, where a set has fewer than two scores.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers or holds NaN, or `level` is not in
        (0, 1).

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988; for the scale Pepe, The Statistical
    Evaluation of Medical Tests, 2003.

    Examples
    --------
    >>> low, high = auroc_interval([0.9, 0.8, 0.4, 0.7], [0.5, 0.1, 0.3])
    >>> round(low, 3), round(high, 3)
    (0.298, 0.996)
    """
    return delong_interval(Ranking.of(id_scores, ood_scores), level)


def delong_interval(ranking: Ranking, level: float = 0.95) -> Interval:
    """Confidence interval of the AUROC of scores that are ranked already, by DeLong.

    Parameters
    ----------
    ranking : Ranking
        The scores.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        As `auroc_interval` gives it.

    Raises
    ------
    InputError
        If `level` is out of range.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988.

    Examples
    --------
    >>> low, high = delong_interval(Ranking.of([0.9, 0.8, 0.4], [0.5, 0.1, 0.3]))
    >>> low < 8 / 9 < high
    True
    """
    normal_quantile(level)
    variance = ranking.auroc_variance()
    if math.isnan(variance):
        return Interval(math.nan, math.nan)
    auroc = ranking.auroc()
    if auroc in (0.0, 1.0):
        return apart_interval(auroc, min(ranking.n_id, ranking.n_ood), level)
    if variance == 0.0:
        return Interval(auroc, auroc)
    moments = auroc_moments(ranking.id_at_or_above, ranking.ood_at_or_above, auroc)
    times = student_quantile(level, degrees_of_freedom(moments, ranking.n_id, ranking.n_ood))
    return logit_interval(auroc, times * math.sqrt(variance) / (auroc * (1.0 - auroc)))


def apart_interval(auroc: float, rows: int, level: float = 0.95) -> Interval:
    """Confidence interval of the AUROC of sets that do not overlap.

    Of two such sets, as many disjoint pairs as the smaller has rows are all in the same order,
    whose probability is at most the AUROC to that power, and is that power where a share of the
    smaller set lies on the wrong side of the other.

    Parameters
    ----------
    auroc : float
        0 or 1.
    rows : int
        Of the smaller set.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        From the AUROC to the last one that such sets have with a probability of
        (1 - level) / 2.

    Examples
    --------
    >>> low, high = apart_interval(1.0, 100)
    >>> round(low, 4), high
    (0.9638, 1.0)
    """
    least = (0.5 * (1.0 - level)) ** (1.0 / rows)
    return Interval(least, 1.0) if auroc == 1.0 else Interval(0.0, 1.0 - least)


def logit_interval(area: float, reach: float) -> Interval:
    """Interval of an area inside (0, 1) that reaches so far on either side of its logit."""
    return interval_of_logits(math.log(area / (1.0 - area)), reach)


def interval_of_logits(middle: float, reach: float) -> Interval:
    """Shares whose logits lie within `reach` of the middle."""
    low, high = (_share(middle + side * reach) for side in (-1.0, 1.0))
    return Interval(low, high)


def _share(logit: float) -> float:
    if logit < 0.0:  # so that nothing overflows far out
        return math.exp(logit) / (1.0 + math.exp(logit))
    return 1.0 / (1.0 + math.exp(-logit))


def degrees_of_freedom(moments: tuple[float, float, float, float], n_id: int, n_ood: int) -> float:
    """How sure the variance of an estimate is: degrees of freedom for Student's t.

    The variance is the sum of that of the ID rows and that of the OOD rows.  Either is as sure
    as its rows are many and their values' tails are thin; heavy tails, such as those of the
    components of an AUROC near 1, leave few degrees of freedom.

    Parameters
    ----------
    moments : tuple of float
        Mean square and mean fourth power of the centred influence of an ID row on the
        estimate, then of an OOD row.
    n_id, n_ood : int
        Rows.  A set of one has no variance, and counts for none.

    Returns
    -------
    float
        Above 0; infinite where the variance is 0.

    References
    ----------
    Satterthwaite, Biometrics Bulletin 1946; with kurtosis O'Neill, The American Statistician
    2014.

    Examples
    --------
    >>> round(degrees_of_freedom((1.0, 3.0, 0.0, 0.0), 101, 50), 1)
    103.0
    """
    unsureness = sum(
        variance_of_variance(square, fourth, n)
        for n, square, fourth in ((n_id, *moments[:2]), (n_ood, *moments[2:]))
        if n > 1
    )
    variance = variance_of_moments(moments, n_id, n_ood)
    return 2.0 * variance**2 / unsureness if unsureness > 0.0 else math.inf


def variance_of_moments(moments: tuple[float, float, float, float], n_id: int, n_ood: int) -> float:
    """Variance of an estimate, from the moments that `degrees_of_freedom` takes.

    Examples
    --------
    >>> variance_of_moments((1.0, 3.0, 0.5, 0.75), 101, 51)
    0.02
    """
    sides = ((n_id, moments[0]), (n_ood, moments[2]))
    return sum(square / (n - 1) for n, square in sides if n > 1)


def variance_of_variance(square: float, fourth: float, n: int) -> float:
    """Variance of the estimated variance of a mean of n > 1 values, from their mean powers."""
    of_values = square * n / (n - 1)
    return max(fourth - of_values**2 * (n - 3) / (n - 1), 0.0) / float(n) ** 3


def normal_quantile(level: float) -> float:
    """Standard normal quantile that leaves (1 - level) / 2 above it."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + 0.5 * level)
