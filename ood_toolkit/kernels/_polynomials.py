"""Polynomials and constants of `exponential`, one set for float32 and one for float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ood_toolkit.kernels._lanewise import fma, polynomial
from ood_toolkit.kernels._simd import FLOAT32

__all__ = ["GROWTH", "LN2_HIGH", "LN2_LOW", "constants", "ln2", "log_mantissa", "two_to"]

# ln 2 in two parts; the first is so short that whole multiples of it up to 2^20 are exact.
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefp-1"), float.fromhex("0x1.473de6af278edp-34")


def _numbers(*hexadecimal: str) -> tuple[float, ...]:
    return tuple(float.fromhex(number) for number in hexadecimal)


# Polynomials, minimax in relative error, coefficients rounded one after the other.
# 2^f on |f| <= 1/2:
_TWO_TO_SINGLE = _numbers(
    "0x1p0", "0x1.62e428p-1", "0x1.ebf9b4p-3", "0x1.c6b8eep-5", "0x1.3cedc8p-7", "0x1.5af07cp-10"
)
_TWO_TO_DOUBLE = _numbers(
    "0x1p0",
    "0x1.62e42fefa39efp-1",
    "0x1.ebfbdff82c5b3p-3",
    "0x1.c6b08d704a26fp-5",
    "0x1.3b2ab6fb9dab4p-7",
    "0x1.5d87fe78457a4p-10",
    "0x1.4309131680b95p-13",
    "0x1.ffcbfe67379f3p-17",
    "0x1.62bfb45284fa7p-20",
    "0x1.b520857061f87p-24",
    "0x1.e63d85612b481p-28",
    "0x1.f0bd61a64e3b1p-32",
)
GROWTH = _TWO_TO_DOUBLE[1:]
"""Coefficients of (2^f - 1) / f in float64."""
# (ln(1 + z) - z + z^2 / 2) / z^3 on sqrt(1/2) <= 1 + z <= sqrt(2):
_LOG_SINGLE = _numbers(
    "0x1.555548p-2",
    "-0x1.000014p-2",
    "0x1.99a45cp-3",
    "-0x1.555692p-3",
    "0x1.233dd2p-3",
    "-0x1.fce0a4p-4",
    "0x1.e70126p-4",
    "-0x1.da505ap-4",
    "0x1.1086e0p-4",
)
# (ln m - 2 s) / s^3 in s^2, with s = (m - 1) / (m + 1), on the same range:
_LOG_DOUBLE = _numbers(
    "0x1.5555555555592p-1",
    "0x1.999999997ff9ep-2",
    "0x1.24924941d54d6p-2",
    "0x1.c71c5220ed814p-3",
    "0x1.746639dde8755p-3",
    "0x1.39a2423eb0525p-3",
    "0x1.2effd6cd9ecb3p-3",
)
# Shift, log2(e) in two parts, 1/2, 1, and the arguments beyond which e^x is 0 or infinite.
_SINGLE = tuple(
    np.float32(number)
    for number in _numbers(
        "0x1.8p23", "0x1.715476p0", "0x1.4ae0cp-26", "0x0.8p0", "0x1p0", "-0x1.ap6", "0x1.68p6"
    )
)
_DOUBLE = _numbers(
    "0x1.8p52",
    "0x1.71547652b82fep0",
    "0x1.777d0ffda0d24p-56",
    "0x0.8p0",
    "0x1p0",
    "-0x1.77p9",
    "0x1.63p9",
)


_LN2_SINGLE = (
    np.float32(float.fromhex("0x1.62e4p-1")),
    np.float32(float.fromhex("0x1.7f7d1cp-20")),
)


def _is_single(kind: Any) -> bool:
    return kind in (FLOAT32, types.float32)


def constants(like: Any) -> tuple[float, ...]:
    """Shift, log2(e) in two parts, 1/2, 1, least and largest useful argument of a type.

    A number as large as the shift has a last place of 1: adding it rounds to a whole.
    """
    raise NotImplementedError("only inside kernels")


@overload(constants, inline="always", strict=False)  # type: ignore[untyped-decorator]
def _constants(like: Any) -> Any:
    numbers = _SINGLE if _is_single(like) else _DOUBLE
    return lambda like: numbers


def ln2(like: Any) -> tuple[float, float]:
    """Ln 2 in two parts."""
    raise NotImplementedError("only inside kernels")


@overload(ln2, inline="always", strict=False)  # type: ignore[untyped-decorator]
def _ln2(like: Any) -> Any:
    numbers = _LN2_SINGLE if _is_single(like) else (LN2_HIGH, LN2_LOW)
    return lambda like: numbers


def two_to(f: Any) -> Any:
    """2^f for |f| <= 1/2, to one unit in the last place."""
    raise NotImplementedError("only inside kernels")


@overload(two_to, inline="always", strict=False)  # type: ignore[untyped-decorator]
def _two_to(f: Any) -> Any:
    coefficients = _TWO_TO_SINGLE if _is_single(f) else _TWO_TO_DOUBLE
    return lambda f: polynomial(f, coefficients)


def log_mantissa(m: Any) -> Any:
    """Natural logarithm of m in [sqrt(1/2), sqrt(2)]."""
    raise NotImplementedError("only inside kernels")


@overload(log_mantissa, inline="always", strict=False)  # type: ignore[untyped-decorator]
def _log_mantissa(m: Any) -> Any:
    return _log_single if _is_single(m) else _log_double


def _log_single(m: Any) -> Any:
    z = m - np.float32(1.0)
    square = z * z
    return z + fma(square, np.float32(-0.5), polynomial(z, _LOG_SINGLE) * z * square)


def _log_double(m: Any) -> Any:
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    return fma(s * t, polynomial(t, _LOG_DOUBLE), s + s)
