"""Thresholds and p-values, against counts done by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_toolkit import metrics
from ood_toolkit.decision import Threshold
from ood_toolkit.errors import BadParameter, InputError

# few distinct values, so that ties are the rule
SCORES = st.lists(
    st.sampled_from([-np.inf, -2.5, -1.0, 0.0, 0.125, 1.0, 7.5, np.inf]), min_size=1, max_size=40
)


def accepted(scores: list[float], value: float) -> int:
    return sum(1 for s in scores if s >= value)


@given(SCORES, st.integers(1, 100))
def test_the_threshold_is_the_largest_that_accepts_the_share(
    scores: list[float], percent: int
) -> None:
    threshold = Threshold.at_tpr(np.array(scores), percent / 100)
    wanted = Fraction(percent, 100) * len(scores)
    assert threshold.value in scores
    assert accepted(scores, threshold.value) >= wanted
    larger = [s for s in scores if s > threshold.value]
    if larger:
        assert accepted(scores, min(larger)) < wanted


@given(SCORES, SCORES)
def test_p_values_count_the_scores_at_most_as_large(
    id_scores: list[float], scores: list[float]
) -> None:
    threshold = Threshold.at_tpr(np.array(id_scores))
    expected = [(1 + sum(1 for i in id_scores if i <= s)) / (len(id_scores) + 1) for s in scores]
    assert threshold.p_value(np.array(scores)).tolist() == expected


@given(SCORES, SCORES)
def test_accepting_is_reaching_the_value(id_scores: list[float], scores: list[float]) -> None:
    threshold = Threshold.at_tpr(np.array(id_scores))
    got = threshold.accept(np.array(scores))
    assert got.dtype == bool
    assert got.tolist() == [s >= threshold.value for s in scores]


@settings(deadline=None)  # the first call compiles
@given(SCORES, SCORES, st.sampled_from([0.5, 0.9, 0.95, 0.951, 1.0]))
def test_the_share_of_ood_accepted_is_the_false_positive_rate(
    id_scores: list[float], ood_scores: list[float], tpr: float
) -> None:
    threshold = Threshold.at_tpr(np.array(id_scores), tpr)
    share = threshold.accept(np.array(ood_scores)).mean()
    assert share == metrics.fpr_at_tpr(np.array(id_scores), np.array(ood_scores), tpr=tpr)


@pytest.mark.parametrize("rows", [20, 40, 100, 1000, 9999, 10_000])
def test_rounding_of_the_share_takes_no_row(rows: int) -> None:
    """0.95 N is computed as a little more or less than the whole number that it is."""
    scores = np.random.default_rng(0).permutation(rows).astype(float)
    for percent in range(1, 101):
        threshold = Threshold.at_tpr(scores, percent / 100)
        assert threshold.accept(scores).sum() == -(-percent * rows // 100)


def test_p_values_of_in_distribution_rows_are_valid() -> None:
    """P(p <= t) <= t: 4,000 draws of a threshold of 19 rows and one new row."""
    draws = np.random.default_rng(1).normal(size=(4000, 20)).round(1)
    p = np.array([Threshold.at_tpr(row[:-1]).p_value(row[-1:])[0] for row in draws])
    for t in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0):
        # three standard errors of a share of 4,000
        assert (p <= t).mean() <= t + 3 * np.sqrt(t * (1 - t) / 4000)


def test_the_least_share_accepts_one_row() -> None:
    assert Threshold.at_tpr(np.array([3.0, 1.0, 2.0]), 1e-12).value == 3.0


def test_a_score_that_is_no_number_is_neither_accepted_nor_given_a_p_value() -> None:
    threshold = Threshold.at_tpr(np.array([1.0, 2.0]))
    assert threshold.accept(np.array([np.nan])).tolist() == [False]
    assert np.isnan(threshold.p_value(np.array([np.nan]))).all()


def test_no_rows_in_no_rows_out() -> None:
    threshold = Threshold.at_tpr(np.array([1.0, 2.0]))
    assert threshold.accept(np.empty(0)).shape == threshold.p_value(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.0001, np.nan, np.inf])
def test_a_share_outside_its_range_is_refused(tpr: float) -> None:
    with pytest.raises(BadParameter, match=r"tpr must lie in \(0, 1\]"):
        Threshold.at_tpr(np.array([1.0]), tpr)


@pytest.mark.parametrize("scores", [[], [1.0, np.nan, 2.0]])
def test_scores_that_give_no_threshold_are_refused(scores: list[float]) -> None:
    with pytest.raises(InputError, match="needs in-distribution scores, none of them NaN"):
        Threshold.at_tpr(np.array(scores))


def test_facts_bring_it_back() -> None:
    threshold = Threshold.at_tpr(np.array([3.0, 1.0, 2.0]), 0.6)
    assert threshold.facts() == {"value": 2.0, "tpr": 0.6, "rows": 3}
    again = Threshold.from_facts(threshold.facts(), threshold.id_scores)
    assert (again.value, again.tpr) == (threshold.value, threshold.tpr)
    assert np.array_equal(again.id_scores, threshold.id_scores)


def test_the_scores_given_are_not_sorted_in_place() -> None:
    scores = np.array([3.0, 1.0, 2.0])
    Threshold.at_tpr(scores)
    assert scores.tolist() == [3.0, 1.0, 2.0]
