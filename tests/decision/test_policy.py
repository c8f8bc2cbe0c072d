"""The policy, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit import (
    KDE,
    KNN,
    Energy,
    MaxLogit,
    Outputs,
    SoftmaxCentroid,
    Temperature,
    Threshold,
)
from ood_toolkit.decision import (
    ACTIONS,
    ClassThresholds,
    MethodRule,
    Policy,
    load_policy,
    selective_risk_threshold,
)
from ood_toolkit.errors import BadParameter, DataError, InputError
from tests.calibration.cases import overconfident, softmax


@pytest.fixture
def policy() -> Policy:
    validation = overconfident(300, seed=1)
    scorer = Energy().fit()
    return Policy(
        scorer,
        Threshold.at_tpr(scorer.score(validation), 0.9),
        Temperature().fit(validation),
        confidence=0.6,
    )


def test_each_row_is_judged_by_the_rule(policy: Policy) -> None:
    x = overconfident(200, seed=2)
    found = policy.decide(x)
    scores = policy.scorer.score(x)
    p = softmax(policy.calibrator.apply(x).logits)  # type: ignore[union-attr]
    for i in range(200):
        low, unsure = scores[i] < policy.threshold.value, p[i].max() < 0.6
        assert found.action[i] == ("reject" if low else "defer" if unsure else "accept")
        assert found.prediction[i] == p[i].argmax()
        assert found.probability[i] == pytest.approx(p[i].max())
        assert found.p_value[i] == policy.threshold.p_value(scores[i : i + 1])[0]
        words = {"reject": "is below the threshold", "defer": "is below 0.6", "accept": ""}
        assert words[found.action[i]] in found.reason[i]
        assert (found.reason[i] == "") == (found.action[i] == "accept")
    assert {*found.action} == set(ACTIONS)
    shares = policy.shares(found)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["reject"] == (found.action == "reject").mean()


def test_rows_are_json(policy: Policy) -> None:
    x = overconfident(5, seed=3)
    lines = [json.loads(json.dumps(row, allow_nan=False)) for row in policy.decide(x).rows()]
    assert [line["index"] for line in lines] == list(range(5))
    assert set(lines[0]) == {
        "index", "action", "prediction", "probability", "score", "p_value", "reason",
    }  # fmt: skip


def test_without_calibrator_and_confidence_only_outliers_are_turned_away() -> None:
    x = overconfident(100, seed=4)
    scorer = Energy().fit()
    policy = Policy(scorer, Threshold.at_tpr(scorer.score(x), 0.8))
    shares = policy.shares(policy.decide(x))
    assert (shares["accept"], shares["defer"]) == (0.8, 0.0)
    assert policy.shares(policy.decide(x.rows(slice(0)))) == dict.fromkeys(ACTIONS, 0.0)


def test_wrong_requests(policy: Policy) -> None:
    for value in (-0.1, 1.1, np.nan):
        with pytest.raises(BadParameter, match="confidence must lie in"):
            Policy(policy.scorer, policy.threshold, confidence=value)
    with pytest.raises(InputError, match="a policy needs logits"):
        policy.decide(Outputs(features=np.ones((2, 3))))


# Several detectors


def test_a_row_is_rejected_by_any_detector_and_told_by_which() -> None:
    validation, x = overconfident(300, seed=1), overconfident(200, seed=2)
    checks = []
    for made in (Energy(), MaxLogit(), SoftmaxCentroid()):
        scorer = made.fit(validation)
        checks.append((scorer, Threshold.at_tpr(scorer.score(validation), 0.9)))
    (scorer, threshold), *others = checks
    found = Policy(scorer, threshold, others=tuple(others)).decide(x)
    rejected = set()
    for i in range(200):
        low = [s.name for s, t in checks if s.score(x)[i] < t.value]
        assert (found.action[i] == "reject") == bool(low)
        assert [part.partition(":")[0] for part in found.reason[i].split("; ") if part] == low
        rejected |= {tuple(low)}
    assert len(rejected) > 3
    assert list(found.verdicts) == ["energy", "max_logit", "softmax_centroid"]
    assert np.array_equal(found.score, found.scores["energy"])
    with pytest.raises(BadParameter, match="energy is in the policy twice"):
        Policy(scorer, threshold, others=((scorer, threshold),))


def test_scores_may_be_given(policy: Policy) -> None:
    x = overconfident(50, seed=3)
    low = {"energy": np.full(50, -1e9)}
    assert (policy.decide(x, low).action == "reject").all()


# A risk


def test_the_confidence_keeps_a_risk_among_what_the_detectors_accept(policy: Policy) -> None:
    x = overconfident(900, seed=5)
    found = policy.keeping_risk(x, risk=0.3, delta=0.1)
    p = softmax(policy.calibrator.apply(x).logits)  # type: ignore[union-attr]
    kept = policy.scorer.score(x) >= policy.threshold.value  # type: ignore[attr-defined]
    expected = selective_risk_threshold(
        p.max(axis=1)[kept], (p.argmax(axis=1) == x.labels)[kept], 0.3, 0.1
    )
    assert found.confidence == pytest.approx(expected.value, rel=1e-12)
    assert 0.0 < found.confidence < 1.0
    assert (found.scorer, found.threshold) == (policy.scorer, policy.threshold)
    accepted = found.decide(x).action == "accept"
    assert (p.argmax(axis=1) != x.labels)[accepted].mean() <= 0.3


def test_a_risk_that_cannot_be_kept(policy: Policy) -> None:
    x = overconfident(200, seed=6)
    with pytest.raises(InputError, match=r"labelled rows cannot show a risk .* it takes 299"):
        policy.keeping_risk(x, risk=0.01)
    wrong = (np.asarray(x.labels) + 1) % 4
    with pytest.raises(InputError, match=r"at no confidence can a risk of 0\.2 be shown on"):
        policy.keeping_risk(Outputs(logits=x.logits, labels=wrong), risk=0.2)
    with pytest.raises(InputError, match="needs logits and labels"):
        policy.keeping_risk(Outputs(logits=x.logits), risk=0.2)
    for value in (0.0, 1.0, np.nan):
        with pytest.raises(BadParameter, match="risk must lie in"):
            policy.keeping_risk(x, risk=value)
        with pytest.raises(BadParameter, match="delta must lie in"):
            policy.keeping_risk(x, risk=0.3, delta=value)


# Parts of one classifier


def few_classes(x: Outputs, classes: int) -> Outputs:
    """The same rows, of a classifier that knows the first classes only."""
    return Outputs(logits=x.logits[:, :classes], labels=x.labels % classes)  # type: ignore[index, operator]


def test_parts_of_different_classifiers_are_refused() -> None:
    x = overconfident(300, seed=1)
    fewer = few_classes(x, 3)
    energy = Energy().fit()
    threshold = Threshold.at_tpr(energy.score(x))
    predicted = np.asarray(fewer.logits).argmax(axis=1)
    by_class = ClassThresholds.at_tpr(energy.score(fewer), predicted, 3)
    centroid = SoftmaxCentroid().fit(x)
    other = SoftmaxCentroid().fit(fewer)
    assert (centroid.classes, other.classes) == (4, 3)
    with pytest.raises(
        InputError, match="temperature is for 3 classes, but softmax_centroid for 4;"
    ):
        Policy(centroid, threshold, Temperature().fit(fewer))
    with pytest.raises(InputError, match="rule by class of energy is for 3 classes, but softmax_"):
        Policy(centroid, threshold, others=((energy, by_class),))
    with pytest.raises(InputError, match="temperature is for 4 classes, but the rule by class"):
        Policy(energy, by_class, Temperature().fit(x))
    Policy(energy, threshold, Temperature().fit(fewer))  # energy takes any number of classes


def test_detectors_of_different_features_are_refused() -> None:
    rng = np.random.default_rng(0)
    wide = Outputs(features=rng.normal(size=(50, 8)), logits=rng.normal(size=(50, 4)))
    narrow = Outputs(features=wide.features[:, :5], logits=wide.logits)  # type: ignore[index]
    knn, kde = KNN(k=3).fit(wide), KDE().fit(narrow)
    threshold = Threshold.at_tpr(np.arange(20.0))
    with pytest.raises(InputError, match="kde is for 5 feature columns, but knn for 8;"):
        Policy(knn, threshold, others=((kde, threshold),))


# One file


def test_a_policy_comes_back_from_its_file(tmp_path: Path) -> None:
    validation, x = overconfident(300, seed=1), overconfident(200, seed=2)
    energy, centroid = Energy().fit(), SoftmaxCentroid().fit(validation)
    predicted = np.asarray(validation.logits).argmax(axis=1)
    by_class = ClassThresholds.at_tpr(energy.score(validation), predicted, 4, 0.9)
    for calibrator in (Temperature().fit(validation), None):
        made = Policy(
            energy, by_class, calibrator, 0.8, ((centroid, MethodRule.of(centroid, validation)),)
        )
        path = tmp_path / "p.safetensors"
        made.save(path)
        again = load_policy(path)
        before, after = made.decide(x), again.decide(x)
        assert list(before.rows()) == list(after.rows())
        assert len({*before.action.tolist()}) > 1
        assert [r.facts() for r in again.rules.values()] == [r.facts() for r in made.rules.values()]


def test_what_is_no_policy_file(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    policy.save(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="is damaged or was changed"):
        load_policy(path)
    Energy().fit().save(path)
    with pytest.raises(DataError, match="holds no policy"):
        load_policy(path)
    with pytest.raises(DataError, match=r"must end in \.safetensors"):
        policy.save(tmp_path / "p.json")

    class Mine:
        def score(self, x: Outputs) -> Any:
            return np.zeros(len(x))

    with pytest.raises(InputError, match="Mine cannot be saved"):
        Policy(Mine(), policy.threshold).save(path)
