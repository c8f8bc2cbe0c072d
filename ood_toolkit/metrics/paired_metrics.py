"""Methods against one of them on the same rows, by any ranking metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.false_positives import SWEPT, how_chosen
from ood_toolkit.metrics.fpr_difference import fpr_difference
from ood_toolkit.metrics.influence import area_influences, moments_of
from ood_toolkit.metrics.inputs import as_scores, check_choice
from ood_toolkit.metrics.intervals import (
    Interval,
    degrees_of_freedom,
    normal_quantile,
    variance_of_moments,
)
from ood_toolkit.metrics.paired import MetricDifference
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, Ranking
from ood_toolkit.metrics.ranking_bootstrap import (
    AREAS,
    METRICS,
    Logits,
    bootstrap_states,
    drawn_areas,
    resampled_logits,
)
from ood_toolkit.metrics.student import student_quantile, student_two_sided

__all__ = ["bootstrap_differences"]

Array = npt.NDArray[Any]


def bootstrap_differences(
    methods: Mapping[str, tuple[Any, Any]],
    against: str,
    metric: str = "fpr",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
    rule: str = "id_positive",
    estimator: str = "step",
) -> dict[str, MetricDifference]:
    """Paired comparison of methods' AUROC, FPR or AUPR with one of them.

    Areas are compared by Student's t, the test on the logit scale, the interval on that of the
    area.  The difference is less its bias, as the bootstrap shows it: the same ID and OOD rows
    are drawn for every method, each set with replacement on its own.  The deviation is that of
    the rows' influence on both areas.  FPRs are compared without resamples, by the rows'
    influence on either threshold and rate; where scores tie in large groups, so that the FPR
    jumps, by the likelihood of both sets' tables: too seldom where methods agree in every group
    that may hold the threshold.  The interval is then the range of all differences that are not
    ruled out, and may reach over some that are.

    Parameters
    ----------
    methods : mapping of str to two arrays
        (N,) ID and (M,) OOD scores of each method, for the same rows in the same order.
    against : str
        The method that the others are compared with.
    metric : str
        "auroc", "fpr", "aupr_in" or "aupr_out".
    resamples, seed, level, tpr, rule, estimator
        As of `bootstrap_intervals`.

    Returns
    -------
    dict of str to MetricDifference
        Of every other method.

    Raises
    ------
    InputError
        If the numbers of rows differ, a set is empty, an array holds NaN, a number is out of
        range, or the rule is the swept one of ODIN.

    References
    ----------
    The bootstrap and the infinitesimal jackknife: Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993.  The degrees of freedom: Satterthwaite, Biometrics Bulletin 1946.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> good = rng.normal(2, 1, 200), rng.normal(0, 1, 200)
    >>> poor = good[0] + rng.normal(0, 3, 200), good[1] + rng.normal(0, 3, 200)
    >>> found = bootstrap_differences({"good": good, "poor": poor}, "good", resamples=100)
    >>> found["poor"].difference > 0.3, found["poor"].p_value < 0.001
    (True, True)
    """
    normal_quantile(level)
    if against not in methods or metric not in METRICS:
        known = methods if against not in methods else METRICS
        raise InputError(f"{against if against not in methods else metric} is none of "
                         f"{', '.join(known)}")  # fmt: skip
    if metric == "fpr" and how_chosen(rule)[0] == SWEPT:
        raise InputError(f"the sweep of rule {rule} has no paired bootstrap; choose another rule")
    check_choice("AUPR estimator", estimator, AUPR_ESTIMATORS)
    states = bootstrap_states(resamples, seed)
    rankings = {name: Ranking.of(*scores) for name, scores in methods.items()}
    sizes = {(r.n_id, r.n_ood) for r in rankings.values()}
    if len(sizes) > 1 or 0 in next(iter(sizes)):
        raise InputError(f"the methods must score the same rows, at least one a set: {sizes}")
    scores = {
        name: (as_scores("ID scores", pair[0]), as_scores("OOD scores", pair[1]))
        for name, pair in methods.items()
    }
    others = [name for name in methods if name != against]
    if metric == "fpr":
        return {
            name: MetricDifference(
                *fpr_difference(
                    (rankings[name], rankings[against]), (scores[name], scores[against]),
                    level, tpr, rule,
                )
            )
            for name in others
        }  # fmt: skip
    order = {
        name: (np.argsort(pair[0])[::-1], np.argsort(pair[1])[::-1])
        for name, pair in scores.items()
    }
    drawn = drawn_areas(list(rankings.values()), states, estimator, list(order.values()))
    areas = {
        name: _Area.of(rankings[name], order[name], figures, metric, estimator)
        for name, figures in zip(rankings, drawn, strict=True)
    }
    return {name: _difference(areas[name], areas[against], level) for name in others}


class _Area(NamedTuple):
    """An area, what resamples gave for it, and what the rows add to it, in their own order.

    Attributes
    ----------
    value, bias : float
        The latter is by how much the mean of resamples lies above it.
    logits : Logits
    of_id, of_ood : (N,), (M,) arrays of float64
        Influence values.
    """

    value: float
    bias: float
    logits: Logits
    of_id: Array
    of_ood: Array

    @classmethod
    def of(
        cls,
        ranking: Ranking,
        order: tuple[Array, Array],
        figures: Array,
        metric: str,
        estimator: str,
    ) -> _Area:
        n, m = ranking.n_id, ranking.n_ood
        value, finest = {
            "auroc": lambda: (ranking.auroc(), n * m),
            "aupr_in": lambda: (ranking.aupr_in(estimator), n),
            "aupr_out": lambda: (ranking.aupr_out(estimator), m),
        }[metric]()
        drawn = figures[:, AREAS.index(metric)]
        sorted_id, sorted_ood = area_influences(ranking, metric, estimator)
        of_id, of_ood = np.empty(n), np.empty(m)
        of_id[order[0]], of_ood[order[1]] = sorted_id, sorted_ood
        logits = resampled_logits(value, drawn, finest)
        return cls(value, float(drawn.mean()) - value, logits, of_id, of_ood)


def _difference(one: _Area, other: _Area, level: float) -> MetricDifference:
    difference = one.value - other.value
    error, freedom = _spread(one, other, 1.0, 1.0)
    middle, reach = difference - (one.bias - other.bias), student_quantile(level, freedom) * error
    interval = Interval(min(middle - reach, difference), max(middle + reach, difference))
    a, b = one.logits, other.logits
    error, freedom = _spread(one, other, a.slope, b.slope)
    if error == 0.0:
        return MetricDifference(difference, interval, 1.0 if difference == 0.0 else 0.0)
    t = (a.value - a.bias - (b.value - b.bias)) / error
    return MetricDifference(difference, interval, student_two_sided(t, freedom))


def _spread(one: _Area, other: _Area, slope: float, other_slope: float) -> tuple[float, float]:
    """Deviation, and its degrees of freedom, of the difference of areas times their slopes."""
    moments = moments_of(
        slope * one.of_id - other_slope * other.of_id,
        slope * one.of_ood - other_slope * other.of_ood,
    )
    sizes = len(one.of_id), len(one.of_ood)
    return math.sqrt(variance_of_moments(moments, *sizes)), degrees_of_freedom(moments, *sizes)
