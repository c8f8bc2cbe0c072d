"""Ranking metrics against plain loops, scikit-learn, torchmetrics and known answers."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import (
    auc,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from ood_toolkit.metrics import Ranking
from tests.metrics.score_strategies import compiled, finite_pairs, tied_pairs, wide_pairs
from tests.reference import metrics_reference as slow
from tests.reference.known import fixture

RNG = np.random.default_rng(20)
CLOSE = 1e-12


@compiled
@given(wide_pairs)
def test_equal_the_plain_loops(pair):
    id_scores, ood_scores = pair
    ranking = Ranking.of(*pair)
    below = slow.negated(ood_scores), slow.negated(id_scores)
    assert ranking.auroc() == pytest.approx(slow.auroc(*pair), abs=CLOSE)
    assert ranking.aupr_in() == pytest.approx(slow.average_precision(*pair), abs=CLOSE)
    assert ranking.aupr_out() == pytest.approx(slow.average_precision(*below), abs=CLOSE)
    for found, twin in (
        (ranking.aupr_in("trapezoid"), slow.trapezoid_precision(*pair)),
        (ranking.aupr_out("trapezoid"), slow.trapezoid_precision(*below)),
        (ranking.detection_error(), slow.detection_error(*pair)),
    ):
        assert found == pytest.approx(twin, abs=CLOSE)


@compiled
@given(finite_pairs)
def test_autc_equals_the_integral(pair):
    if len(set(pair[0]) | set(pair[1])) == 1:
        assert metrics.autc(*pair) == 0.5
    else:
        assert metrics.autc(*pair) == pytest.approx(slow.autc(*pair), abs=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [3, 50, None])
def test_equal_scikit_learn(dtype, levels):
    id_scores, ood_scores = RNG.normal(0.7, 1, 3_000), RNG.normal(0, 1, 2_000)
    if levels:
        id_scores, ood_scores = (np.round(s * levels / 6) for s in (id_scores, ood_scores))
    id_scores, ood_scores = id_scores.astype(dtype), ood_scores.astype(dtype)
    is_id = np.repeat([1, 0], [3_000, 2_000])
    both = np.concatenate([id_scores, ood_scores])
    ranking = Ranking.of(id_scores, ood_scores)
    precision, recall, _ = precision_recall_curve(is_id, both)
    precision_out, recall_out, _ = precision_recall_curve(1 - is_id, -both)
    for found, expected in (
        (ranking.auroc(), roc_auc_score(is_id, both)),
        (ranking.aupr_in(), average_precision_score(is_id, both)),
        (ranking.aupr_out(), average_precision_score(1 - is_id, -both)),
        (ranking.aupr_in("trapezoid"), auc(recall, precision)),
        (ranking.aupr_out("trapezoid"), auc(recall_out, precision_out)),
    ):
        assert found == pytest.approx(expected, abs=CLOSE)
    fpr, tpr, thresholds = roc_curve(is_id, both, drop_intermediate=False)
    for found, expected in zip(ranking.roc(), (fpr, tpr, thresholds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_equal_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional")
    id_scores, ood_scores = (np.round(RNG.random(n), 2) for n in (700, 500))
    both = torch.tensor(np.concatenate([id_scores, ood_scores]))
    is_id = torch.tensor(np.repeat([1, 0], [700, 500]))
    found = metrics.auroc(id_scores, ood_scores), metrics.aupr_in(id_scores, ood_scores)
    expected = (
        functional.auroc(both, is_id, "binary"),
        functional.average_precision(both, is_id, "binary"),
    )
    assert found == pytest.approx([float(e) for e in expected], abs=1e-6)  # float32 inside


def test_known_answers():
    known, aupr = fixture("known_answers")["metrics"], fixture("known_answers")["metrics_aupr"]
    pair = known["id"], known["ood"]
    assert metrics.auroc(*pair) == pytest.approx(known["auroc"], abs=CLOSE)
    assert metrics.aupr_in(*pair) == pytest.approx(aupr["aupr_in"], abs=1e-12)
    assert metrics.aupr_out(*pair) == pytest.approx(aupr["aupr_out"], abs=1e-12)
    error = fixture("known_answers")["detection_error"]
    assert metrics.detection_error(*pair) == pytest.approx(error, abs=CLOSE)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (400, 300)])
def test_a_constant_score_knows_nothing(sizes):
    ranking = Ranking.of(*(np.full(n, 0.3) for n in sizes))
    share = sizes[0] / sum(sizes)
    assert ranking.auroc() == 0.5
    assert ranking.fpr_at_tpr() == 1.0
    assert ranking.aupr_in() == pytest.approx(share)
    assert ranking.aupr_in("trapezoid") == pytest.approx((1 + share) / 2)
    assert ranking.detection_error() == 0.5
    assert ranking.autc() == 0.5


@compiled
@given(wide_pairs)
def test_row_order_changes_no_bit(pair):
    forth = Ranking.of(*pair)
    back = Ranking.of(*(scores[::-1] for scores in pair))
    assert forth.auroc() == back.auroc()
    assert forth.aupr_in() == back.aupr_in()
    assert forth.aupr_out() == back.aupr_out()


@compiled
@given(tied_pairs)
def test_swapping_the_sets(pair):
    forth, back = Ranking.of(*pair), Ranking.of(*map(slow.negated, pair[::-1]))
    assert forth.auroc() == back.auroc()
    assert forth.aupr_in() == pytest.approx(back.aupr_out(), abs=CLOSE)
    assert forth.fpr_at_tpr(rule="id_positive") == back.fpr_at_tpr(rule="ood_positive")
    assert forth.detection_error() == pytest.approx(back.detection_error(), abs=CLOSE)
    assert forth.autc() == pytest.approx(back.autc(), abs=CLOSE)


def test_zeros_of_either_sign_tie():
    assert metrics.auroc([-0.0, -0.0], [0.0]) == 0.5
    assert metrics.auroc(np.float32([-0.0]), np.float32([0.0, -0.0])) == 0.5


def test_infinite_scores_are_ranked():
    pair = [np.inf, 2.0, -np.inf], [np.inf, -np.inf, -np.inf]
    assert metrics.auroc(*pair) == pytest.approx(slow.auroc(*pair))
    assert metrics.fpr_at_tpr(*pair) == 1.0
    with pytest.warns(ToolkitWarning, match="AUTC is NaN: infinite scores"):
        assert math.isnan(metrics.autc(*pair))


def test_autc_of_scores_whose_range_overflows():
    assert metrics.autc([1.6e308, 0.0], [-1.6e308]) == pytest.approx(0.125)
    assert metrics.autc([5e-324], [0.0]) == 0.0


@pytest.mark.parametrize("pair", [([], [1.0]), ([1.0], []), ([], [])])
@pytest.mark.parametrize(
    "metric", ["auroc", "aupr_in", "aupr_out", "fpr_at_tpr", "detection_error", "autc"]
)
def test_an_empty_set_gives_nan_and_says_why(metric, pair):
    missing = "ID" if not pair[0] else "OOD"
    with pytest.warns(ToolkitWarning, match=f"NaN: there are no {missing} scores"):
        assert math.isnan(getattr(metrics, metric)(*pair))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([0.1, np.nan, np.nan], r"id_scores\[1\] is NaN"),
        ([[0.1, 0.2]], r"id_scores must be \(N,\), got shape \(1, 2\)"),
        (0.5, r"got shape \(\)"),
        (["a"], "must be numbers"),
        ([1 + 2j], "must be numbers"),
        ([2**53 + 1], "2\\*\\*53"),
    ],
)
def test_what_is_no_score_is_refused(values, match):
    with pytest.raises(InputError, match=match):
        Ranking.of(values, [0.5])


def test_nan_in_the_second_set_is_named():
    with pytest.raises(InputError, match=r"ood_scores\[0\] is NaN"):
        metrics.auroc([1.0], [math.nan])


def test_unknown_estimator_suggests_one():
    with pytest.raises(UnknownName, match=r"'trapezium'.*did you mean 'trapezoid'"):
        metrics.aupr_in([1.0], [0.0], estimator="trapezium")


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, ">f4", ">f8", np.int8, np.uint64, bool]
)
def test_every_type_of_score(dtype):
    values = [np.array([0, 1, 1, 0, 1]).astype(dtype), np.array([1, 0, 0]).astype(dtype)]
    assert metrics.auroc(*values) == pytest.approx(slow.auroc([0, 1, 1, 0, 1], [1, 0, 0]))


def test_types_are_compared_by_value():
    tenth = np.array([0.1], np.float32)  # a little above 0.1 in float64
    assert metrics.auroc(tenth, np.array([0.1])) == 1.0
    assert metrics.auroc(tenth, tenth.astype(np.float64)) == 0.5


def test_inputs_are_not_changed():
    scores = np.array([0.3, -0.0, 0.7])
    scores.flags.writeable = False
    metrics.auroc(scores, scores[::-1])
    assert np.signbit(scores[1])


def test_thinned_curves():
    ranking = Ranking.of(RNG.normal(1, 1, 5_000), RNG.normal(0, 1, 5_000))
    whole, thin = ranking.roc(), ranking.roc(points=64)
    assert 32 < thin.fpr.size <= 64
    assert (thin.fpr[0], thin.tpr[0], thin.fpr[-1], thin.tpr[-1]) == (0, 0, 1, 1)
    assert auc(thin.fpr, thin.tpr) == pytest.approx(auc(whole.fpr, whole.tpr), abs=2e-3)
    assert np.isin(thin.thresholds, whole.thresholds).all()
    with pytest.raises(InputError, match="at least 2"):
        ranking.roc(points=1)


@pytest.mark.parametrize("positive", ["id", "ood"])
def test_precision_recall_points(positive):
    id_scores, ood_scores = np.round(RNG.normal(1, 1, 300), 1), np.round(RNG.normal(0, 1, 200), 1)
    both = np.concatenate([id_scores, ood_scores])
    target = np.repeat([1, 0], [300, 200])
    if positive == "ood":
        both, target = -both, 1 - target
    precision, recall, thresholds = precision_recall_curve(target, both)
    found = Ranking.of(id_scores, ood_scores).precision_recall(positive)
    # scikit-learn lists them from the loosest threshold and has no threshold for recall 0
    np.testing.assert_allclose(found.recall[::-1], recall, rtol=1e-15)
    np.testing.assert_allclose(found.precision[::-1], precision, rtol=1e-15)
    sign = -1 if positive == "ood" else 1
    np.testing.assert_array_equal(sign * found.thresholds[:0:-1], thresholds)
    assert found.thresholds[0] == sign * np.inf
    thin = Ranking.of(id_scores, ood_scores).precision_recall(positive, points=20)
    assert thin.recall.size <= 20
