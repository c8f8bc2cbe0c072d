"""The likelihood-ratio interval of a false-positive rate, and what it is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from ood_toolkit.kernels.likelihood import counts_at_roots, deviances, widest_ends
from ood_toolkit.metrics import FPR_RULES, Ranking
from ood_toolkit.metrics.fpr_among_ties import ties_decide
from ood_toolkit.metrics.fpr_interval import fpr_interval, local_curve, rows_needed

SEED = 1_108  # fixed before the first run
CHI = 3.841458820694124


def deviance(count, rows, share):
    found = 0.0
    for k, p in ((count, share), (rows - count, 1 - share)):
        found += 2 * k * math.log(k / (rows * p)) if k else 0.0
    return found


def test_deviances_and_their_ends():
    counts = np.array([0.0, 3.0, 7.5, 20.0])
    expected = [deviance(k, 20, 0.3) for k in counts]
    np.testing.assert_allclose(deviances(counts, 20, 0.3), expected, rtol=1e-12)
    roots = np.array([-1.5, -0.2, 0.0, 0.7, 2.0])
    reached = counts_at_roots(roots, 20, 0.3)
    np.testing.assert_allclose(
        np.sqrt(deviances(reached, 20, 0.3)) * np.sign(reached - 6.0), roots, atol=1e-5
    )
    # where all of the rows are too near: all
    assert counts_at_roots(np.array([3.0, -9.0]), 10, 0.9).tolist() == [10.0, 0.0]
    low, high = widest_ends(np.array([4.0, 6.0]), 20, np.array([CHI, 1.0]))
    assert deviance(4, 20, low) == pytest.approx(CHI, rel=1e-6)
    assert deviance(6, 20, high) == pytest.approx(max(1.0, deviance(6, 20, high)), rel=1e-6)
    ends = [[e for e in np.linspace(1e-6, 1 - 1e-6, 200_001) if deviance(k, 20, e) <= c]
            for k, c in ((4, CHI), (6, 1.0))]  # fmt: skip
    assert low == pytest.approx(min(map(min, ends)), abs=1e-5)
    assert high == pytest.approx(max(map(max, ends)), abs=1e-5)
    assert widest_ends(np.array([0.0]), 20, np.array([CHI]))[0] == 0.0
    assert widest_ends(np.array([20.0]), 20, np.array([CHI]))[1] == 1.0


def test_among_ties_every_group_is_a_threshold():
    """Against a search over all rates and all scores."""
    rng = np.random.default_rng(SEED)
    inside = np.round(rng.normal(2, 1, 80) / 0.7) * 0.7
    outside = np.round(rng.normal(0, 1, 60) / 0.7) * 0.7
    ranking = Ranking.of(inside, outside)
    assert ties_decide(ranking.id_at_or_above, 0.95)
    likely = []
    for rate in np.linspace(0.001, 0.999, 4_000):
        for score in set(inside):
            against = 0.0
            if np.sum(inside >= score) < 76:
                against = deviance(np.sum(inside >= score), 80, 0.95)
            elif np.sum(inside > score) >= 76:
                against = deviance(np.sum(inside > score), 80, 0.95)
            if against + deviance(np.sum(outside >= score), 60, rate) <= CHI:
                likely.append(rate)
    low, high = fpr_interval(ranking)
    assert low == pytest.approx(min(likely), abs=3e-4)
    assert high == pytest.approx(max(likely), abs=3e-4)


def test_the_curve_is_a_line_on_normal_axes():
    rng = np.random.default_rng(SEED)
    ranking = Ranking.of(rng.normal(3.0, 2.0, 100_000), rng.normal(0, 1, 100_000))
    curve = local_curve(ranking.id_at_or_above, ranking.ood_at_or_above, 0.9)
    # Phi((2 u + 3) / 1) negatives pass where Phi(u) positives do, seen from the other side
    assert curve.steepness == pytest.approx(2.0, abs=0.2)
    assert curve.level == pytest.approx(-3.0 + 2 * 1.2815515655446004, abs=0.03)


def test_covers_where_thresholds_are_many():
    rng, runs, held = np.random.default_rng(SEED), 1_000, 0
    true = 0.5 * math.erfc((2.5 - 1.6448536269514722) / math.sqrt(2))
    for _ in range(runs):
        low, high = fpr_interval(Ranking.of(rng.normal(2.5, 1, 300), rng.normal(0, 1, 300)))
        held += low <= true <= high
    reach = 2.5758 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.95 - reach <= held / runs <= 0.95 + reach


@pytest.mark.parametrize("rule", FPR_RULES)
def test_holds_the_rules_own_figure(rule):
    rng = np.random.default_rng(SEED)
    for step in (0.0, 0.5):
        inside, outside = rng.normal(2, 1, 200), rng.normal(0, 1, 150)
        if step:
            inside, outside = np.round(inside / step) * step, np.round(outside / step) * step
        ranking = Ranking.of(inside, outside)
        if not ranking.fpr_and_reason(0.95, rule)[1]:
            low, high = fpr_interval(ranking, rule=rule)
            assert 0.0 <= low <= ranking.fpr_at_tpr(rule=rule) <= high <= 1.0
    # of swapped and negated sets the other set is positive
    swapped = Ranking.of(-outside, -inside)
    other = {"id_positive": "ood_positive", "ood_positive": "id_positive"}.get(rule)
    if other:
        assert fpr_interval(swapped, rule=other) == fpr_interval(ranking, rule=rule)


def test_says_where_rows_are_too_few():
    rng = np.random.default_rng(SEED)
    assert rows_needed(0.95) == 38
    enough = Ranking.of(rng.normal(4, 1, 38), rng.normal(0, 1, 100))
    assert fpr_interval(enough).high < 1.0
    few = Ranking.of(rng.normal(4, 1, 37), rng.normal(0, 1, 100))
    with pytest.warns(ToolkitWarning, match="37 rows of the positive set .* which takes 38"):
        assert fpr_interval(few).high == 1.0
    assert fpr_interval(enough, tpr=1.0).high == 1.0
    with pytest.warns(ToolkitWarning, match="there are no OOD scores"):
        assert math.isnan(fpr_interval(Ranking.of([1.0], [])).low)
    with pytest.raises(InputError, match="level is 0"):
        fpr_interval(few, 0.0)
    with pytest.raises(UnknownName, match="FPR rule"):
        fpr_interval(few, rule="ood")


def test_shared_resamples_change_no_bit():
    rng = np.random.default_rng(SEED)
    inside = rng.normal(2, 1, 90)
    rankings = [Ranking.of(inside, rng.normal(0, 1, m)) for m in (70, 50, 70)]
    for estimator in ("step", "trapezoid"):
        together = metrics.bootstrap_intervals_of(rankings, 30, 5, estimator=estimator)
        alone = [metrics.bootstrap_intervals(r, 30, 5, estimator=estimator) for r in rankings]
        assert together == alone
