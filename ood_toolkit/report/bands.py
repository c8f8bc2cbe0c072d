"""ROC and precision-recall curves from counts at thresholds, with bands around them.

At each threshold the shares of ID and OOD rows that reach it, TPR and FPR, lie in their Wilson
intervals at level sqrt(0.95); as both sets are drawn independently, the rectangle of the two
holds the pair with 95 %.  The band joins the rectangles' corners.  It is pointwise: at one
threshold named beforehand, not at all of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Curve", "precision_recall", "roc", "wilson"]

LEVEL = 0.95

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """Points of a curve, and the lines above and below it that bound its band."""

    points: Points
    upper: Points
    lower: Points


def wilson(hits: int, rows: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share.

    Parameters
    ----------
    hits, rows : int
        The share is hits / rows.
    level : float
        In (0, 1).

    Returns
    -------
    tuple of float
        Within [0, 1]; the whole of it without rows.

    References
    ----------
    Wilson, JASA 1927.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if rows == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = hits / rows
    middle = share + z * z / (2 * rows)
    reach = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def roc(id_counts: Sequence[int], ood_counts: Sequence[int]) -> Curve:
    """(FPR, TPR) with ID positive.

    Parameters
    ----------
    id_counts, ood_counts : (P,) sequences of int
        Rows at or above each threshold, from none to all.

    Examples
    --------
    >>> roc([0, 3, 4], [0, 0, 2]).points
    [(0.0, 0.0), (0.0, 0.75), (1.0, 1.0)]
    """
    n, m = id_counts[-1], ood_counts[-1]
    points, upper, lower = [], [], []
    for hits, misses in zip(id_counts, ood_counts, strict=True):
        tpr, fpr = _rectangle(hits, n, misses, m)
        points.append((misses / m, hits / n))
        upper.append((fpr[0], tpr[1]))
        lower.append((fpr[1], tpr[0]))
    return Curve(points, upper, lower)


def precision_recall(
    id_counts: Sequence[int], ood_counts: Sequence[int], positive: str = "id"
) -> Curve:
    """(recall, precision); begins where the first positive row is found.

    Parameters
    ----------
    id_counts, ood_counts : (P,) sequences of int
        Rows at or above each threshold, from none to all.
    positive : {"id", "ood"}
        With "ood", rows below the thresholds are called positive.

    Examples
    --------
    >>> precision_recall([0, 3, 4], [0, 0, 2]).points
    [(0.75, 1.0), (1.0, 0.6666666666666666)]
    """
    hit_counts, miss_counts = id_counts, ood_counts
    if positive == "ood":
        hit_counts = [ood_counts[-1] - count for count in reversed(ood_counts)]
        miss_counts = [id_counts[-1] - count for count in reversed(id_counts)]
    n, m = hit_counts[-1], miss_counts[-1]
    points, upper, lower = [], [], []
    for hits, misses in zip(hit_counts, miss_counts, strict=True):
        if hits == 0:
            continue
        tpr, fpr = _rectangle(hits, n, misses, m)
        recall = hits / n
        points.append((recall, hits / (hits + misses)))
        upper.append((recall, _precision(n * tpr[1], m * fpr[0])))
        lower.append((recall, _precision(n * tpr[0], m * fpr[1])))
    return Curve(points, upper, lower)


def _rectangle(hits: int, n: int, misses: int, m: int) -> tuple[tuple[float, float], ...]:
    """Intervals of TPR and FPR that hold together with 95 %."""
    each = math.sqrt(LEVEL)
    return wilson(hits, n, each), wilson(misses, m, each)


def _precision(hits: float, misses: float) -> float:
    return hits / (hits + misses) if hits + misses > 0 else 1.0
