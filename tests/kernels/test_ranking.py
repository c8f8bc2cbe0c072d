"""The merge into tie groups, and the kernels that read curves, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit.kernels import ranking
from ood_toolkit.kernels.sorting import scores_of, sort_pair_descending
from tests.metrics.score_strategies import compiled, tied_pairs, wide_pairs
from tests.reference import metrics_reference as slow


def merged(first, second, dtype=np.float64):
    a, b = sort_pair_descending(np.array(first, dtype), np.array(second, dtype))
    return a.keys, b.keys, ranking.merge_tie_groups(a.keys, b.keys)


@compiled
@given(wide_pairs)
def test_counts_at_or_above_each_distinct_score(pair):
    first, second = pair
    a, b, groups = merged(first, second)
    thresholds = scores_of(ranking.group_keys(a, b, groups)).tolist()
    assert thresholds == sorted(set(first) | set(second), reverse=True)
    assert groups.first.tolist() == [0, *(sum(s >= t for s in first) for t in thresholds)]
    assert groups.second.tolist() == [0, *(sum(s >= t for s in second) for t in thresholds)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_side_may_be_empty(dtype):
    a, b, groups = merged([], [2.0, 1.0, 2.0], dtype)
    assert groups.first.tolist() == [0, 0, 0]
    assert groups.second.tolist() == [0, 2, 3]
    assert scores_of(ranking.group_keys(a, b, groups)).tolist() == [2.0, 1.0]
    assert merged([1.0], [], dtype)[2].first.tolist() == [0, 1]
    assert merged([], [], dtype)[2].first.tolist() == [0]


def test_ties_free_the_memory_they_save():
    _, _, groups = merged(np.zeros(10_000), np.ones(10_000))
    assert groups.first.size == 3
    assert groups.first.base is None or groups.first.base.size < 100


@compiled
@given(tied_pairs)
def test_sums_over_the_curve(pair):
    first, second = pair
    _, _, (hits, misses) = merged(first, second)
    n, m = len(first), len(second)
    assert ranking.ordered_pairs(hits, misses) == round(2 * n * m * slow.auroc(first, second))
    below = slow.negated(second), slow.negated(first)
    for fast, twin in (
        (ranking.average_precision, slow.average_precision),
        (ranking.trapezoid_precision, slow.trapezoid_precision),
    ):
        assert fast(hits, misses, False) == pytest.approx(twin(first, second), abs=1e-13)
        assert fast(misses, hits, True) == pytest.approx(twin(*below), abs=1e-13)
    least = slow.detection_error(first, second)
    assert ranking.smallest_error(hits, misses) == pytest.approx(least, abs=1e-15)
    if n > 1 and m > 1:
        found = ranking.delong_variance(hits, misses, slow.auroc(first, second))
        assert found == pytest.approx(slow.delong_variance(first, second), abs=1e-15)
    else:
        assert np.isnan(ranking.delong_variance(hits, misses, 0.5))


@compiled
@given(tied_pairs)
def test_wide_counts_give_the_same(pair):
    _, _, groups = merged(*pair)
    wide = [counts.astype(np.int64) for counts in groups]
    assert ranking.ordered_pairs(*wide) == ranking.ordered_pairs(*groups)
    narrow = ranking.average_precision(*groups, False)
    assert ranking.average_precision(*wide, False) == pytest.approx(narrow, abs=1e-15)


BANDS = st.sampled_from([(0.0, 1.0), (0.25, 0.75), (0.5, 0.5), (0.9495, 0.9505)])


@compiled
@given(tied_pairs, st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.1, 0.25, 0.5, 2.0])), BANDS)
def test_mean_over_a_band_of_cuts_that_tie_with_scores(pair, cuts, band):
    a, b, (hits, misses) = merged(*pair)
    levels = scores_of(ranking.group_keys(a, b, ranking.TieGroups(hits, misses)))
    thresholds = np.append(np.inf, levels)
    found = ranking.band_mean(thresholds, hits, misses, np.sort(cuts), *band)
    expected = slow.fpr_odin(*pair, *band, cuts)
    assert found == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_more_scores_than_short_integers_count():
    _, _, groups = merged(np.arange(70_000), np.arange(70_000) + 0.5)
    assert groups.first[-1] == groups.second[-1] == 70_000
    assert (np.diff(groups.first) >= 0).all()


def test_pairs_are_counted_exactly_where_32_bits_do_not_do():
    counts = np.array([0, 2**30], np.int32)
    assert ranking.ordered_pairs(counts, counts) == 2**60
