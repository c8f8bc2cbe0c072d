"""Whether explicit vectors can be used, and the numbers their kernels are called with."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.kernels._platform import compiles_vectors, converts_half
from ood_toolkit.kernels.energy import Scale
from ood_toolkit.kernels.request import Request
from ood_toolkit.kernels.softmax_sums import Scales

__all__ = ["KINDS", "available", "scale", "scales", "widened_half", "within_range"]

KINDS: dict[np.dtype[Any], Any] = {
    np.dtype(np.float32): np.float32(0),
    np.dtype(np.float64): np.float64(0),
    np.dtype(np.float16): np.uint16(0),
    np.dtype(ml_dtypes.bfloat16): np.int16(0),
}
"""dtype -> a sample of the type by which kernels know how logits are stored."""

MOST = 64  # temperatures and generalised entropies that a kernel's scratch has room for
_COLDEST, _HOTTEST = 1e-25, 1e25
# log2(e), exact to more than any float needs
_LOG2_E = Fraction(float.fromhex("0x1.71547652b82fep0")) + Fraction(
    float.fromhex("0x1.777d0ffda0d24p-56")
)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether kernels of explicit vectors are used; OOD_TOOLKIT_KERNELS=readable says no.

    The variable is read once: reading it takes as long as a row of a thousand logits.

    Raises
    ------
    InputError
        If the variable has another value than `vectors` or `readable`.
    """
    choice = os.environ.get("OOD_TOOLKIT_KERNELS", "vectors")
    if choice not in ("vectors", "readable"):
        raise InputError(f"OOD_TOOLKIT_KERNELS is {choice!r}; set it to vectors or readable")
    return choice == "vectors" and compiles_vectors()


def widened_half(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which kernels take logits: float32 where they cannot read float16."""
    if dtype == np.float16 and not converts_half():
        return np.dtype(np.float32)
    return dtype


@lru_cache(maxsize=64)
def scale(double: bool, temperature: float) -> Scale:
    """How a kernel of float64 or float32 takes logits / temperature to powers of two."""
    exact = _LOG2_E / Fraction(temperature)
    kind = np.float64 if double else np.float32
    high = kind(float(exact))
    return Scale(high, kind(float(exact - Fraction(float(high)))))


def scales(double: bool, wanted: Request, classes: int) -> Scales:
    """The same at T = 1 and every temperature, and priors of `classes` entries."""
    each = [scale(double, t) for t in (1.0, *wanted.temperatures.tolist())]
    kind = np.float64 if double else np.float32
    high, low = np.array(each, dtype=kind).T.copy()
    log_prior = np.zeros((len(wanted.log_prior), classes), kind)
    log_prior[:, : wanted.log_prior.shape[1]] = wanted.log_prior
    return Scales(high, low, float(high.max()), log_prior)


def within_range(wanted: Request) -> bool:
    """Whether vector kernels can hold what a request asks for; if not, the readable can."""
    temperatures = wanted.temperatures
    return (
        max(len(temperatures), len(wanted.gen)) <= MOST
        and bool(((temperatures > _COLDEST) & (temperatures < _HOTTEST)).all())
        and bool(np.isfinite(wanted.log_prior).all())
    )
