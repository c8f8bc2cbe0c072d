"""Wrong predictions and outliers both to be rejected: known answers, every order, intervals."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning
from tests.metrics.score_strategies import compiled

VALUES = st.sampled_from([0.1, 0.5, 0.9, 0.0, math.inf])
INSIDE = st.lists(st.tuples(VALUES, st.booleans()), max_size=4)
OUTSIDE = st.lists(VALUES, max_size=3)


def mean_over_orders(rows: list[tuple[float, float, bool]]) -> list[tuple[float, float, float]]:
    """Cost, own rows and outliers among the first k rows, on average over orders of ties."""
    orders = [
        order
        for order in itertools.permutations(rows)
        if all(a[0] >= b[0] for a, b in itertools.pairwise(order))
    ]
    return [
        tuple(
            sum(sum(value(row) for row in order[:k]) for order in orders) / len(orders)
            for value in (lambda r: r[1], lambda r: not r[2], lambda r: r[2])
        )
        for k in range(1, len(rows) + 1)
    ]


@compiled
@given(INSIDE, OUTSIDE, st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_the_curve_is_the_mean_over_all_orders(inside, outside, cost):
    rows = [(s, float(not right), False) for s, right in inside]
    rows += [(s, cost, True) for s in outside]
    scores, correct = [s for s, _ in inside], [right for _, right in inside]
    curve = metrics.scod_curve(scores, correct, outside, cost)
    n = len(rows)
    expected = mean_over_orders(rows)
    for k, (paid, own, strange) in enumerate(expected, start=1):
        assert curve.coverage[k - 1] == k / n
        assert curve.risk[k - 1] == pytest.approx(paid / k, abs=1e-12)
        assert curve.id_coverage[k - 1] == pytest.approx(own / max(len(inside), 1), abs=1e-12)
        found = curve.ood_coverage[k - 1]
        assert found == pytest.approx(strange / max(len(outside), 1), abs=1e-12)
    assert len(curve.risk) == n
    if n:
        area = sum(paid / k for k, (paid, _, _) in enumerate(expected, start=1)) / n
        given_ = scores, correct, outside
        assert metrics.scod_aurc(*given_, cost) == pytest.approx(area, abs=1e-12)
        general = sum(paid for paid, _, _ in expected) / n**2
        assert metrics.scod_augrc(*given_, cost) == pytest.approx(general, abs=1e-12)
        for share in (1 / 3, 0.5, 1.0):
            k = next(k for k in range(1, n + 1) if k / n >= share)
            risk = metrics.scod_risk_at_coverage(*given_, share, cost)
            assert risk == pytest.approx(expected[k - 1][0] / k, abs=1e-12)


def test_known_answers():
    """Surest first: right, outlier, wrong, right, outlier."""
    rows = [0.9, 0.7, 0.5], [True, False, True], [0.8, 0.3]
    expected = np.array([0, 1 / 2, 2 / 3, 2 / 4, 3 / 5])
    np.testing.assert_allclose(metrics.scod_curve(*rows).risk, expected, rtol=1e-15)
    assert metrics.scod_aurc(*rows) == pytest.approx(expected.mean(), rel=1e-15)
    assert metrics.scod_augrc(*rows) == pytest.approx((0 + 1 + 2 + 2 + 3) / 25, rel=1e-15)
    assert metrics.scod_aurc(*rows, cost=2.0) == pytest.approx((0 + 1 + 1 + 3 / 4 + 1) / 5)
    assert metrics.scod_risk_at_coverage(*rows, 0.8) == 0.5


def test_without_outliers_it_is_the_selective_risk():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(300).round(1), rng.random(300) < 0.7
    none = np.empty(0)
    assert metrics.scod_aurc(confidence, correct, none) == pytest.approx(
        metrics.aurc(confidence, correct), rel=1e-12
    )
    assert metrics.scod_augrc(confidence, correct, none) == pytest.approx(
        metrics.augrc(confidence, correct), rel=1e-12
    )


def test_with_all_right_it_is_the_detection_of_outliers():
    """The cost among all rows accepted at every rank: a linear function of the AUROC."""
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1.0, size=400), rng.normal(size=100)
    n, m = 400, 100
    expected = m / (n + m) ** 2 * ((1 - metrics.auroc(inside, outside)) * n + (m + 1) / 2)
    assert metrics.scod_augrc(inside, np.ones(n, dtype=bool), outside) == pytest.approx(expected)


def test_what_cannot_be_used():
    for call in (
        metrics.scod_aurc,
        metrics.scod_augrc,
        partial(metrics.scod_risk_at_coverage, coverage=0.5),
    ):
        with pytest.warns(ToolkitWarning, match="there are no rows"):
            assert math.isnan(call([], [], []))
    assert metrics.scod_curve([], [], []).risk.size == 0
    for cost in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="cost is"):
            metrics.scod_curve([1.0], [True], [0.0], cost)
    with pytest.raises(InputError, match=r"ood_scores\[1\] is NaN"):
        metrics.scod_curve([1.0], [True], [0.0, math.nan])
    with pytest.raises(InputError, match=r"confidence\[0\] is NaN"):
        metrics.scod_curve([math.nan], [True], [0.0])
    with pytest.raises(InputError, match="correct has 2 rows"):
        metrics.scod_curve([1.0], [True, False], [0.0])
    with pytest.raises(InputError, match="coverage is 0"):
        metrics.scod_risk_at_coverage([1.0], [True], [0.0], 0.0)


# Intervals of the selective risk


@pytest.mark.parametrize(("rows", "decimals"), [(60, 1), (120, 6)])
def test_intervals_are_those_of_the_plain_bootstrap(rows, decimals):
    rng = np.random.default_rng(rows)
    confidence = rng.random(rows).round(decimals)
    correct = rng.random(rows) < confidence
    coverages, risks = (0.3, 0.8, 1.0), (0.0, 0.1, 0.25)
    found = metrics.selective_intervals(
        confidence, correct, coverages=coverages, risks=risks, resamples=60, seed=4, level=0.9
    )
    plain = partial(metrics.metric_interval, resamples=60, seed=4, level=0.9)
    for share, interval in zip(coverages, found.risk_at_coverage, strict=True):
        expected = plain(
            lambda c, r, s=share: metrics.risk_at_coverage(c, r, s), confidence, correct
        )
        np.testing.assert_allclose(interval, expected, atol=1e-12)
    for limit, interval in zip(risks, found.coverage_at_risk, strict=True):
        expected = plain(
            lambda c, r, s=limit: metrics.coverage_at_risk(c, r, s), confidence, correct
        )
        np.testing.assert_allclose(interval, expected, atol=1e-12)


def test_intervals_hold_the_true_risk_as_often_as_they_say():
    """Right with probability 1/2 + u/2: the risk of the surest half is 1/8."""
    rng = np.random.default_rng(20_250_731)
    held = 0
    for _ in range(200):
        confidence = rng.random(300)
        correct = rng.random(300) < 0.5 + 0.5 * confidence
        found = metrics.selective_intervals(confidence, correct, coverages=[0.5], resamples=200)
        low, high = found.risk_at_coverage[0]
        held += low <= 1 / 8 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_requests_for_intervals_that_make_no_sense():
    rows = [0.5, 0.7], [True, False]
    for wrong in ({"resamples": 0}, {"seed": -1}, {"level": 1.0}):
        with pytest.raises(InputError, match="it takes at least 1 resample"):
            metrics.selective_intervals(*rows, **wrong)
    with pytest.raises(InputError, match="coverage is 0"):
        metrics.selective_intervals(*rows, coverages=[0.0])
    with pytest.warns(ToolkitWarning, match="there are no rows"):
        found = metrics.selective_intervals([], [], coverages=[0.5])
    assert math.isnan(found.risk_at_coverage[0].low)
