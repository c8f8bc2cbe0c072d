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
    hits: Array, misses: Array, from_below: bool, area: float
) -> tuple[float, float, float, float]:
    """Moments of the influence values of an average precision.  (G + 1,) -> four floats.

    Parameters
    ----------
    hits, misses : (G + 1,) arrays of int
        The curve.
    from_below : bool
        Whether the hits are the set with small scores.
    area : float
        The average precision.

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
    for g in range(1, last + 1):
        at = g - 1 if from_below else g
        h = n - hits[at] if from_below else np.float64(hits[at])
        f = m - misses[at] if from_below else np.float64(misses[at])
        called = max(h + f, 1.0)
        mean += (hits[g] - hits[g - 1]) * h * f / (called * called)
    mean /= n
    looser_hit, looser_miss = 0.0, 0.0
    square, fourth, other_square, other_fourth = 0.0, 0.0, 0.0, 0.0
    for k in range(1, last + 1):  # from the loosest threshold to the strictest
        g = k if from_below else last + 1 - k
        at = g - 1 if from_below else g
        h = n - hits[at] if from_below else np.float64(hits[at])
        f = m - misses[at] if from_below else np.float64(misses[at])
        called = max(h + f, 1.0)
        own, other = hits[g] - hits[g - 1], misses[g] - misses[g - 1]
        looser_hit += own * f / (called * called)
        looser_miss += own * h / (called * called)
        pull = h / called + looser_hit - (area + mean)
        drag = mean - looser_miss * m / n
        pull, drag = pull * pull, drag * drag
        square += own * pull
        fourth += own * pull * pull
        other_square += other * drag
        other_fourth += other * drag * drag
    return square / n, fourth / n, other_square / m, other_fourth / m
