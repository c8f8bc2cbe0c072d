"""Open-set metrics against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning
from tests.metrics.score_strategies import compiled, wide_pairs
from tests.reference import metrics_reference as slow


@compiled
@given(wide_pairs, st.data())
def test_equal_the_plain_loops(pair, data):
    id_scores, ood_scores = pair
    n = len(id_scores)
    correct = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    for fpr in (0.0, 0.01, 0.05, 0.1, 0.5, 1.0):
        expected = slow.ccr_at_fpr(id_scores, correct, ood_scores, fpr)
        assert metrics.ccr_at_fpr(id_scores, correct, ood_scores, fpr) == expected
    expected = slow.oscr(id_scores, correct, ood_scores)
    assert metrics.oscr(id_scores, correct, ood_scores) == pytest.approx(expected, abs=1e-12)


def test_no_false_positive_at_all():
    # The index of "the 0-th largest" must not wrap around to the smallest score.
    assert metrics.ccr_at_fpr([3.0, 2.0, 0.5], [True, True, True], [1.0, 0.0], 0.0) == 2 / 3
    assert metrics.ccr_at_fpr([1.0, 0.5], [True, True], [1.0, 0.0], 0.0) == 0.0


def test_all_right_is_the_auroc():
    rng = np.random.default_rng(0)
    pair = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    right = np.ones(300, bool)
    assert metrics.oscr(pair[0], right, pair[1]) == pytest.approx(metrics.auroc(*pair))
    assert metrics.oscr(pair[0], ~right, pair[1]) == 0.0
    assert metrics.ccr_at_fpr(pair[0], ~right, pair[1]) == 0.0


def test_empty_sets_and_wrong_input():
    for id_scores, correct, ood_scores in (([], [], [1.0]), ([1.0], [True], [])):
        with pytest.warns(ToolkitWarning, match="a set is empty"):
            assert math.isnan(metrics.ccr_at_fpr(id_scores, correct, ood_scores))
        with pytest.warns(ToolkitWarning, match="a set is empty"):
            assert math.isnan(metrics.oscr(id_scores, correct, ood_scores))
    with pytest.raises(InputError, match="id_correct has 1 rows where 2"):
        metrics.oscr([1.0, 2.0], [True], [0.0])
    with pytest.raises(InputError, match="true or false"):
        metrics.oscr([1.0, 2.0], [0, 2], [0.0])
    with pytest.raises(InputError, match="fpr"):
        metrics.ccr_at_fpr([1.0], [True], [0.0], -0.1)
    with pytest.raises(InputError, match=r"id_scores"):
        metrics.oscr([1.0, np.nan], [True, True], [0.0])
