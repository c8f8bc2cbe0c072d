"""Exponential and logarithm for kernels, of vectors and of single numbers alike.

e^x = 2^n 2^f with x log2(e) = n + f, n whole and |f| <= 1/2.  n comes from adding a number
so large that its last place is 1; f from a fused multiply-add, which loses nothing; 2^f
from a polynomial; and n is added to the exponent's bits.  There is no branch, so that a
compiler makes vector instructions of a loop too.  docs/kernels.md gives the errors.
"""

from __future__ import annotations

from typing import Any

from ood_toolkit.kernels._jit import inline_kernel
from ood_toolkit.kernels._lanewise import (
    add_exponent,
    exponent,
    fma,
    larger,
    mantissa,
    polynomial,
    smaller,
)
from ood_toolkit.kernels._polynomials import (
    GROWTH,
    LN2_HIGH,
    LN2_LOW,
    constants,
    ln2,
    log_mantissa,
    two_to,
)

__all__ = ["exp", "exp_below_one", "log", "log1p", "minus_expm1", "reduced"]


@inline_kernel
def reduced(x: Any, scale: Any, shift: Any) -> Any:
    """For x scale = n + f with n whole: n + shift, and f to half a unit of its last place."""
    shifted = fma(x, scale, shift)
    return shifted, fma(x, scale, shift - shifted)


@inline_kernel
def exp(x: Any) -> Any:
    """e^x, also where it is subnormal, 0 or infinite; NaN stays NaN."""
    shift, high, low, half, one, least, most = constants(x)
    x = smaller(most, larger(least, x))
    shifted, f = reduced(x, high, shift)
    # 2^n in two factors, for it may not be a normal float; by products, which keep NaN
    n = shifted - shift
    first = fma(n, half, shift)
    second = n - (first - shift) + shift
    return two_to(fma(x, low, f)) * add_exponent(one, first) * add_exponent(one, second)


@inline_kernel
def exp_below_one(x: Any) -> Any:
    """e^x of x <= 0, and 2^-124 or so of anything below -86; quicker than `exp`."""
    shift, high, low, _half, one, _least, _most = constants(x)
    x = larger(one * -86.0, x)
    shifted, f = reduced(x, high, shift)
    return add_exponent(two_to(fma(x, low, f)), shifted)


@inline_kernel
def minus_expm1(x: Any) -> Any:
    """1 - e^x of float64 x <= 0, good also where that is small."""
    shift, high, low, _half, one, _least, _most = constants(x)
    x = larger(-40.0, x)
    shifted, f = reduced(x, high, shift)
    f = fma(x, low, f)
    power = add_exponent(one, shifted)
    return (1.0 - power) - power * (f * polynomial(f, GROWTH))


@inline_kernel
def log(x: Any) -> Any:
    """Ln x of positive normal numbers."""
    e = exponent(x)
    high, low = ln2(x)
    return fma(e, high, fma(e, low, log_mantissa(mantissa(x))))


@inline_kernel
def log1p(r: Any) -> Any:
    """ln(1 + r) of float64 r >= 0."""
    u = 1.0 + r
    lost = r - (u - 1.0)
    e = exponent(u)
    return fma(e, LN2_HIGH, fma(e, LN2_LOW, lost / u) + log_mantissa(mantissa(u)))
