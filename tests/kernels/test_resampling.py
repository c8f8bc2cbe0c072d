"""Resampled curves against a curve of the scores that were drawn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit.kernels.ranking import (
    average_precision,
    merge_tie_groups,
    ordered_pairs,
    trapezoid_precision,
)
from ood_toolkit.kernels.resampled_areas import resampled_areas, standings
from ood_toolkit.kernels.resampling import (
    _prefix_sums,
    drawn_groups,
    recount,
    resampled,
)
from ood_toolkit.kernels.sorting import sort_pair_descending
from tests.metrics.score_strategies import compiled, tied_pairs
from tests.reference.metrics_reference import split_mix


def curve(first, second):
    a, b = sort_pair_descending(np.array(first, np.float64), np.array(second, np.float64))
    return merge_tie_groups(a.keys, b.keys)


def weights_of(groups, state):
    return [np.diff(sums) for sums in _prefix_sums(groups, state)]


@compiled
@given(tied_pairs, st.integers(0, 2**64 - 1))
def test_is_the_curve_of_the_scores_drawn(pair, state):
    groups = curve(*pair)
    drawn = [
        np.repeat(np.sort(scores)[::-1], times)
        for scores, times in zip(pair, weights_of(groups, state), strict=True)
    ]
    assert [len(d) for d in drawn] == [len(scores) for scores in pair]
    found, expected = resampled(groups, state), curve(*drawn)
    np.testing.assert_array_equal(found.first, expected.first)
    np.testing.assert_array_equal(found.second, expected.second)
    levels = np.array(sorted(set(pair[0]) | set(pair[1]), reverse=True))
    kept = drawn_groups(groups, state)
    assert kept[0] == 0
    assert levels[kept[1:] - 1].tolist() == sorted({*drawn[0], *drawn[1]}, reverse=True)


def test_numbers_are_those_of_split_mix():
    groups = curve(np.arange(1_500), np.arange(70) + 0.5)
    state = 0xFEDCBA9876543210
    for times, size in zip(weights_of(groups, state), (1_500, 70), strict=True):
        numbers, state = split_mix(state, size)
        expected = np.bincount([(z >> 11) * size // 2**53 for z in numbers], minlength=size)
        np.testing.assert_array_equal(times, expected)


def test_weights_are_multinomial():
    size, resamples = 40, 20_000
    groups = curve(np.arange(size), [0.0])
    states = np.random.SeedSequence(5).generate_state(resamples, np.uint64)
    weights = np.array([weights_of(groups, int(s))[0] for s in states], np.float64)
    assert (weights.sum(axis=1) == size).all()
    p = 1.0 / size
    # five standard errors: a fair generator fails one of the 40 + 780 figures 1 in 1,000 runs,
    # and the seed is fixed
    close = 5 * np.sqrt(size * p * (1 - p) / resamples)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=close)
    covariance = np.cov(weights, rowvar=False)
    expected = size * (np.diag(np.full(size, p)) - p * p)
    np.testing.assert_allclose(covariance, expected, atol=5 * np.sqrt(3.0 / resamples))
    rest = ~np.eye(size, dtype=bool)
    np.testing.assert_allclose(covariance[rest], expected[rest], atol=5 / np.sqrt(resamples))


@compiled
@given(tied_pairs, st.data())
def test_weighted_scores(pair, data):
    groups = curve(*pair)
    weights = [
        np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(s), max_size=len(s))))
        for s in pair
    ]
    sums = [np.append(0, np.cumsum(w)).astype(np.int32) for w in weights]
    expected = curve(*(np.repeat(np.sort(s)[::-1], w) for s, w in zip(pair, weights, strict=True)))
    found = recount(groups, *sums)
    np.testing.assert_array_equal(found.first, expected.first)
    np.testing.assert_array_equal(found.second, expected.second)


@compiled
@given(tied_pairs, st.integers(0, 2**32 - 1))
def test_areas_are_those_of_the_resampled_curves(pair, seed):
    groups = curve(*pair)
    states = np.random.SeedSequence(seed).generate_state(3, np.uint64)
    drawn = [resampled(groups, int(state)) for state in states]
    n, m = map(len, pair)
    for places, precision in (([standings(groups)], average_precision), ([], trapezoid_precision)):
        expected = [
            [ordered_pairs(*g) / (2 * n * m), precision(*g, False), precision(g[1], g[0], True)]
            for g in drawn
        ]
        found = resampled_areas([groups], places, states)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_the_same_rows_are_drawn_for_every_method():
    """Prefix sums through the rows of either method count the same draws."""
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 1, 40), rng.normal(0, 1, 30)
    states = np.random.SeedSequence(3).generate_state(20, np.uint64)
    curves, rows = [], []
    for mixed in (0, 5):  # the same scores, rows listed in another order
        a, b = np.roll(first, mixed), np.roll(second, mixed)
        curves.append(curve(a, b))
        rows.append((np.argsort(a)[::-1], np.argsort(b)[::-1]))
    places = [standings(c) for c in curves]
    together = resampled_areas(curves, places, states, True, rows)
    for i in range(2):
        alone = resampled_areas(curves[i : i + 1], places[i : i + 1], states, True, rows[i : i + 1])
        np.testing.assert_array_equal(together[i], alone[0])
    assert (together[0] != together[1]).any()
    times = weights_of(curves[0], int(states[0]))  # how often each row is drawn
    redrawn = curve(np.repeat(first, times[0]), np.repeat(second, times[1]))
    assert together[0, 0, 0] == ordered_pairs(*redrawn) / (2 * 40 * 30)
