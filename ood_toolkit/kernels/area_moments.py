"""How much each row pulls at an area under a curve: moments of the influence values.

The influence of a row is by how much the area would rise, a unit of weight, if the row had a
little more weight in its set.  An area's variance is that of its influence values over the
number of rows, set by set; their fourth moments say how sure that variance is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["auroc_moments", "precision_moments"]

Array = npt.NDArray[Any]


@kernel
def auroc_moments(hits: Array, misses: Array, auroc: float) -> tuple[float, float, float, float]:
    """Moments of DeLong's components of a curve.  (G + 1,) -> four floats.

    Returns
    -------
    tuple of float
        Mean square and mean fourth power of the hits' centred components, then of the misses'.
    """
    n, m = hits[-1], misses[-1]
    square, fourth, other_square, other_fourth = 0.0, 0.0, 0.0, 0.0
    for g in range(1, hits.size):
        beaten = 1.0 - 0.5 * (misses[g - 1] + misses[g]) / m - auroc
        beating = 0.5 * (hits[g - 1] + hits[g]) / n - auroc
        beaten, beating = beaten * beaten, beating * beating
        own, other = hits[g] - hits[g - 1], misses[g] - misses[g - 1]
        square += own * beaten
        fourth += own * beaten * beaten
        other_square += other * beating
        other_fourth += other * beating * beating
    return square / n, fourth / n, other_square / m, other_fourth / m


@kernel
def precision_moments(
    hits: Array, misses: Array, from_below: bool, by_lines: bool, area: float
) -> tuple[float, float, float, float]:
    """Moments of the influence values of an AUPR.  (G + 1,) -> four floats.

    Parameters
    ----------
    hits, misses : (G + 1,) arrays of int
        The curve.
    from_below : bool
        Whether the hits are the set with small scores.
    by_lines : bool
        Whether the area is that under straight lines, from (0, 1), and not by steps.
    area : float
        The AUPR.

    Returns
    -------
    tuple of float
        As of `auroc_moments`.
    """
    n, m = np.float64(hits[-1]), np.float64(misses[-1])
    last = hits.size - 1
    # A hit raises the precision at its own threshold and at every looser one, by f / (h + f)^2;
    # a miss lowers it there by h / (h + f)^2.  Both have the same mean, but for the sign.
    mean = 0.0
    for k in range(1, last + 1):
        h, f, counts, _ = _threshold(hits, misses, from_below, by_lines, last + 1 - k)
        mean += counts * h * f / ((h + f) * (h + f))
    mean /= n
    looser_hit, looser_miss = 0.0, 0.0
    square, fourth, other_square, other_fourth = 0.0, 0.0, 0.0, 0.0
    for k in range(1, last + 1):  # from the loosest threshold to the strictest
        h, f, counts, under = _threshold(hits, misses, from_below, by_lines, last + 1 - k)
        g = k if from_below else last + 1 - k
        called = h + f
        own, other = hits[g] - hits[g - 1], misses[g] - misses[g - 1]
        looser_hit += counts * f / (called * called)
        looser_miss += counts * h / (called * called)
        pull = under + looser_hit - (area + mean)
        drag = mean - looser_miss * m / n
        pull, drag = pull * pull, drag * drag
        square += own * pull
        fourth += own * pull * pull
        other_square += other * drag
        other_fourth += other * drag * drag
    return square / n, fourth / n, other_square / m, other_fourth / m


@kernel
def _threshold(
    hits: Array, misses: Array, from_below: bool, by_lines: bool, k: int
) -> tuple[float, float, float, float]:
    """Of the k-th threshold from the strictest: hits and misses that reach it, for how many hits
    its precision counts, and the precision that its own hits stand under.
    """
    last = hits.size - 1
    at = last - k if from_below else k
    stricter, looser = (at + 1, at - 1) if from_below else (at - 1, at + 1)
    h = np.float64(abs(hits[at] - hits[last if from_below else 0]))
    f = np.float64(abs(misses[at] - misses[last if from_below else 0]))
    counts = np.float64(abs(hits[at] - hits[stricter]))
    under = h / (h + f)
    if by_lines:
        if k > 1:
            before = np.float64(abs(hits[stricter] - hits[last if from_below else 0]))
            wrong = np.float64(abs(misses[stricter] - misses[last if from_below else 0]))
            under = 0.5 * (under + before / (before + wrong))
        else:
            under = 0.5 * (under + 1.0)
        following = np.float64(abs(hits[looser] - hits[at])) if k < last else 0.0
        counts = 0.5 * (counts + following)
    return h, f, counts, under
