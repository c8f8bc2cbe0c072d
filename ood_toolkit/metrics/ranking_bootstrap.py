"""Intervals of every ranking metric, from scores that are sorted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.area_moments import auroc_moments, precision_moments
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.ranking import TieGroups
from ood_toolkit.kernels.resampled_areas import resampled_areas, standings
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.metrics.fpr_interval import fpr_interval
from ood_toolkit.metrics.inputs import check_choice
from ood_toolkit.metrics.intervals import (
    Interval,
    degrees_of_freedom,
    logit_interval,
    normal_quantile,
)
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, Ranking
from ood_toolkit.metrics.student import student_quantile

__all__ = [
    "AREAS",
    "METRICS",
    "bootstrap_intervals",
    "bootstrap_intervals_of",
    "bootstrap_states",
    "drawn_areas",
    "joint_freedom",
]

Array = npt.NDArray[Any]

METRICS = ("auroc", "fpr", "aupr_in", "aupr_out")
"""What there are intervals of."""
AREAS = ("auroc", "aupr_in", "aupr_out")
"""What a resample is measured by."""
_BLOCK = 64


def bootstrap_intervals(
    ranking: Ranking,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
    rule: str = "id_positive",
    estimator: str = "step",
) -> dict[str, Interval]:
    """Intervals of AUROC and AUPR by a stratified bootstrap, and of the FPR by likelihood.

    ID and OOD rows are drawn with replacement from their own set.  The interval of an area is
    one of Student's t on the logit scale, with the deviation that the resamples show there:
    percentiles cover too seldom near 1, and so do normal quantiles where few rows decide the
    area.  The interval of the FPR is that of `fpr_interval`, without resamples.  The scores are
    never sorted again; the same seed gives the same intervals whatever the number of threads.

    Parameters
    ----------
    ranking : Ranking
        The scores.
    resamples : int
        How many, at least 2.
    seed : int
        Not negative.
    level : float
        In (0, 1).
    tpr, rule, estimator
        As of `Ranking.fpr_at_tpr` and `Ranking.aupr_in`.

    Returns
    -------
    dict of str to Interval
        Of "auroc", "fpr", "aupr_in" and "aupr_out"; NaN, with a warning, where a set is
        empty or the metric is undefined.

    Raises
    ------
    InputError
        If `resamples`, `seed`, `level` or `tpr` is out of range.
    UnknownName
        If there is no such rule or estimator.

    References
    ----------
    Efron, Annals of Statistics 1979; for the scale Boyd, Eng & Page, ECML PKDD 2013.

    Examples
    --------
    >>> ranking = Ranking.of(np.linspace(0.4, 1.0, 50), np.linspace(0.0, 0.6, 40))
    >>> low, high = bootstrap_intervals(ranking, resamples=200)["aupr_in"]
    >>> low < ranking.aupr_in() < high < 1
    True
    """
    return bootstrap_intervals_of([ranking], resamples, seed, level, tpr, rule, estimator)[0]


def bootstrap_intervals_of(
    rankings: Sequence[Ranking],
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
    rule: str = "id_positive",
    estimator: str = "step",
    wanted: Sequence[str] = METRICS,
) -> list[dict[str, Interval]]:
    """Intervals of several pairs of sets; those of the same sizes share what is drawn.

    Parameters
    ----------
    rankings : sequence of Ranking
        The scores.
    resamples, seed, level, tpr, rule, estimator
        As of `bootstrap_intervals`.
    wanted : sequence of str
        Of which metrics.

    Returns
    -------
    list of dict
        What `bootstrap_intervals` gives of these metrics for each, to the last bit.

    Raises
    ------
    InputError
        If `resamples`, `seed`, `level` or `tpr` is out of range.
    UnknownName
        If there is no such rule or estimator.

    Examples
    --------
    >>> inside, far, near = np.linspace(0.4, 1.0, 50), [0.5, 0.1, 0.3], [0.6, 0.7, 0.8]
    >>> rankings = [Ranking.of(inside, far), Ranking.of(inside, near)]
    >>> bootstrap_intervals_of(rankings, 50)[0] == bootstrap_intervals(rankings[0], 50)
    True
    """
    normal_quantile(level)
    states = bootstrap_states(resamples, seed)
    check_choice("AUPR estimator", estimator, AUPR_ESTIMATORS)
    alike: dict[tuple[int, int], list[int]] = {}
    for k, ranking in enumerate(rankings):
        alike.setdefault((ranking.n_id, ranking.n_ood), []).append(k)
    found: dict[int, dict[str, Interval]] = {}
    for sizes, members in alike.items():
        some = [rankings[k] for k in members]
        of_fpr = [fpr_interval(ranking, level, tpr, rule) for ranking in some]
        if 0 in sizes:
            found.update((k, dict.fromkeys(wanted, of_fpr[0])) for k in members)
            continue
        drawn = drawn_areas(some, states, estimator, with_auroc="auroc" in wanted)
        for k, ranking, fpr, figures in zip(members, some, of_fpr, drawn, strict=True):
            areas = _areas(ranking, figures, level, estimator, wanted)
            found[k] = {name: fpr if name == "fpr" else areas[name] for name in wanted}
    return [found[k] for k in range(len(rankings))]


def bootstrap_states(resamples: int, seed: int) -> Array:
    """Where the random numbers of each resample begin: (R,) uint64.

    Raises
    ------
    InputError
        If `resamples` or `seed` is out of range.
    """
    if int(resamples) != resamples or resamples < 2:
        raise InputError(f"resamples is {resamples}; it must be a whole number of 2 or more")
    if int(seed) != seed or seed < 0:
        raise InputError(f"seed is {seed}; it must be a whole number of 0 or more")
    return np.random.SeedSequence(int(seed)).generate_state(int(resamples), np.uint64)


def drawn_areas(
    rankings: Sequence[Ranking],
    states: Array,
    estimator: str,
    rows: Sequence[tuple[Array, Array]] = (),
    with_auroc: bool = True,
) -> Array:
    """AUROC, AUPR-in and AUPR-out of pairs of one size in each resample: (P, R, 3).

    The AUROC may be NaN where it is not wanted.  With `rows`, the rows of the sorted ID and OOD
    scores of each pair, a state draws the same rows whatever their scores are.
    """
    curves = [TieGroups(r.id_at_or_above, r.ood_at_or_above) for r in rankings]
    places = [] if estimator == "trapezoid" else [standings(curve) for curve in curves]
    values = np.empty((len(curves), states.size, len(AREAS)))

    def measure(start: int, stop: int) -> None:
        some = states[start:stop]
        values[:, start:stop] = resampled_areas(curves, places, some, with_auroc, rows)

    measure(0, 1)  # compiled by one thread before others need it
    share_out(measure, states.size, _BLOCK, thread_count())
    return values


def joint_freedom(freedom: float, resamples: int) -> float:
    """Degrees of freedom where a deviation is itself found from so many resamples."""
    return 1.0 / (1.0 / freedom + 1.0 / (resamples - 1))


def _areas(
    ranking: Ranking, drawn: Array, level: float, estimator: str, wanted: Sequence[str]
) -> dict[str, Interval]:
    """Intervals of the areas of a pair whose resamples had those of (R, 3)."""
    inside, outside = ranking.id_at_or_above, ranking.ood_at_or_above
    n, m = ranking.n_id, ranking.n_ood
    intervals = {}
    for name in (name for name in AREAS if name in wanted):
        # how sure a variance is hardly depends on the estimator
        if name == "auroc":
            area, finest = ranking.auroc(), n * m
            freedom = degrees_of_freedom(auroc_moments(inside, outside, area), n, m)
        elif name == "aupr_in":
            area, finest = ranking.aupr_in(estimator), n
            moments = precision_moments(inside, outside, False, ranking.aupr_in())
            freedom = degrees_of_freedom(moments, n, m)
        else:
            area, finest = ranking.aupr_out(estimator), m
            moments = precision_moments(outside, inside, True, ranking.aupr_out())
            freedom = degrees_of_freedom(moments, m, n)
        times = student_quantile(level, joint_freedom(freedom, len(drawn)))
        intervals[name] = _on_logit_scale(area, drawn[:, AREAS.index(name)], times, 0.5 / finest)
    return intervals


def _on_logit_scale(area: float, drawn: Array, times: float, margin: float) -> Interval:
    """Interval of an area in [0, 1] of so many deviations of its resampled logits.

    Areas nearer to 0 or 1 than `margin`, half of what one pair or row counts, are taken to lie
    there, so that their logits are finite.
    """
    if area in (0.0, 1.0) or drawn.min() == drawn.max():
        return Interval(area, area)
    inside = np.clip(drawn, margin, 1.0 - margin)
    reach = times * float(np.log(inside / (1.0 - inside)).std(ddof=1))
    low, high = logit_interval(min(max(area, margin), 1.0 - margin), reach)
    return Interval(min(low, area), max(high, area))
