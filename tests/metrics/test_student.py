"""Student's t against mpmath's incomplete beta function."""

from __future__ import annotations

import math

import mpmath
import pytest

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.student import student_quantile, student_two_sided


def tails(t, freedom):
    t, freedom = mpmath.mpf(t), mpmath.mpf(freedom)
    with mpmath.workdps(30):
        x = freedom / (freedom + t * t)
        return float(mpmath.betainc(freedom / 2, 0.5, 0, x, regularized=True))


@pytest.mark.parametrize("freedom", [0.7, 1.0, 2.5, 10.0, 37.3, 300.0, 5000.0, 1e6])
def test_tails_and_quantiles(freedom):
    for t in (0.01, 0.5, 1.0, -1.96, 3.0, 8.0):
        assert student_two_sided(t, freedom) == pytest.approx(tails(t, freedom), rel=1e-8)
    for level in (0.1, 0.5, 0.9, 0.95, 0.999):
        found = student_quantile(level, freedom)
        assert tails(found, freedom) == pytest.approx(1 - level, rel=1e-8)


def test_many_degrees_of_freedom_are_normal():
    assert student_two_sided(1.96, math.inf) == pytest.approx(math.erfc(1.96 / math.sqrt(2)))
    assert student_quantile(0.95, math.inf) == pytest.approx(1.959963984540054)
    assert student_quantile(0.95, 9.9e6) == pytest.approx(student_quantile(0.95, 1.1e7), rel=1e-6)
    assert student_two_sided(0.0, 3.0) == 1.0


def test_levels_out_of_range_are_refused():
    with pytest.raises(InputError, match="level is 1"):
        student_quantile(1.0, 5.0)
