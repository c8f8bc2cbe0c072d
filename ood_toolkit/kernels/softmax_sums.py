"""What both fused kernels share: the terms of a row, and its statistics from their sums.

Terms are taken relative to the second largest logit s, not to the largest t, which enters
only through g = exp((s - t) / T).  So nothing cancels, overflows or underflows however far
t is ahead.  With z' = min(z, s), e_j = 2^(z'_j log2(e) / T - A), and A whole and near
s log2(e) / T, the largest logit counts as another s, and

    sum over j != argmax of exp((z_j - t) / T) = g (E / u - 1),   E = sum e_j,  u = e of s.
"""

from __future__ import annotations

from typing import Any

from ood_toolkit.kernels._jit import inline_kernel
from ood_toolkit.kernels._lanewise import add_exponent, fma, larger, smaller
from ood_toolkit.kernels.exponential import constants, exp, log1p, reduced, two_to

__all__ = ["anchored", "carried", "excess_over_largest", "shares", "term_below"]

DEPTH = 125.0
"""Terms below 2^-DEPTH of the second largest are taken as that much: never a subnormal."""


@inline_kernel
def anchored(second: Any, scale: Any, shift: Any) -> Any:
    """The shift that takes off A, and the least logit whose term is told apart from none."""
    anchor = fma(second, scale, shift) - shift
    return shift - anchor, (anchor - DEPTH) * (1.0 / scale)


@inline_kernel
def term_below(x: Any, second: Any, least: Any, high: Any, low: Any, shift: Any) -> Any:
    """e of a logit."""
    x = smaller(larger(x, least), second)
    shifted, f = reduced(x, high, shift)
    return add_exponent(two_to(fma(x, low, f)), shifted)


@inline_kernel
def carried(total: Any, lost: Any, x: Any) -> Any:
    """Kahan's sum: total + x, and what the rounding added."""
    x = x - lost
    longer = total + x
    return longer, (longer - total) - x


@inline_kernel
def excess_over_largest(gap: Any, total: Any, unit: Any) -> Any:
    """lse - t / T from (s - t) / T, E and u; all float64."""
    return log1p(exp(gap) * (total / unit - 1.0))


@inline_kernel
def shares(gap: Any, total: Any, unit: Any, squares: Any, below: Any) -> Any:
    """From the sums of a row at T = 1: excess, tail, entropy, impurity and p / e; float64.

    gap : s - t.  squares : sum of e^2.  below : sum of e (s - z').
    """
    g = exp(gap)
    others = total - unit
    rest = g * (others / unit)  # everything but the largest term, relative to that
    whole = 1.0 + rest
    weight = g / (unit * whole)
    excess = log1p(rest)
    entropy = excess + weight * (below - gap * others)
    impurity = (rest * (2.0 + rest) - g * g * (squares / (unit * unit) - 1.0)) / (whole * whole)
    return excess, rest / whole, entropy, impurity, weight
