"""Where a feature lies between the class predicted and each of the others.

Notation: w_c a row of the head's weight, z_c a logit, y the predicted class; the boundary
between y and c is (z_y - z_c) / ||w_y - w_c|| away.  Classes whose weights equal those of y,
and masked classes, have no boundary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["boundary_angles", "boundary_distances"]

Floats = npt.NDArray[np.float64]

# Of the squared weights: what rounding can leave of a distance that is zero.
_ROUNDING = 64 * 2.0**-52


def boundary_distances(
    logits: Floats, top: npt.NDArray[Any], alike: Floats, squares: Floats, mean: bool
) -> Floats:
    """Sum or mean over the other classes of the distance to their boundary.

    (n, C) logits, (n,) predictions, (n, C) w_y . w_c, (C,) ||w_c||^2 -> (n,).
    """
    distances = np.empty(len(logits))
    _fill_distances(logits, top, alike, squares, mean, distances)
    return distances


def boundary_angles(
    logits: Floats,
    top: npt.NDArray[Any],
    alike: Floats,
    squares: Floats,
    products: Floats,
    lengths: Floats,
) -> Floats:
    """Largest angle, in radians, at which a centred feature and its boundary points are seen.

    As `boundary_distances`; (n, C) products of feature and weights, (n,) the feature's
    squared length.
    """
    angles = np.empty(len(logits))
    _fill_angles(logits, top, alike, squares, products, lengths, angles)
    return angles


@kernel
def _fill_distances(logits, top, alike, squares, mean, distances):  # type: ignore[no-untyped-def]
    for i in range(len(logits)):
        z, inner, y = logits[i], alike[i], top[i]
        z_y, square_y, total, count = z[y], squares[y], 0.0, 0
        for c in range(z.size):
            both = square_y + squares[c]
            gap = both - 2.0 * inner[c]
            exists = gap > _ROUNDING * both and z[c] > -np.inf
            total += (z_y - z[c]) / math.sqrt(gap) if exists else 0.0
            count += exists
        distances[i] = total / max(count, 1) if mean else total


@kernel
def _fill_angles(logits, top, alike, squares, products, lengths, angles):  # type: ignore[no-untyped-def]
    for i in range(len(logits)):
        z, inner, product, y = logits[i], alike[i], products[i], top[i]
        best_rank, best_across, best_along = -1.0, 0.0, 1.0
        for c in range(z.size):
            both = squares[y] + squares[c]
            gap = both - 2.0 * inner[c]
            if gap > _ROUNDING * both and z[c] > -np.inf:
                # the boundary point is f - t (w_y - w_c); nothing but inner products is needed
                t = (z[y] - z[c]) / gap
                toward = product[y] - product[c]
                along = lengths[i] - t * toward
                # the part of it across f has length t ||(w_y - w_c) across f||
                across = t * math.sqrt(max(gap * lengths[i] - toward * toward, 0.0))
                rank = _rank(across, along)
                if rank > best_rank:
                    best_rank, best_across, best_along = rank, across, along
        angles[i] = math.atan2(best_across, best_along)


@kernel
def _rank(across, along):  # type: ignore[no-untyped-def]
    """A number that grows with the angle, from 0 to 2, and is quicker than the angle."""
    size = across + abs(along)
    if size == 0.0:
        return 0.0
    return across / size if along >= 0.0 else 2.0 - across / size
