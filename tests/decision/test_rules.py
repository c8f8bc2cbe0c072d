"""Rules of acceptance: what they accept, what a detector file keeps of them, what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit import Energy, Outputs, Threshold
from ood_toolkit.decision import (
    ClassThresholds,
    MethodRule,
    RiskRule,
    expected_error_threshold,
    rule_from,
    selective_risk_threshold,
)
from ood_toolkit.decision.verdict import predicted_classes, right_predictions
from ood_toolkit.detectors.persistence import read_scorer
from ood_toolkit.detectors.saving import save_scorer
from ood_toolkit.errors import InputError
from tests.calibration.cases import overconfident, softmax

VAL, TEST = overconfident(400, seed=41), overconfident(150, seed=42)
TRAIN = overconfident(200, seed=43)


def kept(rule: Any, scorer: Any, folder: Path) -> Any:
    """The rule after it was stored in a detector file and read again."""
    path = folder / "d.safetensors"
    save_scorer(scorer, path, threshold=rule.facts(), **rule.arrays())
    saved = read_scorer(path)
    return rule_from(saved.threshold, saved.id_scores, saved.id_predictions)


def rules(scorer: Any) -> dict[str, Any]:
    scores = scorer.score(VAL)
    correct, predicted = right_predictions(VAL), predicted_classes(VAL)
    return {
        "tpr": Threshold.at_tpr(scores, 0.9),
        "guaranteed": Threshold.guaranteed(scores, 0.9, 0.1),
        "class": ClassThresholds.at_tpr(scores, predicted, 4, 0.9),
        "class guaranteed": ClassThresholds.at_tpr(scores, predicted, 4, 0.8, 0.2),
        "selective": RiskRule.selective(scores, correct, 0.3, 0.1),
        "expected": RiskRule.expected(scores, correct, 0.2),
    }


@pytest.mark.parametrize("name", list(rules(Energy().fit())))
def test_a_stored_rule_judges_as_it_did(name: str, tmp_path: Path) -> None:
    scorer = Energy().fit()
    rule = rules(scorer)[name]
    again = kept(rule, scorer, tmp_path)
    scores = scorer.score(TEST)
    before, after = rule.verdict(TEST, scores, scorer), again.verdict(TEST, scores, scorer)
    assert 0 < before.accept.sum() < len(TEST)
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a, b)
    assert again.facts() == rule.facts()
    assert np.array_equal(np.sort(again.id_scores), np.sort(scorer.score(VAL)))
    assert again.why(1.25, 2.5) == rule.why(1.25, 2.5)


def test_by_class_each_row_is_judged_by_the_class_predicted_for_it() -> None:
    scorer = Energy().fit()
    rule = rules(scorer)["class"]
    val, test = scorer.score(VAL), scorer.score(TEST)
    predicted, held = softmax(TEST.logits).argmax(axis=1), softmax(VAL.logits).argmax(axis=1)
    found = rule.verdict(TEST, test, scorer)
    for i, c in enumerate(predicted):
        own = sorted(val[held == c])
        limit = own[len(own) - -(-9 * len(own) // 10)]
        assert found.limit[i] == limit
        assert found.accept[i] == (test[i] >= limit)
        assert found.p_value[i] == (1 + sum(s <= test[i] for s in own)) / (len(own) + 1)


def test_rules_of_risk_are_the_thresholds_of_these_names() -> None:
    scorer = Energy().fit()
    scores, correct = scorer.score(VAL), right_predictions(VAL)
    labels = np.asarray(VAL.labels)
    assert np.array_equal(correct, np.asarray(VAL.logits).argmax(axis=1) == labels)
    rule = RiskRule.selective(scores, correct, 0.4, 0.1)
    assert rule.value == selective_risk_threshold(scores, correct, 0.4, 0.1).value
    facts = {"rule": "selective_risk", "risk": 0.4, "delta": 0.1, "rows": 400}
    assert facts.items() <= rule.facts().items()
    rule = RiskRule.expected(scores, correct, 0.2)
    assert rule.value == expected_error_threshold(scores, correct, 0.2).value
    assert "delta" not in rule.facts()
    found = rule.verdict(TEST, scorer.score(TEST), scorer)
    assert np.array_equal(found.accept, scorer.score(TEST) >= rule.value)
    expected = Threshold.at_tpr(scores).p_value(scorer.score(TEST))
    assert np.array_equal(found.p_value, expected)


def test_nothing_accepted_comes_back_as_nothing(tmp_path: Path) -> None:
    scorer = Energy().fit()
    rule = RiskRule.selective(scorer.score(VAL), np.zeros(400, dtype=bool), 0.1)
    again = kept(rule, scorer, tmp_path)
    assert (again.value, again.coverage) == (np.inf, 0.0)
    assert not again.verdict(TEST, scorer.score(TEST), scorer).accept.any()


def test_softmax_centroid_s_safety_distance_is_a_rule(tmp_path: Path) -> None:
    scorer = ood.SoftmaxCentroid().fit(TRAIN)
    rule = MethodRule.of(scorer, VAL)
    again = kept(rule, scorer, tmp_path)
    found = again.verdict(TEST, scorer.score(TEST), scorer)
    p = softmax(TEST.logits)
    for i in range(len(TEST)):
        c = p[i].argmax()
        distance = np.sqrt(((p[i] - scorer.centroids[c]) ** 2).sum())
        assert found.accept[i] == (distance < scorer.limit[c])
    assert 0 < found.accept.sum() < len(TEST)
    assert rule.share == scorer.accept(VAL).mean()
    val, test = scorer.score(VAL), scorer.score(TEST)
    assert found.p_value[3] == (1 + (val <= test[3]).sum()) / 401
    assert "centroid" in again.why(0.0, np.nan)
    assert scorer.report()["limit_min"] == scorer.limit.min()


def test_sdm_s_region_is_a_rule(tmp_path: Path) -> None:
    digits = ood.load_benchmark("digits")
    scorer = ood.SDM(alpha=0.9).fit(digits.train, digits.id_val)
    rule = MethodRule.of(scorer, digits.id_val)
    again = kept(rule, scorer, tmp_path)
    predicted = scorer.predict(digits.id)
    found = again.verdict(digits.id, scorer.score(digits.id), scorer)
    region = scorer.region
    expected = (predicted.rescaled_similarity >= region.q_min) & (
        predicted.probability >= region.psi[predicted.prediction]
    )
    assert np.array_equal(found.accept, expected)
    assert 0 < found.accept.sum() < len(digits.id)
    assert "region" in again.why(0.0, np.nan)
    assert again.facts()["coverage"] == scorer.predict(digits.id_val).accept.mean()


def test_wrong_requests_for_rules() -> None:
    scorer = Energy().fit()
    with pytest.raises(InputError, match="energy has no rule of its own"):
        MethodRule.of(scorer, VAL)
    with pytest.raises(InputError, match="no rule is called 'best'"):
        rule_from({"rule": "best", "rows": 0}, np.empty(0))
    bare = Outputs(logits=VAL.logits)
    with pytest.raises(InputError, match="needs logits and labels"):
        right_predictions(bare)
    unknown = np.array(VAL.labels)
    unknown[7] = -1
    with pytest.raises(InputError, match="labels: row 7 is -1"):
        right_predictions(Outputs(logits=VAL.logits, labels=unknown))
    features = Outputs(features=np.ones((3, 2)))
    with pytest.raises(InputError, match="thresholds by class need logits"):
        predicted_classes(features)
    rule = rules(scorer)["class"]
    five = overconfident(3, seed=1, classes=5)
    with pytest.raises(InputError, match="5 classes, but there are 4 thresholds"):
        rule.verdict(five, scorer.score(five), scorer)
    with pytest.raises(InputError, match="by class need the class of each row"):
        rule_from(rule.facts(), rule.id_scores)
