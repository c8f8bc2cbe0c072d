"""How sure an AUROC is, by DeLong's variance."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.ranking import Ranking

__all__ = [
    "Interval",
    "auroc_interval",
    "delong_interval",
    "normal_quantile",
]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def auroc_interval(id_scores: Any, ood_scores: Any, level: float = 0.95) -> Interval:
    """Confidence interval of the AUROC by DeLong's variance, on the logit scale.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        Within [0, 1]; the AUROC itself twice where the sets do not overlap, because then
        the variance is 0; NaN, with a warning, where a set has fewer than two scores.

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
    (0.348, 0.996)
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
    z = normal_quantile(level)
    variance = ranking.auroc_variance()
    if math.isnan(variance):
        return Interval(math.nan, math.nan)
    auroc = ranking.auroc()
    if variance == 0.0 or auroc in (0.0, 1.0):
        return Interval(auroc, auroc)
    logit = math.log(auroc / (1.0 - auroc))
    reach = z * math.sqrt(variance) / (auroc * (1.0 - auroc))
    low, high = (1.0 / (1.0 + math.exp(-(logit + side * reach))) for side in (-1.0, 1.0))
    return Interval(low, high)


def normal_quantile(level: float) -> float:
    """Standard normal quantile that leaves (1 - level) / 2 above it."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + 0.5 * level)
