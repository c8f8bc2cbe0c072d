"""Explanations by example."""

from __future__ import annotations

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Outputs
from tests.cases import mostly_right


@pytest.fixture(scope="module")
def fitted() -> tuple[ood.SDM, Outputs, Outputs]:
    train, held_out, x = (
        mostly_right(n, seed=s, spread=1.15) for n, s in ((300, 1), (200, 2), (120, 3))
    )
    return ood.SDM(alpha=0.9).fit(train, held_out), train, x


def test_neighbours_are_the_nearest_and_then_the_breaker(fitted: tuple) -> None:
    sdm, train, x = fitted
    found = sdm.predict(x)
    for i, explanation in enumerate(sdm.explain(x, neighbors=3)):
        away = np.linalg.norm(train.features - x.features[i], axis=1)
        nearest = np.argsort(away, kind="stable")
        listed = explanation.exemplars
        assert [e.row for e in listed[:3]] == nearest[:3].tolist()
        assert (explanation.row, explanation.prediction) == (i, found.prediction[i])
        q = int(found.similarity[i])
        assert [e.agrees for e in listed[:3]][: q + 1] == ([True] * q + [False])[:3][: q + 1]
        if q >= 3:
            assert len(listed) == 4
            assert (listed[3].rank, listed[3].row) == (q + 1, nearest[q])
            assert not listed[3].agrees
        for e in listed:
            assert e.distance == pytest.approx(away[e.row], rel=1e-12)
            assert e.label == train.labels[e.row]
            assert bool(e.why) != e.agrees
        assert explanation.reason.startswith("accepted" if found.accept[i] else "rejected")
        assert explanation.facts["similarity"] == q


def test_reasons(fitted: tuple) -> None:
    sdm, _, x = fitted
    reasons = " ".join(e.reason for e in sdm.explain(x))
    for words in ("does not speak for class", "is below", "agree, and probability"):
        assert words in reasons
    nothing = ood.SDM(alpha=1.0).fit(*[mostly_right(100, seed=s) for s in (1, 2)])
    assert "nothing can be accepted at 1" in nothing.explain(x, [0])[0].reason


def test_which_rows(fitted: tuple) -> None:
    sdm, _, x = fitted
    some = sdm.explain(x, [7, 3], neighbors=1)
    assert [e.row for e in some] == [7, 3]
    assert some[0] == sdm.explain(x, neighbors=1)[7]
    assert sdm.explain(x, []) == ()
    with pytest.raises(InputError, match=r"row 120: there are rows 0 ... 119"):
        sdm.explain(x, [120])
    with pytest.raises(BadParameter, match="neighbors"):
        sdm.explain(x, [0], neighbors=0)


def test_rows_that_are_known_to_be_strange_are_named(fitted: tuple) -> None:
    sdm, _, x = fitted
    strange = Outputs(features=x.features[:1], logits=x.logits[:1])
    (explanation,) = sdm.with_support(strange, known_ood=True).explain(x, [0], neighbors=1)
    assert explanation.exemplars[0].why == "known to belong to no class"
    assert explanation.exemplars[0].row == 300
    other = Outputs(features=x.features[:1], logits=x.logits[:1], labels=[-1])
    (explanation,) = sdm.with_support(other).explain(x, [0], neighbors=1)
    assert explanation.exemplars[0].why == "unlabelled"
