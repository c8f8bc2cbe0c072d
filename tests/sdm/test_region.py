"""The search for the region, against trying every candidate; the ladder; the bands."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ood_toolkit.detectors.sdm import find_region
from ood_toolkit.detectors.sdm.distances import band_half_width, effective_sample_sizes
from ood_toolkit.detectors.sdm.region import ladder_levels, region_ladder
from ood_toolkit.errors import BadParameter

LABELS = np.array([0, 0, 0, 1, 1, 1])
P = np.array([0.95, 0.85, 0.70, 0.96, 0.86, 0.71])
Q = np.array([3.0, 2, 1, 3, 2, 1])


@pytest.mark.parametrize(
    ("alpha", "q_min", "psi"),
    [(0.9, 3, [0.95, 0.96]), (0.8, 2, [0.85, 0.86]), (0.7, 1, [0.70, 0.71])],
)
def test_golden(alpha: float, q_min: float, psi: list[float]) -> None:
    region = find_region(Q, P, LABELS, 2, alpha)
    assert (region.q_min, region.psi.tolist(), region.missed) == (q_min, psi, ())


def test_reject_everything_is_an_answer() -> None:
    region = find_region(Q, P, LABELS, 2, 0.97)
    assert not region.exists
    assert region.q_min == np.inf
    assert region.psi.tolist() == [np.inf, np.inf]
    assert region.missed == (0, 1)
    assert not region.accepts(np.array([1e9]), np.array([0]), np.array([1.0])).any()
    assert find_region(Q, P, LABELS, 3, 0.9).missed == (2,)  # a class without rows
    assert find_region(Q, P, LABELS, 2, 0.955).missed == (0,)


def test_classes_that_reach_alpha_apart_but_never_together() -> None:
    q, p = np.array([1.0, 1, 2, 2]), np.array([0.99, 0.99, 0.99, 0.2])
    region = find_region(q, p, np.array([0, 0, 1, 1]), 2, 0.9)
    assert region.missed == (1,)
    q, p = np.array([1.0, 2, 3]), np.array([0.99, 0.2, 0.99])
    region = find_region(q, p, np.array([0, 1, 1]), 2, 0.9)  # 0 at q <= 1, 1 at q >= 3
    assert not region.exists
    assert len(region.missed) == 1


def search(q: list, p: list, y: list, classes: int, alpha: Fraction) -> tuple:
    """Every candidate from the least, every class, every row."""
    for candidate in sorted({v for v in q if v > 0}):
        psi = []
        for c in range(classes):
            own = sorted(b for a, b, d in zip(q, p, y, strict=True) if a >= candidate and d == c)
            index = min(int((1 - alpha) * len(own)), len(own) - 1)
            psi.append(own[index] if own else 0.0)
        if all(v >= float(alpha) for v in psi):  # a level is given as a float: 0.6 is below 3/5
            return candidate, psi
    return np.inf, [np.inf] * classes


hundredths = st.integers(51, 100).map(lambda n: Fraction(n, 100))
calibration = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 8.0]),
        st.sampled_from([0.1, 0.5, 0.6, 0.75, 0.8, 0.9, 0.95, 0.99, 1.0]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@example([(0.5, 0.6, 0), (0.5, 0.6, 1), (0.5, 0.6, 2)], Fraction(3, 5))
@given(calibration, hundredths)
def test_equals_trying_every_candidate(rows: list, alpha: Fraction) -> None:
    q, p, y = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    expected = search(q, p, y, 3, alpha)
    region = find_region(np.array(q), np.array(p), np.array(y, dtype=int), 3, float(alpha))
    assert (region.q_min, region.psi.tolist()) == expected
    assert region.exists == (not region.missed)


@given(calibration, hundredths, hundredths)
def test_q_min_does_not_fall_as_alpha_rises(rows: list, a: Fraction, b: Fraction) -> None:
    q, p, y = (np.array(column) for column in zip(*[*rows, (0.0, 0.0, 0)], strict=True))
    low, high = (find_region(q, p, y, 3, float(level)).q_min for level in sorted((a, b)))
    assert low <= high


@given(calibration, hundredths)
def test_the_quantile_of_each_class_in_the_region_reaches_alpha(rows: list, alpha) -> None:
    q, p, y = (np.array(column) for column in zip(*[*rows, (0.0, 0.0, 0)], strict=True))
    region = find_region(q, p, y, 3, float(alpha))
    if not region.exists:
        return
    assert (region.psi >= float(alpha)).all()
    for c in range(3):
        own = p[(q >= region.q_min) & (y == c)]
        assert (own < region.psi[c]).sum() <= (1 - alpha) * len(own)


def test_one_less_alpha_is_rounded_to_ten_digits() -> None:
    """(1 - 0.9) * 10 is a little less than 1 in floating point."""
    p = np.array([0.1, *[0.95] * 9])
    assert find_region(np.ones(10), p, np.zeros(10, int), 1, 0.9).psi.tolist() == [0.95]
    p = np.array([*[0.1] * 29, *[0.99] * 71])
    assert find_region(np.ones(100), p, np.zeros(100, int), 1, 0.71).psi.tolist() == [0.99]


@pytest.mark.parametrize("alpha", [0.5, 0.3, 1.01, float("nan")])
def test_levels_that_make_no_sense(alpha: float) -> None:
    with pytest.raises(BadParameter, match="alpha must lie"):
        find_region(Q, P, LABELS, 2, alpha)


def test_the_ladder() -> None:
    ladder = region_ladder(Q, P, P, LABELS, LABELS, 2, step=0.1)
    assert [region.alpha for region in ladder] == [0.9, 0.8, 0.7, 0.6]
    assert [region.q_min for region in ladder] == [3, 2, 1, np.inf]
    assert [r.psi.tolist() for r in ladder[:3]] == [[0.95, 0.96], [0.85, 0.86], [0.70, 0.71]]
    asked = [
        ((0.94, 0.06), 3),
        ((0.1, 0.9), 2),
        ((0.25, 0.75), 1),
        ((0.6, 0.4), 3),
        ((0.99, 0.01), 0),
    ]
    p = np.array([pair for pair, _ in asked])
    levels = ladder_levels(ladder, np.array([q for _, q in asked]), p.argmax(axis=1), p.max(axis=1))
    assert levels.tolist() == [0.8, 0.8, 0.7, 0.0, 0.0]
    with pytest.raises(BadParameter, match="step"):
        region_ladder(Q, P, P, LABELS, LABELS, 2, step=0.5)


def test_bands() -> None:
    assert band_half_width(np.array([3, 2]), 0.9) == pytest.approx([0.70660365, 0.86540920])
    assert band_half_width(np.array([0, 50]), 0.9).max() == 1.0
    assert band_half_width(np.array([5, 0]), 1.0).tolist() == [np.inf, 1.0]


def test_effective_sample_sizes_count_equals_and_rows_without_match() -> None:
    known = [np.array([0, 1, 1, 2.5]), np.array([0, 0, 3.0])]
    found = effective_sample_sizes(np.array([0.0, 1, 2, 3]), known)
    assert found.tolist() == [[1, 2], [3, 2], [3, 2], [4, 3]]
