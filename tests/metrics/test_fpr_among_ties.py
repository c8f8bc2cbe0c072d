"""Which false-positive rates are held where positives tie in large groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from ood_toolkit.metrics import Ranking
from ood_toolkit.metrics.fpr_among_ties import (
    likely_ranks,
    quantile_of_range,
    rates_of_ties,
    ties_decide,
)
from ood_toolkit.metrics.fpr_interval import fpr_interval

SEED = 1_109  # fixed before the first run


def deviance(count, rows, share):
    found = 0.0
    for k, p in ((count, share), (rows - count, 1 - share)):
        found += 2 * k * math.log(k / (rows * p)) if k else 0.0
    return found


def search(inside, outside, share, level):
    """Rates, on a grid, that some score of the positives makes likely; how many; if wide."""
    n, m = len(inside), len(outside)
    own = max(score for score in inside if np.sum(inside >= score) >= n * share)
    wide = np.sum(inside == own) > 3 * math.sqrt(n * share * (1 - share))
    against = {}
    for score in set(inside):
        above, reached = np.sum(inside > score), np.sum(inside >= score)
        counted = reached if reached < n * share else above if above >= n * share else None
        against[score] = 0.0 if counted is None else deviance(counted, n, share)
    limit = chi2.ppf(0.5 + 0.5 * level if wide else level, 1)
    likely = {np.sum(outside >= s): d for s, d in against.items() if d <= limit}
    left = {count: limit - d for count, d in likely.items()}
    if wide:
        low, high = ((count + 0.5) / (m + 1) for count in (min(likely), max(likely)))
        error = math.sqrt(max(p * (1 - p) for p in (low, high)) / m)
        width = (high - low) / error
        ends = brentq(lambda c: norm.cdf(c + width) - norm.cdf(-c) - level, 0.0, 5.0)
        left = dict.fromkeys(likely, ends**2)
    grid = np.linspace(1e-6, 1 - 1e-6, 20_001)
    rates = [p for p in grid if any(deviance(k, m, p) <= c for k, c in left.items())]
    return rates, len(likely), wide


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("step", [0.2, 0.5])
def test_against_a_search_over_all_rates(step, level):
    rng = np.random.default_rng(SEED)
    shown = set()
    for _ in range(6):
        inside = np.round(rng.normal(1.9, 1, 300) / step) * step
        outside = np.round(rng.normal(0, 1, 200) / step) * step
        expected, groups, wide = search(inside, outside, 0.95, level)
        shown.add((groups > 1, wide))
        low, high = fpr_interval(Ranking.of(inside, outside), level)
        assert low == pytest.approx(min(expected), abs=1e-4)
        assert high == pytest.approx(max(expected), abs=1e-4)
    assert (True, step == 0.5) in shown  # more than one group, at least once


@pytest.mark.parametrize("above", range(440, 475))
def test_a_neighbour_is_held_until_it_is_unlikely(above):
    """475 of 500 positives are wanted, and the group that they end in begins after `above`."""
    hits, misses = np.array([0, above - 100, above, 499, 500]), np.array([0, 10, 20, 60, 100])
    counts, limits = rates_of_ties(hits, misses, 0.95, 0.95)
    beside = deviance(above, 500, 0.95) <= chi2.ppf(0.975, 1)
    assert counts.tolist() == ([20.0, 60.0] if beside else [60.0])
    reach = quantile_of_range(0.95, 40.0) if beside else norm.ppf(0.975)
    assert np.sqrt(limits) == pytest.approx(reach, abs=0.01)


def test_the_quantile_of_a_range():
    for level in (0.5, 0.9, 0.95):
        for width in (0.0, 0.3, 1.0, 2.5, 40.0):
            reach = quantile_of_range(level, width)
            assert norm.cdf(reach + width) - norm.cdf(-reach) == pytest.approx(level, abs=1e-12)
        assert quantile_of_range(level, 0.0) == pytest.approx(norm.ppf(0.5 + 0.5 * level))
        assert quantile_of_range(level, 40.0) == pytest.approx(norm.ppf(level))


def test_negatives_that_all_or_none_pass():
    inside = np.repeat([2.0, 1.0, 0.0], [200, 80, 20])
    assert ties_decide(Ranking.of(inside, [0.5]).id_at_or_above, 0.95)
    assert fpr_interval(Ranking.of(inside, np.full(50, -1.0))).low == 0.0
    low, high = fpr_interval(Ranking.of(inside, np.full(50, 3.0)))
    assert high == 1.0
    assert low == pytest.approx(math.exp(-chi2.ppf(0.95, 1) / 100), abs=1e-6)


def test_ranks_that_may_reach_the_threshold():
    ranks = likely_ranks(500, 0.95)
    deviation = math.sqrt(500 * 0.95 * 0.05)
    assert ranks[0] == math.floor(475 - 3 * deviation)
    assert ranks[-1] == math.ceil(475 + 3 * deviation)
    assert likely_ranks(5, 0.95).tolist() == [3, 4]
    assert likely_ranks(1, 0.95).tolist() == [1]


def test_covers_where_groups_are_wide():
    rng, runs, held = np.random.default_rng(SEED), 1_000, 0
    true = norm.sf(-0.25)  # of the group about 0, which 94.1 to 98.0 % of the positives reach
    for _ in range(runs):
        inside, outside = (np.round(rng.normal(mean, 1, 500) * 2) / 2 for mean in (1.812, 0.0))
        low, high = fpr_interval(Ranking.of(inside, outside))
        held += low <= true <= high
    reach = 2.5758 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.95 - reach <= held / runs <= 0.95 + reach
