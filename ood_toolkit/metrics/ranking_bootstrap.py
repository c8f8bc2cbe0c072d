"""Intervals of every ranking metric, from scores that are sorted once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    apart_interval,
    degrees_of_freedom,
    interval_of_logits,
    normal_quantile,
    variance_of_moments,
)
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, Ranking
from ood_toolkit.metrics.student import student_quantile

__all__ = [
    "AREAS",
    "METRICS",
    "Logits",
    "bootstrap_intervals",
    "bootstrap_intervals_of",
    "bootstrap_states",
    "drawn_areas",
    "resampled_logits",
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
    one of Student's t on the logit scale.  Its middle is the area less its bias, which the
    resamples show: an AUPR of few rows is too large.  Its deviation is that of the rows'
    influence on the area, the infinitesimal jackknife, since logits of resampled areas spread
    too far near 1.  The interval of the FPR is that of `fpr_interval`, without resamples.  The
    scores are never sorted again; the same seed gives the same intervals whatever the number
    of threads.

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
    The bootstrap: Efron, Annals of Statistics 1979.  The infinitesimal jackknife: Jaeckel, Bell
    Laboratories 1972.  The scale: Boyd, Eng & Page, ECML PKDD 2013.

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


class Logits(NamedTuple):
    """An area on the logit scale.

    Attributes
    ----------
    value : float
    bias : float
        By how much the mean of resamples lies above it.
    slope : float
        By how much the logit rises, a unit of area.
    """

    value: float
    bias: float
    slope: float


def resampled_logits(area: float, drawn: Array, finest: int) -> Logits:
    """An area in [0, 1] and (R,) of its resamples, where a row or pair counts 1 / `finest`.

    Areas nearer to 0 or 1 than half of that are taken to lie there, so that logits are finite.
    """
    margin = 0.5 / finest
    inside = np.clip(drawn, margin, 1.0 - margin)
    own = min(max(area, margin), 1.0 - margin)
    value = math.log(own / (1.0 - own))
    bias = float(np.log(inside / (1.0 - inside)).mean()) - value
    return Logits(value, bias, 1.0 / (own * (1.0 - own)))


def _areas(
    ranking: Ranking, drawn: Array, level: float, estimator: str, wanted: Sequence[str]
) -> dict[str, Interval]:
    """Intervals of the areas of a pair whose resamples had those of (R, 3)."""
    inside, outside = ranking.id_at_or_above, ranking.ood_at_or_above
    n, m = ranking.n_id, ranking.n_ood
    by_lines = estimator == "trapezoid"
    intervals = {}
    for name in (name for name in AREAS if name in wanted):
        if name == "auroc":
            area, sizes, finest = ranking.auroc(), (n, m), n * m
            moments = auroc_moments(inside, outside, area)
        elif name == "aupr_in":
            area, sizes, finest = ranking.aupr_in(estimator), (n, m), n
            moments = precision_moments(inside, outside, False, by_lines, area)
        else:
            area, sizes, finest = ranking.aupr_out(estimator), (m, n), m
            moments = precision_moments(outside, inside, True, by_lines, area)
        variance = variance_of_moments(moments, *sizes)
        if area in (0.0, 1.0):
            found = apart_interval(area, min(sizes), level)
            intervals[name] = found if name == "auroc" else _apart_precision(*sizes, level)
            continue
        if variance == 0.0:
            intervals[name] = Interval(area, area)
            continue
        logits = resampled_logits(area, drawn[:, AREAS.index(name)], finest)
        times = student_quantile(level, degrees_of_freedom(moments, *sizes))
        low, high = interval_of_logits(
            logits.value - logits.bias, times * math.sqrt(variance) * logits.slope
        )
        intervals[name] = Interval(min(low, area), max(high, area))
    return intervals


def _apart_precision(hits: int, misses: int, level: float) -> Interval:
    """Interval of an AUPR of 1, of so many positives and negatives.

    Its lower end is the less of two areas: that with a share of the negatives above all
    positives, and that with a share of the positives below all negatives.
    """
    missed = 0.5 * (1.0 - level)
    ratio = misses / hits
    above = ratio * (1.0 - missed ** (1.0 / misses))
    below = 1.0 - missed ** (1.0 / hits)
    with_above = 1.0 - above * math.log((1.0 + above) / above)
    with_below = 1.0 - ratio * math.log((1.0 + ratio) / (1.0 + ratio - below))
    return Interval(min(with_above, with_below), 1.0)
