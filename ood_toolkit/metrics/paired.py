"""Methods against each other on the same rows: whether their metrics differ."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.inputs import as_scores, undefined
from ood_toolkit.metrics.intervals import Interval, normal_quantile
from ood_toolkit.metrics.ranking import Ranking

__all__ = [
    "MetricDifference",
    "Placements",
    "auroc_difference",
    "placements",
    "two_sided",
]

Array = npt.NDArray[Any]


class MetricDifference(NamedTuple):
    """How much larger one method's metric is than another's on the same rows.

    Attributes
    ----------
    difference : float
        Metric of the first minus that of the second.
    interval : Interval
        Of the difference.
    p_value : float
        Two-sided, of no difference.
    """

    difference: float
    interval: Interval
    p_value: float


class Placements(NamedTuple):
    """Where each row of one set stands among the rows of the other.

    Attributes
    ----------
    of_id : (N,) array of float64
        Share of OOD scores below each ID score, ties counted half; their mean is the AUROC.
    of_ood : (M,) array of float64
        Share of ID scores above each OOD score, likewise.
    """

    of_id: Array
    of_ood: Array


def placements(id_scores: Any, ood_scores: Any) -> Placements:
    """DeLong's components of an AUROC: (N,), (M,) -> one number a row, in the rows' order.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution; both with at least one row.

    Returns
    -------
    Placements
        Shares in [0, 1]; larger = better told apart.

    Raises
    ------
    InputError
        If a set is empty, or an array holds NaN.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988.

    Examples
    --------
    >>> placements([3.0, 1.0], [1.0, 0.0]).of_id.tolist()
    [1.0, 0.75]
    """
    inside, outside = as_scores("id_scores", id_scores), as_scores("ood_scores", ood_scores)
    for name, values in (("ID", inside), ("OOD", outside)):
        if values.size == 0:
            raise InputError(f"there are no {name} scores to compare")
        if np.isnan(values).any():
            raise InputError(f"{name} score {int(np.argmax(np.isnan(values)))} is NaN")
    order_in, order_out = np.argsort(inside), np.argsort(outside)
    sorted_in, sorted_out = inside[order_in], outside[order_out]
    # queries in order walk through the sorted set once, and stay near the processor
    of_id, of_ood = np.empty(inside.size), np.empty(outside.size)
    of_id[order_in] = _twice_below(sorted_out, sorted_in) / (2 * outside.size)
    of_ood[order_out] = 1.0 - _twice_below(sorted_in, sorted_out) / (2 * inside.size)
    return Placements(of_id, of_ood)


def _twice_below(ordered: Array, queries: Array) -> Array:
    """Twice the entries below each query, plus those equal to it.  (K,), (Q,) -> (Q,)."""
    return np.searchsorted(ordered, queries, "left") + np.searchsorted(ordered, queries, "right")


def auroc_difference(
    a_id: Any, a_ood: Any, b_id: Any, b_ood: Any, level: float = 0.95
) -> MetricDifference:
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
    MetricDifference
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
    z = normal_quantile(level)
    a, b = Ranking.of(a_id, a_ood), Ranking.of(b_id, b_ood)
    if (a.n_id, a.n_ood) != (b.n_id, b.n_ood):
        raise InputError(
            f"the methods must score the same rows: {a.n_id} ID and {a.n_ood} OOD rows "
            f"against {b.n_id} and {b.n_ood}"
        )
    if a.n_id < 2 or a.n_ood < 2:
        nan = undefined("AUROC difference", "a set has fewer than two rows")
        return MetricDifference(nan, Interval(nan, nan), nan)
    of_a, of_b = placements(a_id, a_ood), placements(b_id, b_ood)
    difference = a.auroc() - b.auroc()
    error = math.sqrt(sum((x - y).var(ddof=1) / x.size for x, y in zip(of_a, of_b, strict=True)))
    interval = Interval(difference - z * error, difference + z * error)
    return MetricDifference(difference, interval, two_sided(difference, error))


def two_sided(difference: float, error: float) -> float:
    """P-value of a normal difference; without any error, 1 for none and 0 for some."""
    if error == 0.0:
        return 1.0 if difference == 0.0 else 0.0
    return math.erfc(abs(difference) / error / math.sqrt(2.0))
