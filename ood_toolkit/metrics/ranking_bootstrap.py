"""Bootstrap intervals of every ranking metric, from scores that are sorted once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.ranking import TieGroups
from ood_toolkit.kernels.resampling import resampled_metrics
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.metrics.false_positives import SWEPT, how_chosen
from ood_toolkit.metrics.inputs import check_choice, check_share, least_count, undefined
from ood_toolkit.metrics.intervals import Interval, normal_quantile
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, Ranking

__all__ = ["METRICS", "bootstrap_intervals", "bootstrap_states", "resampled_figures"]

Array = npt.NDArray[Any]

METRICS = ("auroc", "fpr", "aupr_in", "aupr_out")
"""What a resample is measured by."""
_AREAS = (0, 2, 3)  # columns of the metrics whose interval is made on the logit scale
_BLOCK = 16


def bootstrap_intervals(
    ranking: Ranking,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
    rule: str = "id_positive",
    estimator: str = "step",
) -> dict[str, Interval]:
    """Intervals of AUROC, FPR and AUPR by a stratified bootstrap.

    ID and OOD rows are drawn with replacement from their own set.  The interval of the FPR is
    that of percentiles.  Those of the areas are normal on the logit scale, with the deviation
    that the resamples show there: percentiles cover too seldom near 1.  The scores are never
    sorted again; the same seed gives the same intervals whatever the number of threads.

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
        empty or a resample leaves the metric undefined.

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
    >>> ranking = Ranking.of([0.9, 0.8, 0.4, 0.7], [0.5, 0.1, 0.3])
    >>> low, high = bootstrap_intervals(ranking, resamples=200)["auroc"]
    >>> 0.3 < low < ranking.auroc() < high < 1
    True
    """
    z = normal_quantile(level)
    states = bootstrap_states(resamples, seed)
    check_choice("AUPR estimator", estimator, AUPR_ESTIMATORS)
    _, reason = ranking.fpr_and_reason(tpr, rule)
    if ranking.n_id == 0 or ranking.n_ood == 0:
        nan = undefined("bootstrap interval", reason)
        return dict.fromkeys(METRICS, Interval(nan, nan))
    values = resampled_figures(ranking, states, tpr, rule, estimator)
    gaps = int(np.isnan(values[:, 1]).sum())
    if gaps:
        undefined("interval of the FPR", f"{gaps} of {resamples} resamples have none")
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(values[:, 1], [tail, 100.0 - tail])
    intervals = {"fpr": Interval(float(low), float(high))}
    areas = (ranking.auroc(), ranking.aupr_in(estimator), ranking.aupr_out(estimator))
    finest = (ranking.n_id * ranking.n_ood, ranking.n_id, ranking.n_ood)
    for column, area, pairs in zip(_AREAS, areas, finest, strict=True):
        intervals[METRICS[column]] = _on_logit_scale(area, values[:, column], z, 0.5 / pairs)
    return {name: intervals[name] for name in METRICS}


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


def resampled_figures(
    ranking: Ranking,
    states: Array,
    tpr: float,
    rule: str,
    estimator: str,
    rows: tuple[Array, Array] | None = None,
) -> Array:
    """AUROC, FPR, AUPR-in and AUPR-out of each resample: (R,) -> (R, 4).

    With `rows`, the rows of the sorted ID and OOD scores, a state draws the same rows whatever
    their scores are; the swept rule then has no FPR.
    """
    choice, ood_positive = how_chosen(rule)
    share = check_share("tpr", tpr)
    wanted = least_count(share, ranking.n_ood if ood_positive else ranking.n_id)
    groups = TieGroups(ranking.id_at_or_above, ranking.ood_at_or_above)
    values = np.empty((states.size, len(METRICS)))

    def measure(start: int, stop: int) -> None:
        point = max(choice, 0)  # a sweep reads no point; its column is filled below
        values[start:stop] = resampled_metrics(
            groups, states[start:stop], point, ood_positive, wanted, share,
            estimator == "trapezoid", rows,
        )  # fmt: skip
        if choice == SWEPT and rows is not None:
            values[start:stop, 1] = np.nan
        elif choice == SWEPT:
            for r in range(start, stop):
                values[r, 1], _ = ranking.resampled(int(states[r])).fpr_and_reason(tpr, rule)

    measure(0, 1)  # compiled by one thread before others need it
    share_out(measure, states.size, _BLOCK, thread_count())
    return values


def _on_logit_scale(area: float, drawn: Array, z: float, margin: float) -> Interval:
    """Normal interval of an area in [0, 1] with the deviation of its resampled logits.

    Areas nearer to 0 or 1 than `margin`, half of what one pair or row counts, are taken to lie
    there, so that their logits are finite.
    """
    if area in (0.0, 1.0) or drawn.min() == drawn.max():
        return Interval(area, area)
    inside = np.clip(drawn, margin, 1.0 - margin)
    reach = z * float(np.log(inside / (1.0 - inside)).std(ddof=1))
    about = min(max(area, margin), 1.0 - margin)
    logit = math.log(about / (1.0 - about))
    low, high = (1.0 / (1.0 + math.exp(-(logit + side * reach))) for side in (-1.0, 1.0))
    return Interval(min(low, area), max(high, area))
