"""The distance quantile d, and how far the sample behind it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ood_toolkit.outputs import Array

__all__ = [
    "band_half_width",
    "class_distances",
    "distance_quantiles",
    "effective_sample_sizes",
    "level_complement",
]


def class_distances(
    nearest: Array, similarity: Array, labels: Array, classes: int
) -> tuple[Array, ...]:
    """Sorted nearest distances of the rows of each true class that have a match (q > 0)."""
    matched = similarity > 0
    return tuple(np.sort(nearest[matched & (labels == c)]) for c in range(classes))


def distance_quantiles(nearest: Array, sorted_distances: Sequence[Array]) -> tuple[Array, Array]:
    """d, and the class that holds it down.

    Parameters
    ----------
    nearest : (N,) array of float
        Distance of each row to its nearest support row.
    sorted_distances : sequence of C sorted arrays
        As `class_distances` returns them.

    Returns
    -------
    quantile : (N,) array of float64
        The least, over the classes, share of that class's distances that are not smaller:
        1 at distance 0, 0 beyond the largest of any class, and 0 throughout where a class
        has none.
    lowest : (N,) array of int64
        The class that gives the least share; the lowest of several.

    Examples
    --------
    >>> import numpy as np
    >>> a = [np.array([1.0, 2, 2, 4]), np.array([0.5, 3])]
    >>> distance_quantiles(np.array([0, 0.5, 2, 2.1, 4, 5]), a)[0]
    array([1.  , 1.  , 0.5 , 0.25, 0.  , 0.  ])
    """
    quantile = np.full(len(nearest), np.inf)
    lowest = np.zeros(len(nearest), dtype=np.int64)
    for c, distances in enumerate(sorted_distances):
        smaller = np.searchsorted(distances, nearest, side="left")
        share = 1.0 - smaller / len(distances) if len(distances) else np.zeros(len(nearest))
        lowest[share < quantile] = c
        quantile = np.minimum(quantile, share)
    return quantile, lowest


def effective_sample_sizes(rescaled: Array, sorted_rescaled: Sequence[Array]) -> Array:
    """How many calibration rows of each class are at most as similar.

    (N,) q' and one sorted array of calibration q' for each of C classes -> (N, C) int64.
    Rows without a match count too.

    Examples
    --------
    >>> import numpy as np
    >>> of_class = [np.array([0, 1, 1, 2.5]), np.array([0, 0, 3.0])]
    >>> effective_sample_sizes(np.array([0.0, 1, 2, 3]), of_class).tolist()
    [[1, 2], [3, 2], [3, 2], [4, 3]]
    """
    columns = [np.searchsorted(q, rescaled, side="right") for q in sorted_rescaled]
    return np.stack(columns, axis=1)


def band_half_width(sizes: Array, alpha: float) -> Array:
    """Half-width of the Dvoretzky-Kiefer-Wolfowitz band around an empirical distribution.

    sqrt(ln(2 / (1 - alpha)) / (2 n)) for each n of any shape; 1 where n is 0, infinite at
    alpha = 1.

    Examples
    --------
    >>> import numpy as np
    >>> band_half_width(np.array([3, 2, 0]), 0.9).round(6)
    array([0.706604, 0.865409, 1.      ])
    """
    with np.errstate(divide="ignore"):
        width = np.sqrt(np.log(2.0 / np.float64(level_complement(alpha))) / (2.0 * sizes))
    return np.where(sizes > 0, width, 1.0)


def level_complement(alpha: float) -> float:
    """1 - alpha to ten digits, so that 0.9 leaves 0.1 and not a little less."""
    return round(1.0 - alpha, 10)
