"""Every FPR rule and both AUPR estimators against the algorithms that published code runs.

Each is restated here on sorted arrays, as its authors compute it and unlike the toolkit, which
merges counts; scikit-learn is called where the authors call it.  The same scores go to both:
continuous, tied, nearly constant, constant, infinite.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.metrics import AUPR_ESTIMATORS, FPR_RULES, Ranking

RNG = np.random.default_rng(20_261_122)


def scores() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    n, m = 400, 150
    normal = RNG.normal(1.2, 1, n), RNG.normal(0, 1.3, m)
    found = {
        "continuous": normal,
        "float32": tuple(x.astype(np.float32) for x in normal),
        "separate": (np.arange(50.0) + 100, np.arange(30.0)),
        "reversed": (np.arange(50.0), np.arange(30.0) + 100),
        "constant": (np.zeros(40), np.zeros(25)),
        "saturated": (np.minimum(normal[0], 1.0), np.minimum(normal[1], 1.0)),
        "one of each": (np.array([0.3]), np.array([0.1])),
        "the same": (np.arange(20.0), np.arange(20.0)),
    }
    for step in (0.1, 0.5, 2.0):
        found[f"rounded to {step}"] = tuple(np.round(x / step) * step for x in normal)
    for case in range(30):
        sizes, levels = RNG.integers(1, 60, 2), RNG.choice([2, 3, 5, 12])
        found[f"tied {case}"] = tuple(RNG.integers(0, levels, size) / levels for size in sizes)
    return found


SCORES = scores()


def both(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([positives, negatives]), np.repeat(
        [1, 0], [len(positives), len(negatives)]
    )


def first_point(positives: np.ndarray, negatives: np.ndarray, share: float = 0.95) -> float:
    """The whole ROC curve, and its first point whose recall reaches the share."""
    values, is_positive = both(positives, negatives)
    fpr, tpr, _ = roc_curve(is_positive, values, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= share)])


def openood(inside: np.ndarray, outside: np.ndarray) -> float:
    """OOD positive, on the curve as scikit-learn thins it by default."""
    values, is_positive = both(-outside, -inside)
    fpr, tpr, _ = roc_curve(is_positive, values)
    return float(fpr[np.argmax(tpr >= 0.95)])


def nearest(positives: np.ndarray, negatives: np.ndarray, share: float = 0.95) -> float:
    """Recall at every distinct threshold, cut where it is first complete, then walked from
    there back to the top; the first recall nearest to the share counts."""
    values, is_positive = both(positives, negatives)
    order = np.argsort(-values, kind="stable")
    values, is_positive = values[order], is_positive[order]
    ends = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    hits, false = np.cumsum(is_positive)[ends], np.cumsum(1 - is_positive)[ends]
    last = int(np.searchsorted(hits, hits[-1]))
    recall = np.append(hits[last::-1] / hits[-1], 0.0)
    called = np.append(false[last::-1], 0)
    return float(called[np.argmin(np.abs(recall - share))] / len(negatives))


def sweep(inside: np.ndarray, outside: np.ndarray) -> float:
    """Mean FPR over 100,000 thresholds of the scores' range with TPR in [0.9495, 0.9505]."""
    everything = np.concatenate([inside, outside])
    low, high = float(everything.min()), float(everything.max())
    if low == high:
        return math.nan
    cuts = np.arange(low, high, (high - low) / 100_000)
    kept = len(inside) - np.searchsorted(np.sort(inside), cuts, "left")
    above = len(outside) - np.searchsorted(np.sort(outside), cuts, "right")
    tpr = kept / len(inside)
    band = (tpr >= 0.9495) & (tpr <= 0.9505)
    return float((above[band] / len(outside)).mean()) if band.any() else math.nan


PUBLISHED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "id_positive": first_point,
    "ood_positive": lambda i, o: first_point(-o, -i),
    "openood": openood,
    "odin": sweep,
    "nearest_id": nearest,
    "nearest_ood": lambda i, o: nearest(-o, -i),
}


def test_every_rule_has_its_code() -> None:
    assert set(PUBLISHED) == set(FPR_RULES)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("rule", FPR_RULES)
def test_the_rules(rule: str, name: str) -> None:
    inside, outside = SCORES[name]
    wide = inside.astype(np.float64), outside.astype(np.float64)
    found, reason = Ranking.of(inside, outside).fpr_and_reason(0.95, rule)
    expected = PUBLISHED[rule](*wide)
    assert bool(reason) == math.isnan(expected)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_sweep_has_answers_among_these_scores() -> None:
    known = [name for name, pair in SCORES.items() if not math.isnan(sweep(*pair))]
    assert {"continuous", "float32"} <= set(known)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("estimator", AUPR_ESTIMATORS)
def test_the_areas(estimator: str, name: str) -> None:
    inside, outside = (x.astype(np.float64) for x in SCORES[name])
    ranking = Ranking.of(*SCORES[name])
    for found, (values, is_positive) in (
        (ranking.aupr_in(estimator), both(inside, outside)),
        (ranking.aupr_out(estimator), both(-outside, -inside)),
    ):
        if estimator == "step":
            expected = average_precision_score(is_positive, values)
        else:
            precision, recall, _ = precision_recall_curve(is_positive, values)
            expected = auc(recall, precision)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("pair", [([0.5, 1.0], []), ([], [0.5, 1.0]), ([], [])])
def test_one_class_alone_has_no_figure_and_a_reason(pair: tuple[list, list]) -> None:
    ranking = Ranking.of(*pair)
    for rule in FPR_RULES:
        found, reason = ranking.fpr_and_reason(0.95, rule)
        assert math.isnan(found)
        assert "there are no" in reason
        with pytest.warns(ToolkitWarning, match="there are no"):
            assert math.isnan(ranking.fpr_at_tpr(rule=rule))
    for estimator in AUPR_ESTIMATORS:
        for area in (ranking.aupr_in, ranking.aupr_out):
            with pytest.warns(ToolkitWarning, match="there are no"):
                assert math.isnan(area(estimator))


def test_infinite_scores_have_every_figure_but_the_sweep() -> None:
    inside, outside = np.array([np.inf, 2.0, 2.0, 1.0]), np.array([-np.inf, 1.0, 0.0])
    finite = np.array([9.0, 2.0, 2.0, 1.0]), np.array([-9.0, 1.0, 0.0])
    ranking = Ranking.of(inside, outside)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rule in set(FPR_RULES) - {"odin"}:
            assert ranking.fpr_at_tpr(rule=rule) == PUBLISHED[rule](*finite)
    assert "not finite" in ranking.fpr_and_reason(0.95, "odin")[1]
