"""Student's t with any degrees of freedom, without scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

from ood_toolkit.errors import InputError

__all__ = ["student_quantile", "student_two_sided"]

_NORMAL_FROM = 1e7  # degrees of freedom from which t is normal to twelve digits
_TINY = 1e-300
_STEPS = 500
_EXPANDED_FROM = 30.0


def student_two_sided(t: float, freedom: float) -> float:
    """P(|T| >= |t|) of Student's t, in [0, 1].

    Parameters
    ----------
    t : float
    freedom : float
        Above 0; need not be whole, and may be infinite, which is the normal law.

    References
    ----------
    Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, 26.5.8 and 26.7.1.

    Examples
    --------
    >>> round(student_two_sided(2.0, 2.0), 6)
    0.183503
    """
    if freedom >= _NORMAL_FROM:
        return math.erfc(abs(t) / math.sqrt(2.0))
    return _beta_share(freedom / (freedom + t * t), 0.5 * freedom, 0.5)


def student_quantile(level: float, freedom: float) -> float:
    """What |T| of Student's t exceeds with probability 1 - level.

    Parameters
    ----------
    level : float
        In (0, 1).
    freedom : float
        As of `student_two_sided`.

    Raises
    ------
    InputError
        If `level` is out of range.

    Examples
    --------
    >>> round(student_quantile(0.95, 10.0), 6), round(student_quantile(0.95, math.inf), 6)
    (2.228139, 1.959964)
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}; it must lie between 0 and 1, such as 0.95")
    t = NormalDist().inv_cdf(0.5 + 0.5 * level)
    if freedom >= _NORMAL_FROM:
        return t
    if freedom > _EXPANDED_FROM:  # two terms of Fisher's expansion
        t += (t**3 + t) / (4.0 * freedom) + (5.0 * t**5 + 16.0 * t**3 + 3.0 * t) / (
            96.0 * freedom**2
        )
    scale = math.exp(math.lgamma(0.5 * freedom + 0.5) - math.lgamma(0.5 * freedom))
    scale *= 2.0 / math.sqrt(math.pi * freedom)
    for _ in range(_STEPS):  # Newton's; the tail is convex: from below it never oversteps
        excess = student_two_sided(t, freedom) - (1.0 - level)
        step = excess / (scale * (1.0 + t * t / freedom) ** (-0.5 * freedom - 0.5))
        t += step
        if abs(step) <= 1e-12 * t:
            break
    return t


def _beta_share(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):  # there the fraction of the other tail is the quick one
        return 1.0 - _beta_share(1.0 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    # Evaluated from the front on, as a product of ratios of successive convergents.
    above, below = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = below
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            below = 1.0 / _away_from_zero(1.0 + term * below)
            above = _away_from_zero(1.0 + term / above)
            ratio = above * below
            value *= ratio
        if abs(ratio - 1.0) < 1e-15:
            break
    return front * value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
