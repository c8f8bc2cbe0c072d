"""How sure the risk at a coverage and the coverage at a risk are, by resampling the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.inputs import as_confidences, check_share, least_count, undefined
from ood_toolkit.metrics.intervals import Interval

__all__ = ["SelectiveIntervals", "selective_intervals"]

Array = npt.NDArray[np.float64]


class SelectiveIntervals(NamedTuple):
    """Bootstrap intervals, in the order asked for.

    Attributes
    ----------
    risk_at_coverage : tuple of Interval
        One for each coverage.
    coverage_at_risk : tuple of Interval
        One for each risk.
    """

    risk_at_coverage: tuple[Interval, ...]
    coverage_at_risk: tuple[Interval, ...]


def selective_intervals(
    confidence: Any,
    correct: Any,
    *,
    coverages: Sequence[float] = (),
    risks: Sequence[float] = (),
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> SelectiveIntervals:
    """Percentile intervals of `risk_at_coverage` and `coverage_at_risk` by the bootstrap.

    The rows are ranked once; a resample only counts how often each was drawn.

    Parameters
    ----------
    confidence : (N,) array of float
        Larger = surer.
    correct : (N,) array of bool
        Whether the prediction is right.
    coverages : sequence of float
        In (0, 1].
    risks : sequence of float
        In [0, 1].
    resamples : int
        How many, at least 1.
    seed : int
        Not negative; methods on the same rows see the same resamples.
    level : float
        In (0, 1).

    Returns
    -------
    SelectiveIntervals
        NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If the lengths differ, a confidence is NaN, or a number is out of range.

    References
    ----------
    Efron, Annals of Statistics 1979.

    Examples
    --------
    >>> found = selective_intervals(
    ...     np.arange(100.0), np.arange(100) % 10 < 8, coverages=[0.5], resamples=200
    ... )
    >>> low, high = found.risk_at_coverage[0]
    >>> low < 0.2 < high
    True
    """
    shares = [check_share("coverage", c) for c in coverages]
    limits = [check_share("risk", r, zero=True) for r in risks]
    if resamples < 1 or seed < 0 or not 0.0 < level < 1.0:
        raise InputError(
            f"resamples {resamples}, seed {seed}, level {level}: it takes at least 1 resample, "
            "a seed of at least 0, and a level between 0 and 1"
        )
    scores, right = as_confidences(confidence, correct)
    if scores.size == 0:
        nan = Interval(*[undefined("bootstrap interval", "there are no rows")] * 2)
        return SelectiveIntervals((nan,) * len(shares), (nan,) * len(limits))
    _, group = np.unique(-scores, return_inverse=True)  # 0 is the group of the surest rows
    rng = np.random.default_rng(seed)
    found = np.empty((resamples, len(shares) + len(limits)))
    ranks = [least_count(share, scores.size) for share in shares]
    places = 2 * group + ~right
    for i in range(resamples):
        drawn = places[rng.integers(0, scores.size, scores.size)]
        counts = np.bincount(drawn, minlength=2 * (int(group.max()) + 1)).reshape(-1, 2)
        counts = counts[counts.sum(axis=1) > 0]
        accepted = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.float64)
        wrong = np.concatenate([[0], np.cumsum(counts[:, 1])]).astype(np.float64)
        found[i, : len(ranks)] = np.interp(ranks, accepted, wrong) / np.maximum(ranks, 1)
        found[i, len(ranks) :] = [_coverage(accepted, wrong, limit) for limit in limits]
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(found, [tail, 100.0 - tail], axis=0)
    intervals = [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return SelectiveIntervals(tuple(intervals[: len(ranks)]), tuple(intervals[len(ranks) :]))


def _coverage(accepted: Array, wrong: Array, risk: float) -> float:
    """Largest share accepted with at most that risk; errors grow evenly within ties."""
    passing = np.flatnonzero(wrong[1:] / accepted[1:] <= risk)
    last = int(passing[-1]) + 1 if passing.size else 0
    count = accepted[last]
    if last + 1 < accepted.size:
        # the next group of ties does not pass as a whole, but its first rows may
        slope = (wrong[last + 1] - wrong[last]) / (accepted[last + 1] - accepted[last])
        spare = risk * accepted[last] - wrong[last]
        count += np.floor(spare / (slope - risk) + 1e-9) if slope > risk else 0.0
    return float(count / accepted[-1])
