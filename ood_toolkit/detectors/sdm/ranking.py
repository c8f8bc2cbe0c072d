"""One number for three: q' first, then the activation, then the distance.

A float64 has room for about 41 bits below a q' of 2048, so q' and the activation are read
down to multiples of 2^-14 and the distance fills the rest.
"""

from __future__ import annotations

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["lexicographic_score"]

GRID = 2.0**14


def lexicographic_score(rescaled: Array, rivals: Array, nearest: Array, usual: float) -> Array:
    """Order rows by q', of equal ones by the activation, of equal ones by the distance.

    Parameters
    ----------
    rescaled : (N,) array of float
        q', 0 or more.
    rivals : (N,) array of float
        (1 - p) / p of the predicted class, which tells probabilities apart that round to 1.
    nearest : (N,) array of float
        Distance to the nearest support row; may be infinite.
    usual : float
        A typical such distance, above 0.

    Returns
    -------
    (N,) array of float64
        0 or more, and at most 2^-14 above q' read down; larger = more in-distribution.

    Examples
    --------
    >>> import numpy as np
    >>> q, t, d = np.array([3.0, 3, 3, 2]), np.array([0.1, 0.1, 0.2, 0]), np.array([1.0, 2, 1, 0])
    >>> np.diff(lexicographic_score(q, t, d, 1.0)) < 0
    array([ True,  True,  True])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.log1p(rivals) - np.log(rivals)  # -ln(1 - p)
        sure = np.where(np.isinf(bits), 1.0, bits / (1.0 + bits))
    near = 1.0 / (2.0 + np.log1p(nearest / usual))
    sure = np.minimum(np.floor(sure * GRID), GRID - 1.0) / GRID
    return np.asarray(np.floor(rescaled * GRID) / GRID + (sure + near / GRID) / GRID)
