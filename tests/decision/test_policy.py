"""The policy, row by row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ood_toolkit import Energy, Outputs, Temperature, Threshold
from ood_toolkit.decision import ACTIONS, Policy
from ood_toolkit.errors import BadParameter, InputError
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
