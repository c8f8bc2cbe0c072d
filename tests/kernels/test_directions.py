"""Rows of length 1, however small or large their entries are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ood_toolkit.kernels.directions import unit_rows

ROWS = np.random.default_rng(3).normal(size=(40, 7))


def slow(row: np.ndarray) -> list[float]:
    """Each entry over the root of the sum of squares, which fractions hold exactly."""
    exact = [Fraction(float(v)) for v in row]
    largest = max(map(abs, exact))
    length = float(sum((v / largest) ** 2 for v in exact)) ** 0.5
    return [float(v / largest) / length for v in exact]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [0, -40, 40, -62, 62, -100, 100, -120, 120, -900, 900, -1020])
def test_any_size(dtype: str, power: int) -> None:
    if dtype == "float32" and abs(power) > 120:
        return
    rows = np.ldexp(ROWS.astype(dtype), power)
    bad, found = unit_rows(rows)
    assert bad == -1
    assert found.dtype == dtype
    expected = np.array([slow(row) for row in rows])
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


def test_ordinary_rows_keep_their_bits_beside_strange_ones() -> None:
    plain = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    mixed = ROWS.copy()
    mixed[5], mixed[9] = ROWS[5] * 2.0**-700, ROWS[9] * 2.0**700
    _, found = unit_rows(mixed)
    others = np.delete(np.arange(len(ROWS)), [5, 9])
    np.testing.assert_array_equal(found[others], plain[others])
    np.testing.assert_allclose(found, plain, rtol=1e-15)


def test_a_row_of_zeros_is_named() -> None:
    rows = ROWS.copy()
    rows[3], rows[7], rows[8] = ROWS[3] * 1e-200, 0.0, 0.0
    assert unit_rows(rows)[0] == 7
    assert unit_rows(np.empty((0, 3)))[0] == -1
