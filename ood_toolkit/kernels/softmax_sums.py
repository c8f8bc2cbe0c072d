"""What both fused kernels share: the terms of a row, and its statistics from their sums.

Terms are taken relative to the second largest logit s, not to the largest t, which enters
only through g = exp((s - t) / T).  So nothing cancels, overflows or underflows however far
t is ahead.  With z' = min(z, s), e_j = 2^(z'_j log2(e) / T - A), and A whole, even and near
s log2(e) / T, the largest logit counts as another s, and

    sum over j != argmax of exp((z_j - t) / T) = g (E / u - 1),   E = sum e_j,  u = e of s.

Log-sum-exp is not made of these, but of a second sum, in which t counts as what it is: so
it has the bits that the kernels of `energy` give it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ood_toolkit.kernels._jit import inline_kernel
from ood_toolkit.kernels._lanewise import (
    add_exponent,
    exponent,
    fma,
    larger,
    mantissa,
    select,
    smaller,
    widen,
)
from ood_toolkit.kernels._polynomials import LN2_HIGH, LN2_LOW, constants, log_mantissa, two_to
from ood_toolkit.kernels.exponential import exp, log, log1p, reduced

__all__ = [
    "Scales",
    "alone_or",
    "apart",
    "carried",
    "even_anchor",
    "excess_over_largest",
    "generalized",
    "log_of_sum",
    "prepared",
    "shares",
    "terms_of",
    "unit_of",
]

DEPTH = 125.0
"""Terms below 2^-DEPTH of the second largest are taken as that much: never a subnormal."""
AHEAD = 100.0
"""A largest term 2^AHEAD times the second is all there is of a sum, and might overflow it."""


class Scales(NamedTuple):
    """How logits become powers of two, at T = 1 and at each temperature wanted; priors.

    Attributes
    ----------
    high, low : (1 + t,) arrays of the kernel's type
        log2(e) / T in two parts.
    reach : float
        The largest of them.
    log_prior : (k, C) array of the kernel's type
        Logarithms of priors.
    """

    high: Any
    low: Any
    reach: float
    log_prior: Any


@inline_kernel
def even_anchor(x: Any, scale: Any) -> Any:
    """The even whole number nearest to x scale.

    Even, so that a number halfway between two is rounded to the same one whatever A is.
    """
    shift = constants(x)[0]
    half = fma(x, scale * 0.5, shift) - shift
    return half + half


@inline_kernel
def prepared(top: Any, second: Any, high: Any, low: Any) -> Any:
    """What `terms_of` takes: s, the least logit told apart from none, e of t, log2(e) / T, A."""
    anchor = even_anchor(second, high)
    shift = constants(second)[0] - anchor
    least = (anchor - DEPTH) * (1.0 / high)
    return second, least, _power(top, high, low, shift), high, low, shift


@inline_kernel
def terms_of(x: Any, how: Any) -> Any:
    """E of a logit, the same with t as it is, and s - z'."""
    second, least, largest, high, low, shift = how
    below = smaller(larger(x, least), second)
    e = _power(below, high, low, shift)
    return e, select(x > second, largest, e), second - below


@inline_kernel
def unit_of(how: Any) -> Any:
    """U."""
    second, _least, _largest, high, low, shift = how
    return _power(second, high, low, shift)


@inline_kernel
def _power(x: Any, high: Any, low: Any, shift: Any) -> Any:
    """2^(x log2(e) / T - A)."""
    shifted, f = reduced(x, high, shift)
    return add_exponent(two_to(fma(x, low, f)), shifted)


@inline_kernel
def alone_or(total: Any, top: Any, second: Any, high: Any, low: Any) -> Any:
    """A second sum with its anchor; where t is so far ahead that it is all, t's term alone."""
    anchor, top_anchor = even_anchor(second, high), even_anchor(top, high)
    far = (top - second) * high > AHEAD
    alone = _power(top, high, low, constants(top)[0] - top_anchor)
    return select(far, alone, total), select(far, top_anchor, anchor)


@inline_kernel
def log_of_sum(total: Any, anchor: Any) -> Any:
    """ln(total 2^anchor), as good as the type of the total; anchor and result are float64."""
    powers = widen(exponent(total)) + anchor
    natural = widen(log_mantissa(mantissa(total)))
    return fma(powers, LN2_HIGH, fma(powers, LN2_LOW, natural))


@inline_kernel
def carried(total: Any, lost: Any, x: Any) -> Any:
    """Kahan's sum: total + x, and what the rounding added."""
    x = x - lost
    longer = total + x
    return longer, (longer - total) - x


@inline_kernel
def apart(wanted: Any, k: int) -> bool:
    """Whether a temperature has sums of its own: 1 shares those of the softmax, where needed."""
    return bool(wanted.temperatures[k] != 1.0 or not wanted.softmax)


@inline_kernel
def excess_over_largest(gap: Any, total: Any, unit: Any, temperature: float) -> Any:
    """Lse - t / T from s - t, E and u; all float64.  At T = 1 it has the bits of `shares`."""
    others = (total - unit) * (1.0 / unit) if temperature == 1.0 else total / unit - 1.0
    return log1p(exp(gap / temperature) * others)


@inline_kernel
def shares(gap: Any, total: Any, unit: Any, squares: Any, below: Any) -> Any:
    """From the sums of a row at T = 1: excess, tail, entropy, impurity and p / e; float64.

    gap : s - t.  squares : sum of e^2.  below : sum of e (s - z').
    """
    g, one_unit = exp(gap), 1.0 / unit
    others = total - unit
    rest = g * (others * one_unit)  # everything but the largest term, relative to that
    share = 1.0 / (1.0 + rest)
    weight = g * one_unit * share
    excess = log1p(rest)
    entropy = excess + weight * (below - gap * others)
    ratio = g * one_unit
    impurity = (rest * (2.0 + rest) - ratio * ratio * (squares - unit * unit)) * share * share
    return excess, rest * share, entropy, impurity, weight


@inline_kernel
def generalized(gap: Any, excess: Any, total: Any, unit: Any, added: Any, gamma: float) -> Any:
    """Generalised entropy from the sum of h, less h(0), over the classes that count."""
    of_second = exp((gap - excess) * gamma)  # q^gamma
    of_largest = exp((gap + log(total / unit - 1.0) - (excess + excess)) * gamma)
    return fma(of_second, added, of_largest)
