"""Each published rule for the FPR against its own definition, and the code it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from ood_toolkit.metrics import FPR_RULES, Ranking
from ood_toolkit.metrics.inputs import least_count
from tests.metrics.score_strategies import compiled, finite_pairs, tied_pairs, wide_pairs
from tests.reference import metrics_reference as slow
from tests.reference.known import fixture

SHARES = st.sampled_from([0.95, 0.8, 0.5, 0.05, 1.0, 0.9499, 1 / 3])


def twin(rule, id_scores, ood_scores, tpr):
    from_above = id_scores, ood_scores
    from_below = slow.negated(ood_scores), slow.negated(id_scores)
    return {
        "id_positive": lambda: slow.fpr_first(*from_above, tpr),
        "ood_positive": lambda: slow.fpr_first(*from_below, tpr),
        "openood": lambda: slow.fpr_thinned(*from_below, tpr),
        "nearest_id": lambda: slow.fpr_nearest(*from_above, tpr),
        "nearest_ood": lambda: slow.fpr_nearest(*from_below, tpr),
    }[rule]()


@pytest.mark.parametrize("rule", [rule for rule in FPR_RULES if rule != "odin"])
@pytest.mark.parametrize("pairs", [tied_pairs, wide_pairs, finite_pairs])
@compiled
@given(data=st.data())
def test_equals_the_plain_loops(rule, pairs, data):
    pair, tpr = data.draw(pairs), data.draw(SHARES)
    assert metrics.fpr_at_tpr(*pair, tpr, rule) == twin(rule, *pair, tpr)


def test_openood_equals_scikit_learn_with_the_points_it_drops():
    rng = np.random.default_rng(3)
    exact_differs = 0
    for case in range(3_000):
        levels = rng.choice([2, 4, 8, 12, 30])
        if case % 2:
            n, m = rng.integers(1, 60, 2)
            conf = rng.integers(0, levels, n + m) / levels
        else:  # steps of one size, so that whole stretches of the curve are dropped
            blocks = [np.repeat(np.arange(levels), k) for k in rng.integers(1, 4, 2)]
            kept = [block[rng.random(block.size) < 0.97] for block in blocks]
            n, m = (max(block.size, 1) for block in kept)
            conf = np.concatenate([np.resize(block, max(block.size, 1)) for block in kept]) / levels
        label = np.repeat([0, 1], [n, m])
        fpr, tpr, _ = roc_curve(label, -conf)
        ranking = Ranking.of(conf[:n], conf[n:])
        found = ranking.fpr_at_tpr(0.95, "openood")
        assert found == fpr[np.argmax(tpr >= 0.95)]
        exact_differs += found != ranking.fpr_at_tpr(0.95, "ood_positive")
    assert exact_differs > 100  # else this proves nothing about the dropped points


def test_known_answers():
    known = fixture("known_answers")["metrics"]
    ranking = Ranking.of(known["id"], known["ood"])
    for rule in ("id_positive", "ood_positive"):
        for tpr in (95, 80):
            expected, _ = known[f"fpr{tpr}_{rule}"]
            assert ranking.fpr_at_tpr(tpr / 100, rule) == pytest.approx(expected, abs=1e-12)


def test_id_positive_is_the_order_statistic():
    rng = np.random.default_rng(4)
    for n in (1, 7, 20, 100, 999):
        id_scores, ood_scores = rng.normal(size=n), rng.normal(size=50)
        threshold = np.sort(id_scores)[::-1][math.ceil(round(0.95 * n, 9)) - 1]
        expected = np.mean(ood_scores >= threshold)
        assert metrics.fpr_at_tpr(id_scores, ood_scores) == expected


def odin_twin(id_scores, ood_scores, tpr=0.95):
    low, high = min(*id_scores, *ood_scores), max(*id_scores, *ood_scores)
    cuts = np.arange(low, high, (high - low) / 100_000)
    band = round(tpr - 0.0005, 10), round(tpr + 0.0005, 10)
    id_scores, ood_scores = np.asarray(id_scores), np.asarray(ood_scores)
    # Only cuts that can lie in the band are worth a plain loop.
    near = np.quantile(id_scores, [max(0, 0.99 - tpr), min(1, 1.01 - tpr)])
    cuts = cuts[(cuts >= near[0]) & (cuts <= near[1])]
    return slow.fpr_odin(id_scores, ood_scores, *band, cuts)


@pytest.mark.parametrize("digits", [2, 3, 6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odin_sweeps_the_range_of_the_scores(digits, dtype):
    rng = np.random.default_rng(digits)
    # A grid of scores such that some cuts fall on scores.
    id_scores = np.round(rng.beta(5, 2, 2_000), digits).astype(dtype)
    ood_scores = np.append(np.round(rng.beta(2, 3, 700), digits), [0.0, 1.0]).astype(dtype)
    expected = odin_twin(id_scores.tolist(), ood_scores.tolist())
    if expected is None:
        with pytest.warns(ToolkitWarning, match=r"no threshold .* has a TPR in \[0.9495, 0.9505\]"):
            assert math.isnan(metrics.fpr_at_tpr(id_scores, ood_scores, rule="odin"))
    else:
        found = metrics.fpr_at_tpr(id_scores, ood_scores, rule="odin")
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tpr", [0.8, 0.95])
def test_odin_at_other_rates(tpr):
    rng = np.random.default_rng(9)
    id_scores, ood_scores = rng.normal(1, 1, 3_000), rng.normal(0, 1, 500)
    expected = odin_twin(id_scores.tolist(), ood_scores.tolist(), tpr)
    found = metrics.fpr_at_tpr(id_scores, ood_scores, tpr, "odin")
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (([1.0, 2.0, 3.0], [0.0]), r"no threshold of the sweep has a TPR in \[0.9495, 0.9505\]"),
        (([1.0, 1.0], [1.0]), "no threshold of the sweep"),
        (([5e-324], [0.0]), "no threshold of the sweep"),
        (([np.inf, 1.0], [0.0]), "range of the scores is not finite"),
        (([1.0], [-np.inf]), "range of the scores is not finite"),
        (([1.7e308], [-1.7e308]), "range of the scores is not finite"),
    ],
)
def test_odin_says_why_it_has_no_answer(pair, reason):
    with pytest.warns(ToolkitWarning, match=reason):
        assert math.isnan(metrics.fpr_at_tpr(*pair, rule="odin"))
    assert Ranking.of(*pair).fpr_and_reason(0.95, "odin")[1] != ""


def test_rules_part_on_the_same_scores():
    rng = np.random.default_rng(1)
    ranking = Ranking.of(rng.normal(1.2, 1, 900), rng.normal(0, 1.5, 400))
    found = {rule: ranking.fpr_at_tpr(rule=rule) for rule in FPR_RULES}
    assert abs(found["id_positive"] - found["ood_positive"]) > 0.05
    assert found["openood"] >= found["ood_positive"]
    assert found["odin"] == pytest.approx(found["id_positive"], abs=0.02)


def test_nearest_may_lie_below_the_rate():
    id_scores, ood_scores = [4.0, 3.0, 2.0, 1.0], [1.0, 0.5]
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 0.8, "nearest_id") == 0.0
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 0.8, "id_positive") == 0.5


def test_nearest_takes_the_lowest_threshold_of_a_share():
    id_scores, ood_scores = [4.0, 3.0, 2.0, 1.0], [1.6, 1.5, 0.5, 0.4]
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 0.75, "nearest_id") == 0.5
    # but with every ID score called, the highest
    assert metrics.fpr_at_tpr(id_scores, ood_scores, 1.0, "nearest_id") == 0.5


def test_unknown_rule_and_impossible_rates():
    with pytest.raises(UnknownName, match="'id-positive': did you mean 'id_positive'"):
        metrics.fpr_at_tpr([1.0], [0.0], rule="id-positive")
    for tpr in (0.0, -0.1, 1.01, math.nan):
        with pytest.raises(InputError, match="tpr"):
            metrics.fpr_at_tpr([1.0], [0.0], tpr)


@given(st.integers(1, 2_000), st.floats(1e-6, 1.0))
def test_least_count_is_the_least(total, share):
    k = least_count(share, total)
    assert 1 <= k <= total
    assert k / total >= share
    assert k == 1 or (k - 1) / total < share


def test_least_count_of_exact_shares():
    assert np.ceil(0.07 * 100) == 8  # which is why the product alone does not do
    for total in (20, 100, 1_000):
        for count in range(1, total + 1):
            assert least_count(count / total, total) == count
