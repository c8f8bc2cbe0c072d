"""Self-consistency of a regression's residuals, and intervals from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array

__all__ = ["ResidualConsistency", "residual_consistency", "residual_interval"]


class ResidualConsistency(NamedTuple):
    """How the two sides of the residuals fit together.

    Attributes
    ----------
    absolute : float
        Mean |r|.
    up, down : float
        Mean of the positive residuals, and of the others' sizes; 0 for an empty side.
    inconsistency : float
        |2 up down - absolute (up + down)|: 0 for residuals of mean 0, larger = more doubt.
    widen_up, widen_down : float
        Factors, at least 1, for the two sides of an interval.
    one_sided : bool
        Whether a side is empty; the inconsistency then says nothing and is 0.
    """

    absolute: float
    up: float
    down: float
    inconsistency: float
    widen_up: float
    widen_down: float
    one_sided: bool


def residual_consistency(residuals: Any) -> ResidualConsistency:
    """Compare the mean size of residuals with the means of their two sides.

    Parameters
    ----------
    residuals : (N,) array of float
        Observed minus predicted.

    Returns
    -------
    ResidualConsistency
        Means, inconsistency and widening factors.

    Raises
    ------
    InputError
        If there are none, or one is not finite.

    References
    ----------
    Zhao & Chen, "SPC-UQ: split-point self-consistency", 2025, arXiv 2509.13262.

    Examples
    --------
    >>> found = residual_consistency([3.0, 1.0, -1.0, -2.0, 2.0])
    >>> round(found.inconsistency, 9)
    0.3
    """
    r = _finite(residuals)
    upper = r > 0.0
    absolute = float(np.abs(r).mean())
    up = float(r[upper].mean()) if upper.any() else 0.0
    down = float(-r[~upper].mean()) if not upper.all() else 0.0
    if up == 0.0 or down == 0.0:
        return ResidualConsistency(absolute, up, down, 0.0, 1.0, 1.0, True)
    return ResidualConsistency(
        absolute,
        up,
        down,
        abs(2.0 * up * down - absolute * (up + down)),
        _widening(absolute, up, down),
        _widening(absolute, down, up),
        False,
    )


def residual_interval(predictions: Any, residuals: Any, level: float = 0.95) -> tuple[Array, Array]:
    """Intervals around predictions, from quantiles of each side of the residuals.

    Parameters
    ----------
    predictions : (M,) array of float
        What the intervals go around.
    residuals : (N,) array of float
        Observed minus predicted, of held-out rows.
    level : float
        In (0, 1): the quantile taken of each side, which is then widened by
        `residual_consistency`'s factors.

    Returns
    -------
    lower, upper : (M,) arrays of float64
        Ends of the intervals.

    Raises
    ------
    InputError
        If there are no residuals, one is not finite, or `level` is out of range.

    Examples
    --------
    >>> lower, upper = residual_interval([10.0], [2.4, 0.4, -1.6, -2.6, 1.4], level=0.5)
    >>> lower.round(2), upper.round(2)
    (array([7.9]), array([11.4]))
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    r = _finite(residuals)
    found = residual_consistency(r)
    upper = r > 0.0
    above = float(np.quantile(r[upper], level)) if upper.any() else 0.0
    below = float(np.quantile(-r[~upper], level)) if not upper.all() else 0.0
    centre = np.asarray(predictions, dtype=np.float64)
    return centre - below * found.widen_down, centre + above * found.widen_up


def _widening(absolute: float, own: float, other: float) -> float:
    room = (2.0 * other - absolute) * own
    return max(1.0, absolute * other / room) if room > 0.0 else 1.0


def _finite(residuals: Any) -> Array:
    r = np.asarray(residuals, dtype=np.float64)
    if r.ndim != 1 or r.size == 0:
        raise InputError(f"residuals must be (N,) with N >= 1, got shape {r.shape}")
    if not np.isfinite(r).all():
        raise InputError(f"residuals[{int(np.argmin(np.isfinite(r)))}] is not finite")
    return r
