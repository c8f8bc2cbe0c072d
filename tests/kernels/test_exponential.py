"""Exponential and logarithm in units of the last place, against mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.kernels import exponential
from tests.kernels.vector_functions import over_vectors

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
both = pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)

exp = over_vectors(exponential.exp)
exp_below_one = over_vectors(exponential.exp_below_one)
minus_expm1 = over_vectors(exponential.minus_expm1)
log = over_vectors(exponential.log)
log1p = over_vectors(exponential.log1p)

# docs/kernels.md names these
WORST = {"exp": {SINGLE: 2.1, DOUBLE: 1.6}, "log": {SINGLE: 0.8, DOUBLE: 2.0}}


def units_off(found: npt.NDArray, exact: list[mpmath.mpf]) -> float:
    """The largest error in units of the last place of the exact value."""
    info = np.finfo(found.dtype)
    worst = 0.0
    for value, true in zip(found.tolist(), exact, strict=True):
        place = max(int(mpmath.frexp(true)[1]) - info.nmant - 1, info.minexp - info.nmant)
        worst = max(worst, float(abs(mpmath.mpf(value) - true) * mpmath.mpf(2) ** -place))
    return worst


def exactly(function, x: npt.NDArray) -> list[mpmath.mpf]:
    with mpmath.workprec(160):
        return [function(mpmath.mpf(value)) for value in x.tolist()]


def spread_over(low: float, high: float, dtype: np.dtype) -> npt.NDArray:
    return np.random.default_rng(0).uniform(low, high, 4000).astype(dtype)


@both
def test_exp(dtype: np.dtype) -> None:
    least, most = (-103.9, 88.72) if dtype == SINGLE else (-745.1, 709.78)
    for low, high in ((least, most), (-1.0, 1.0), (least, least + 20.0)):
        x = spread_over(low, high, dtype)
        assert units_off(exp(x), exactly(mpmath.exp, x)) <= WORST["exp"][dtype]


@both
def test_exp_at_the_edges(dtype: np.dtype) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30], dtype)
    np.testing.assert_array_equal(exp(x), np.array([np.nan, np.inf, 0, 1, 1, np.inf, 0], dtype))
    subnormal = np.array([-87.5, -95.0, -103.5] if dtype == SINGLE else [-708.5, -730.0, -744.0])
    assert units_off(exp(subnormal.astype(dtype)), exactly(mpmath.exp, subnormal)) <= 1.0


@both
def test_exp_below_one(dtype: np.dtype) -> None:
    x = spread_over(-86.0, 0.0, dtype)
    assert units_off(exp_below_one(x), exactly(mpmath.exp, x)) <= WORST["exp"][dtype]
    far = exp_below_one(np.array([-87.0, -1e3, -1e30, -np.inf], dtype))
    assert (far > 0.0).all()
    assert (far < 1e-37).all()


def test_minus_expm1() -> None:
    for low in (-60.0, -1.0, -1e-3, -1e-30):
        x = spread_over(low, 0.0, DOUBLE)
        assert units_off(minus_expm1(x), exactly(lambda v: -mpmath.expm1(v), x)) <= 3.0
    edges = minus_expm1(np.array([0.0, -1e3, -np.inf]))
    np.testing.assert_array_equal(edges, [0.0, 1.0, 1.0])


@both
def test_log(dtype: np.dtype) -> None:
    wide = np.exp(spread_over(-87.0, 88.0, DOUBLE)).astype(dtype)
    for x in (wide, spread_over(0.5, 2.0, dtype), spread_over(0.999, 1.001, dtype)):
        assert units_off(log(x), exactly(mpmath.log, x)) <= WORST["log"][dtype]


def test_log1p() -> None:
    for x in (np.exp(spread_over(-700.0, 700.0, DOUBLE)), spread_over(0.0, 1.0, DOUBLE)):
        assert units_off(log1p(x), exactly(mpmath.log1p, x)) <= WORST["log"][DOUBLE]
    assert log1p(np.zeros(1)).tolist() == [0.0]


@both
@settings(max_examples=200)
@given(data=st.data())
def test_any_argument(dtype: np.dtype, data: st.DataObject) -> None:
    limit = 88.0 if dtype == SINGLE else 709.0
    numbers = st.floats(-limit, limit, width=32)
    x = data.draw(hnp.arrays(dtype, st.integers(1, 40), elements=numbers))
    assert units_off(exp(x), exactly(mpmath.exp, x)) <= WORST["exp"][dtype]
