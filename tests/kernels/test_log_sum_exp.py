"""Log-sum-exp to the unit in the last place, against mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import Statistic, log_sum_exp

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
both = pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
MOST_UNITS = {SINGLE: 2.5, DOUBLE: 4.0}


def exact_lse(row: list[float], temperature: float) -> mpmath.mpf:
    with mpmath.workprec(200):
        z = [mpmath.mpf(x) / mpmath.mpf(temperature) for x in row if x > -math.inf]
        top = max(z)
        return top + mpmath.log(mpmath.fsum(mpmath.exp(x - top) for x in z))


def units_off(logits: npt.NDArray, wanted: Statistic) -> float:
    """The largest error of the rows, in units in the last place of max(|lse|, 1)."""
    found = row_statistics(logits, [wanted])
    assert found.first_bad == -1
    worst = 0.0
    for row, value in zip(logits.tolist(), found[wanted].tolist(), strict=True):
        exact = exact_lse(row, wanted.arguments[0])
        digits = np.finfo(logits.dtype).nmant + 1
        place = math.frexp(max(abs(float(exact)), 1.0))[1] - digits
        worst = max(worst, abs(float((mpmath.mpf(value) - exact) * mpmath.mpf(2) ** -place)))
    return worst


@both
@pytest.mark.parametrize("classes", [2, 3, 10, 64, 113, 1000])
@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 8.0, 300.0, 1e5])
def test_random_rows(classes: int, scale: float, dtype: np.dtype) -> None:
    rng = np.random.default_rng(classes)
    logits = (rng.normal(rng.normal(), 1.0, (12, classes)) * scale).astype(dtype)
    assert units_off(logits, log_sum_exp()) <= MOST_UNITS[dtype]
    assert units_off(logits[:4], log_sum_exp(0.7)) <= MOST_UNITS[dtype]


@both
def test_very_many_classes(dtype: np.dtype) -> None:
    """Each class twenty times, so that mpmath need not take 200,000 exponentials."""
    few = np.random.default_rng(0).normal(0.0, 3.0, (2, 10_000)).astype(dtype)
    few[1] = -1.25  # every rounding of a sum of equal terms points the same way
    wanted = log_sum_exp()
    found = row_statistics(np.tile(few, 20), [wanted])[wanted]
    for row, value in zip(few.tolist(), found.tolist(), strict=True):
        exact = exact_lse(row, 1.0) + mpmath.log(20)
        place = math.frexp(float(exact))[1] - np.finfo(dtype).nmant - 1
        assert abs(value - exact) * mpmath.mpf(2) ** -place <= MOST_UNITS[dtype]


@both
@settings(max_examples=150)
@given(data=st.data())
def test_all_finite_rows(dtype: np.dtype, data: st.DataObject) -> None:
    """From subnormal to the largest number, near to each other and far apart."""
    anything = st.floats(allow_nan=False, allow_infinity=False, width=8 * dtype.itemsize)
    near = st.floats(-40.0, 40.0, width=32)
    elements = data.draw(st.sampled_from([anything, near, anything | near]))
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(2, 150)))
    logits = data.draw(hnp.arrays(dtype, shape, elements=elements))
    assert units_off(logits, log_sum_exp()) <= MOST_UNITS[dtype]


def some_row(classes: int, at: int, value: float, others: float, dtype: np.dtype) -> npt.NDArray:
    row = np.full((1, classes), others, dtype)
    row[0, at] = value
    return row


@both
@pytest.mark.parametrize("classes", [2, 10, 200])
def test_the_ends_of_the_number_line(classes: int, dtype: np.dtype) -> None:
    most, tiny = float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal)
    lse = log_sum_exp()
    for value in (3e38, -3e38, most, -most, *((1e308, -1e308) if dtype == DOUBLE else ())):
        for others in (-math.inf, -most):
            for at in (0, classes - 1):
                row = some_row(classes, at, value, others, dtype)
                expected = row[0, at] if value > others else row[0, 0]
                assert row_statistics(row, [lse])[lse][0] == expected
    for value in (2.5, tiny, -tiny, 0.0):
        for others in (-math.inf, tiny, 0.0, -3e38):
            row = some_row(classes, 1, value, others, dtype)
            assert units_off(row, lse) <= MOST_UNITS[dtype]


@both
@pytest.mark.parametrize("classes", [2, 50, 300])
def test_bad_rows_are_told_from_masked_ones(classes: int, dtype: np.dtype) -> None:
    lse = log_sum_exp()
    for bad in (np.nan, -np.nan, np.inf):
        for at in (0, classes - 1):
            logits = np.zeros((40, classes), dtype)
            logits[23, at] = bad
            logits[31] = -np.inf
            assert row_statistics(logits, [lse]).first_bad == 23
            logits[23] = 0.0
            assert row_statistics(logits, [lse]).first_bad == 31
