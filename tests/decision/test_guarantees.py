"""Guaranteed thresholds and exact bounds, against counting and simulation.

Simulations draw with a seed fixed beforehand; a share seen in 2,000 repetitions must lie
within the 99 % binomial band of what is promised.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom, binomtest

from ood_toolkit.decision import (
    ClassThresholds,
    Threshold,
    acceptance_bounds,
    guaranteed_rank,
    rows_needed,
)
from ood_toolkit.errors import BadParameter, InputError
from tests.decision.bands import REPETITIONS, inside_band, not_above_band

SHARES = st.floats(0.05, 0.995)


@given(SHARES, st.floats(0.001, 0.6))
def test_rows_needed_is_the_least_number(tpr: float, delta: float) -> None:
    rows = rows_needed(tpr, delta)
    assert tpr**rows <= delta
    assert rows == 1 or tpr ** (rows - 1) > delta


def test_rows_needed_of_the_usual_requests() -> None:
    """ln(0.05) / ln(0.95) = 58.4, ln(0.01) / ln(0.99) = 458.2."""
    assert rows_needed(0.95, 0.05) == 59
    assert rows_needed(0.99, 0.01) == 459
    assert rows_needed(0.9, 0.1) == 22


def test_rows_needed_where_the_logarithms_are_whole() -> None:
    assert rows_needed(0.5, 0.125) == 3
    assert rows_needed(0.25, 2.0**-10) == 5


@given(st.integers(1, 3000), SHARES, st.floats(0.001, 0.6))
def test_the_rank_is_the_largest_that_keeps_the_promise(
    rows: int, tpr: float, delta: float
) -> None:
    if rows < rows_needed(tpr, delta):
        with pytest.raises(InputError, match=f"it takes {rows_needed(tpr, delta)}"):
            guaranteed_rank(rows, tpr, delta)
        return
    rank = guaranteed_rank(rows, tpr, delta)
    assert 1 <= rank <= rows
    # P(at most rank - 1 of N lie below the true quantile)
    assert binom.cdf(rank - 1, rows, 1 - tpr) <= delta * (1 + 1e-12) or rank == 1
    assert binom.cdf(rank, rows, 1 - tpr) > delta


@settings(max_examples=40)
@given(st.integers(1, 400), st.data())
def test_bounds_are_clopper_and_pearson_s(rows: int, data: st.DataObject) -> None:
    accepted = data.draw(st.integers(0, rows))
    low, high = acceptance_bounds(accepted, rows, 0.1)
    expected = binomtest(accepted, rows).proportion_ci(0.9, method="exact")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize(("rows", "tpr", "delta"), [(59, 0.95, 0.05), (500, 0.9, 0.1)])
def test_the_guarantee_fails_as_seldom_as_promised(rows: int, tpr: float, delta: float) -> None:
    rng = np.random.default_rng(20_250_701)
    draws = rng.normal(size=(REPETITIONS, rows))
    values = np.sort(draws, axis=1)[:, guaranteed_rank(rows, tpr, delta) - 1]
    for i in (0, 7, 1999):
        assert Threshold.guaranteed(draws[i], tpr, delta).value == values[i]
    failed = int((1.0 - ndtr(values) < tpr).sum())
    # how often it fails exactly: ranks are whole numbers
    exact = float(binom.cdf(guaranteed_rank(rows, tpr, delta) - 1, rows, 1 - tpr))
    assert exact <= delta
    assert inside_band(failed, exact)
    assert not_above_band(failed, delta)


def test_the_plain_threshold_fails_about_every_other_time() -> None:
    """What the guarantee is for."""
    rng = np.random.default_rng(20_250_702)
    values = [Threshold.at_tpr(rng.normal(size=500), 0.9).value for _ in range(REPETITIONS)]
    failed = int((1.0 - ndtr(np.array(values)) < 0.9).sum())
    assert failed > 0.4 * REPETITIONS


def test_ties_keep_the_guarantee() -> None:
    rng = np.random.default_rng(20_250_703)
    share = np.array([0.03, 0.07, 0.2, 0.7])
    draws = rng.choice(4, p=share, size=(REPETITIONS, 100)).astype(float)
    assert Threshold.guaranteed(draws[0], 0.95).value in (0.0, 1.0, 2.0, 3.0)
    values = np.sort(draws, axis=1)[:, guaranteed_rank(100, 0.95) - 1].astype(int)
    accepted = np.cumsum(share[::-1])[::-1][values]
    assert not_above_band(int((accepted < 0.95).sum()), 0.05)


def test_a_guaranteed_threshold_says_so_and_comes_back() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    found = Threshold.guaranteed(scores, 0.9, 0.1)
    assert found.value == np.sort(scores)[guaranteed_rank(200, 0.9, 0.1) - 1]
    assert found.facts() == {
        "value": found.value, "tpr": 0.9, "rows": 200, "guarantee": True, "delta": 0.1,
    }  # fmt: skip
    again = Threshold.from_facts(found.facts(), found.id_scores)
    assert (again.value, again.delta) == (found.value, 0.1)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, np.nan])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(BadParameter, match="tpr must lie in"):
        rows_needed(share, 0.05)
    with pytest.raises(BadParameter, match="delta must lie in"):
        rows_needed(0.95, share)
    with pytest.raises(BadParameter, match="delta must lie in"):
        acceptance_bounds(1, 2, share)


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3), (0, 0)])
def test_counts_that_make_no_sense(counts: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="is no count of successes"):
        acceptance_bounds(*counts)


# Per class


def test_each_class_has_the_threshold_of_its_rows() -> None:
    rng = np.random.default_rng(1)
    scores, predicted = rng.normal(size=300).round(2), rng.integers(0, 3, 300)
    for delta in (None, 0.1):
        found = ClassThresholds.at_tpr(scores, predicted, 3, tpr=0.9, delta=delta)
        for c in range(3):
            own = scores[predicted == c]
            expected = (
                Threshold.at_tpr(own, 0.9)
                if delta is None
                else Threshold.guaranteed(own, 0.9, delta)
            )
            assert found.thresholds[c].value == expected.value
        new, classes = rng.normal(size=50), rng.integers(0, 3, 50)
        accept, p = found.accept(new, classes), found.p_value(new, classes)
        for i in range(50):
            one = found.thresholds[classes[i]]
            assert accept[i] == (new[i] >= one.value)
            assert p[i] == one.p_value(new[i : i + 1])[0]


def test_a_class_with_too_few_rows_is_named() -> None:
    scores, predicted = np.arange(60.0), np.repeat([0, 1], [50, 10])
    with pytest.raises(InputError, match=r"class 2: 0 in-distribution rows .* takes 1"):
        ClassThresholds.at_tpr(scores, predicted, 3)
    with pytest.raises(InputError, match=r"class 1: 10 in-distribution rows .* takes 22"):
        ClassThresholds.at_tpr(scores, predicted, 2, tpr=0.9, delta=0.1)
    with pytest.raises(InputError, match="60 scores but 3 predictions"):
        ClassThresholds.at_tpr(scores, predicted[:3], 2)
