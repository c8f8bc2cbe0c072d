"""How sure a ranking metric is: DeLong's and bootstrap intervals, and a paired test."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.metrics.inputs import as_scores, undefined
from ood_toolkit.metrics.ranking import Ranking

__all__ = [
    "AurocDifference",
    "Interval",
    "auroc_difference",
    "auroc_interval",
    "bootstrap_intervals",
    "delong_interval",
]

Array = npt.NDArray[Any]

_BOOTSTRAPPED = ("auroc", "fpr", "aupr_in", "aupr_out")


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class AurocDifference(NamedTuple):
    """How much larger one method's AUROC is than another's on the same rows.

    Attributes
    ----------
    difference : float
        AUROC of the first minus that of the second.
    interval : Interval
        Of the difference.
    p_value : float
        Two-sided, of no difference.
    """

    difference: float
    interval: Interval
    p_value: float


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
    z = _quantile(level)
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


def auroc_difference(
    a_id: Any, a_ood: Any, b_id: Any, b_ood: Any, level: float = 0.95
) -> AurocDifference:
    """Paired comparison of two methods' AUROC on the same ID and OOD rows, by DeLong.

    Parameters
    ----------
    a_id, b_id : (N,) arrays of float
        Scores of both methods for the same ID rows in the same order.
    a_ood, b_ood : (M,) arrays of float
        Likewise for the OOD rows.
    level : float
        Of the interval, in (0, 1).

    Returns
    -------
    AurocDifference
        NaN, with a warning, where a set has fewer than two rows.

    Raises
    ------
    InputError
        If the lengths differ, an array holds NaN, or `level` is not in (0, 1).

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988.

    Examples
    --------
    >>> auroc_difference([3, 4, 2], [1, 0], [3, 1, 2], [2, 0]).difference
    0.25
    """
    z = _quantile(level)
    a, b = Ranking.of(a_id, a_ood), Ranking.of(b_id, b_ood)
    if (a.n_id, a.n_ood) != (b.n_id, b.n_ood):
        raise InputError(
            f"the methods must score the same rows: {a.n_id} ID and {a.n_ood} OOD rows "
            f"against {b.n_id} and {b.n_ood}"
        )
    if a.n_id < 2 or a.n_ood < 2:
        nan = undefined("AUROC difference", "a set has fewer than two rows")
        return AurocDifference(nan, Interval(nan, nan), nan)
    of_id = _share_below(a_id, a_ood) - _share_below(b_id, b_ood)
    of_ood = _share_below(b_ood, b_id) - _share_below(a_ood, a_id)
    difference = a.auroc() - b.auroc()
    error = math.sqrt(of_id.var(ddof=1) / of_id.size + of_ood.var(ddof=1) / of_ood.size)
    interval = Interval(difference - z * error, difference + z * error)
    if error == 0.0:
        return AurocDifference(difference, interval, 1.0 if difference == 0.0 else 0.0)
    p_value = math.erfc(abs(difference) / error / math.sqrt(2.0))
    return AurocDifference(difference, interval, p_value)


def bootstrap_intervals(
    ranking: Ranking,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
    rule: str = "id_positive",
    estimator: str = "step",
) -> dict[str, Interval]:
    """Percentile intervals of AUROC, FPR and AUPR by a stratified bootstrap.

    ID and OOD rows are drawn with replacement from their own set.  The scores are never
    sorted again; the same seed gives the same intervals whatever the number of threads.

    Parameters
    ----------
    ranking : Ranking
        The scores.
    resamples : int
        How many, at least 1.
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
    Efron, Annals of Statistics 1979.

    Examples
    --------
    >>> ranking = Ranking.of([0.9, 0.8, 0.4, 0.7], [0.5, 0.1, 0.3])
    >>> bootstrap_intervals(ranking, resamples=200)["auroc"].high
    1.0
    """
    _quantile(level)
    if int(resamples) != resamples or resamples < 1:
        raise InputError(f"resamples is {resamples}; it must be a whole number of 1 or more")
    if int(seed) != seed or seed < 0:
        raise InputError(f"seed is {seed}; it must be a whole number of 0 or more")
    _, reason = ranking.fpr_and_reason(tpr, rule)
    if ranking.n_id == 0 or ranking.n_ood == 0:
        nan = undefined("bootstrap interval", reason)
        return dict.fromkeys(_BOOTSTRAPPED, Interval(nan, nan))

    def measure(state: np.uint64) -> tuple[float, float, float, float]:
        drawn = ranking.resampled(int(state))
        fpr, _ = drawn.fpr_and_reason(tpr, rule)
        return drawn.auroc(), fpr, drawn.aupr_in(estimator), drawn.aupr_out(estimator)

    states = np.random.SeedSequence(int(seed)).generate_state(int(resamples), np.uint64)
    measure(states[0])  # compiled by one thread before others need it
    with ThreadPoolExecutor(thread_count()) as pool:
        values = np.array(list(pool.map(measure, states)))
    gaps = int(np.isnan(values[:, 1]).sum())
    if gaps:
        undefined("interval of the FPR", f"{gaps} of {resamples} resamples have none")
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(values, [tail, 100.0 - tail], axis=0)
    intervals = (Interval(float(a), float(b)) for a, b in zip(low, high, strict=True))
    return dict(zip(_BOOTSTRAPPED, intervals, strict=True))


def _share_below(scores: Any, others: Any) -> Array:
    """Share of `others` below each score, ties counted half.  (N,), (M,) -> (N,)."""
    ordered = np.sort(as_scores("scores", others))
    found = as_scores("scores", scores)
    below, until = (np.searchsorted(ordered, found, side=side) for side in ("left", "right"))
    return np.asarray(0.5 * (below + until) / ordered.size)


def _quantile(level: float) -> float:
    """Standard normal quantile that leaves (1 - level) / 2 above it."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + 0.5 * level)
