"""Far field and fragility against plain loops, closed forms and what is known of scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.evaluation import (
    along_ray,
    argmax_preserving_perturbation,
    far_field,
    flatter,
    fragility,
    sharper,
    stress,
    temperature_drift,
)
from ood_toolkit.evaluation.far_field import relative_change
from tests.cases import mostly_right


@pytest.fixture(scope="module")
def train() -> ood.Outputs:
    """Three Gaussians whose features are above 0, under a linear head."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = np.abs(rng.normal(size=(300, 6))) + 4 * np.eye(3, 6)[labels]
    weight = np.eye(3, 6) + 0.05 * rng.normal(size=(3, 6))
    head = ood.Head(weight=weight, bias=np.array([0.3, -0.2, 0.1]))
    return ood.Outputs(features=features, labels=labels, head=head)


def softmax_loop(z: list[float]) -> list[float]:
    top = max(z)
    terms = [math.exp(v - top) for v in z]
    return [t / sum(terms) for t in terms]


def entropy_loop(p: list[float]) -> float:
    return -sum(v * math.log(v) for v in p if v > 0)


# Rays


def test_a_ray_runs_through_the_head(train: ood.Outputs) -> None:
    moved = along_ray(train, 8.0)
    assert train.head is not None
    assert train.features is not None
    for i in (0, 7, 299):
        for c in range(3):
            expected = train.head.bias[c] + sum(
                8.0 * train.features[i, d] * train.head.weight[c, d] for d in range(6)
            )
            assert moved.logits[i, c] == pytest.approx(expected, rel=1e-13)
    assert moved.labels is None


def test_a_ray_of_logits_alone_keeps_masks() -> None:
    x = ood.Outputs(
        logits=np.array([[1.0, -np.inf, -2.0]], dtype=np.float16),
        layers={"early": np.array([[0.5]])},
        members=np.ones((2, 1, 3)),
    )
    moved = along_ray(x, 1024.0)
    assert moved.logits.tolist() == [[1024.0, -np.inf, -2048.0]]
    assert moved.layers["early"].tolist() == [[512.0]]
    assert (moved.members == 1024.0).all()


FAR = {  # what is known of each: share that stays confident, and how most rays end
    "msp": (0.9, "settled"),
    "entropy": (0.9, "settled"),
    "energy": (1.0, "rising"),
    "max_logit": (1.0, "rising"),
    "logit_margin": (0.9, "rising"),
    "mahalanobis": (0.0, "falling"),
    "knn": (None, "settled"),  # of directions: what it says of a ray it says everywhere on it
    "cosine_prototype": (None, "settled"),
    "kde": (0.0, "falling"),
}


@pytest.mark.parametrize("name", sorted(FAR))
def test_scores_do_far_away_what_is_known_of_them(name: str, train: ood.Outputs) -> None:
    scorer = ood.detector(name).fit(train)
    found = far_field(scorer, train)
    share, trend = FAR[name]
    if share is not None:
        assert abs(found.far - share) <= 0.1
    assert getattr(found, trend) > 0.9
    assert found.settled + found.rising + found.falling == pytest.approx(1.0)
    assert found.factors[-1] == 1024.0


def test_knn_without_normalisation_notices_distance(train: ood.Outputs) -> None:
    plain = ood.detector("knn", k=5, normalize=False).fit(train)
    assert far_field(plain, train).far == 0.0


def test_far_field_counts_by_loops(train: ood.Outputs) -> None:
    x = train.rows(slice(0, 21))
    factors = (1.0, 3.0, 50.0)
    found = far_field(ood.MSP().fit(), x, factors)
    assert x.logits is not None
    here = sorted(max(softmax_loop(list(z))) for z in x.logits)
    assert found.median == pytest.approx(here[10], rel=1e-12)
    last: list[list[float]] = []
    for share, factor in zip(found.confident, factors, strict=True):
        scores = [max(softmax_loop(list(z))) for z in along_ray(x, factor).logits]
        last.append(scores)
        assert share == sum(s >= here[10] * (1 - 1e-12) for s in scores) / 21
    changes = [(b - a) / max(abs(a), abs(b)) for a, b in zip(last[-2], last[-1], strict=True)]
    assert found.rising == sum(c > 1e-3 for c in changes) / 21
    assert found.falling == sum(c < -1e-3 for c in changes) / 21
    assert found.change == pytest.approx(sorted(map(abs, changes))[10], rel=1e-9)


def test_energy_grows_along_a_ray_as_the_largest_logit(train: ood.Outputs) -> None:
    """S(a x) / a -> the largest logit's rate of growth."""
    assert train.head is not None
    assert train.features is not None
    score = ood.Energy().fit().score(along_ray(train, 2.0**40)) / 2.0**40
    np.testing.assert_allclose(score, (train.features @ train.head.weight.T).max(1), rtol=1e-9)


def test_change_to_and_from_infinity() -> None:
    inf = math.inf
    before = np.array([1.0, 2.0, -1.0, inf, -inf, 3.0, inf, 0.0])
    after = np.array([2.0, 1.0, 1.0, inf, -inf, -inf, 5.0, 0.0])
    expected = [0.5, -0.5, 2.0, 0.0, 0.0, -1.0, -1.0, 0.0]
    assert relative_change(before, after).tolist() == expected


# Perturbations


def test_known_mixtures() -> None:
    z = np.log([[0.7, 0.2, 0.1]])
    np.testing.assert_allclose(np.exp(flatter(z, 0.4)), [[0.42 + 0.4 / 3, 0.12 + 0.4 / 3,
                               0.06 + 0.4 / 3]], rtol=1e-14)  # fmt: skip
    np.testing.assert_allclose(np.exp(sharper(z, 0.4)), [[0.82, 0.12, 0.06]], rtol=1e-14)


rows = st.integers(2, 8).flatmap(
    lambda c: st.lists(st.lists(st.floats(-30, 30), min_size=c, max_size=c), min_size=1, max_size=4)
)


@given(rows, st.floats(0, 0.999), st.floats(0, 2))
def test_no_prediction_changes_and_the_sum_stays(
    z: list[list[float]], share: float, target: float
) -> None:
    logits = np.array(z)
    total = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    for moved in (
        flatter(logits, share),
        sharper(logits, share),
        argmax_preserving_perturbation(logits, target),
    ):
        assert (moved.argmax(1) == logits.argmax(1)).all()
        with np.errstate(divide="ignore"):
            after = np.log(np.exp(moved - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
        np.testing.assert_allclose(after, total, rtol=0, atol=1e-9)


def test_mixtures_by_loops_with_a_masked_class() -> None:
    z = [2.0, -math.inf, 0.5, -1.0]
    p = softmax_loop(z)
    flat = [0.75 * v + (0.25 / 3 if c != 1 else 0.0) for c, v in enumerate(p)]
    sure = [0.75 * v + (0.25 if c == 0 else 0.0) for c, v in enumerate(p)]
    for moved, expected in ((flatter, flat), (sharper, sure)):
        new = moved(np.array([z]), 0.25)[0]
        assert new[1] == -np.inf
        np.testing.assert_allclose(softmax_loop(list(new)), expected, rtol=1e-13)


@pytest.mark.parametrize("target", [0.0, 0.2, 0.9, 1.3])
def test_the_target_entropy_is_reached(target: float) -> None:
    z = np.random.default_rng(1).normal(size=(40, 4)) * 3
    for row in argmax_preserving_perturbation(z, target):
        assert entropy_loop(softmax_loop(list(row))) == pytest.approx(target, abs=1e-7)


def test_an_entropy_out_of_reach_is_nearly_uniform_and_keeps_the_prediction() -> None:
    z = np.array([[5.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    moved = argmax_preserving_perturbation(z, 7.0)
    assert moved.argmax(1).tolist() == [0, 2]
    for row in moved:
        p = softmax_loop(list(row))
        assert entropy_loop(p) == pytest.approx(math.log(3), abs=1e-5)
        assert max(p) - min(p) == pytest.approx(1e-3, rel=1e-6)


# Decisions


def test_flipped_decisions_by_loops() -> None:
    x = mostly_right(90, seed=3)
    assert x.logits is not None
    z = [list(row) for row in x.logits]
    scores = [max(softmax_loop(row)) for row in z]
    threshold = sorted(scores, reverse=True)[math.ceil(0.8 * 90) - 1]
    found = fragility(ood.MSP().fit(), x, tpr=0.8, shares=(0.05, 0.3))
    assert found.threshold == pytest.approx(threshold, rel=1e-12)
    for share, lost, gained in zip(found.shares, found.lost, found.gained, strict=True):
        classes = len(z[0])
        down = [(1 - share) * s + share / classes for s in scores if s >= threshold]
        up = [(1 - share) * s + share for s in scores if s < threshold]
        assert lost == sum(s < threshold for s in down) / len(down)
        assert gained == sum(s >= threshold for s in up) / len(up)


def test_what_does_not_read_the_softmax_does_not_flip(train: ood.Outputs) -> None:
    for name in ("energy", "mahalanobis"):
        found = fragility(ood.detector(name).fit(train), train)
        assert set(found.lost) == {0.0}
        assert set(found.gained) == {0.0}
    assert fragility(ood.MSP().fit(), train).lost[-1] > 0.9


def test_a_threshold_of_its_own_decides() -> None:
    x = mostly_right(50, seed=4)
    found = fragility(ood.MSP().fit(), x, threshold=0.0)
    assert found.threshold == 0.0
    assert set(found.lost) == {0.0}
    assert all(math.isnan(share) for share in found.gained)


def test_members_are_moved_too() -> None:
    rng = np.random.default_rng(2)
    agreed = 9.0 * np.eye(4)[np.arange(40) % 4]
    x = ood.Outputs(members=agreed + 0.1 * rng.normal(size=(3, 40, 4)))
    scorer = ood.detector("t_similarity").fit()
    assert fragility(scorer, x, shares=(0.9,)).lost == (1.0,)


def test_the_temperature_drifts_by_what_was_mixed_in() -> None:
    """Two classes, all logits (4, 0): p = 1 / (1 + e^-4) goes to (p + 1/2) / 2."""
    x = ood.Outputs(logits=np.array([[4.0, 0.0]] * 4), labels=[0, 0, 0, 1])
    p = 0.5 / (1 + math.exp(-4)) + 0.25
    assert temperature_drift(x, 0.5) == pytest.approx(math.log(p / (1 - p)) / 4, rel=1e-9)
    assert temperature_drift(x, 0.0) == pytest.approx(1.0, rel=1e-9)


# Many methods


def test_stress_lists_what_ran_and_what_did_not(train: ood.Outputs) -> None:
    done: list[str] = []
    found = stress(
        ["msp", "knn", "t_similarity"],
        train,
        train=train,
        rows=100,
        skip_unmet=True,
        progress=done.append,
    )
    assert found.n == 100
    assert [r.method for r in found.results] == ["msp", "knn"]
    assert [(n.method, n.reason) for n in found.skipped] == [("t_similarity", "needs members")]
    assert done == ["msp", "knn", "t_similarity"]
    document = found.to_json()
    assert document["schema"] == 1
    assert document["results"][0]["far_field"]["confident"][-1] > 0.8
    alone = far_field(ood.MSP().fit(), train.rows(np.linspace(0, 299, 100).astype(int)))
    assert found.results[0].far_field == alone


def test_stress_takes_fitted_scorers(train: ood.Outputs) -> None:
    scorer = ood.detector("knn", k=3).fit(train)
    found = stress([], train, scorers={"mine": (scorer, 0.25)})
    assert (found.results[0].method, found.results[0].fragility.threshold) == ("mine", 0.25)


def test_a_method_that_cannot_be_fitted_is_listed(train: ood.Outputs) -> None:
    few = replace(train.rows(slice(0, 2)), head=train.head)
    found = stress(["mahalanobis", "msp"], train, train=few)
    assert [n.method for n in found.failed] == ["mahalanobis"]
    assert [r.method for r in found.results] == ["msp"]


def test_features_alone_have_no_fragility(train: ood.Outputs) -> None:
    features = replace(train, logits=None, head=None)
    found = stress("knn", features, train=features)
    assert found.results[0].fragility is None
    assert found.to_json()["results"][0]["fragility"] is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, s: far_field(s, x, (1.0,)), "two or more"),
        (lambda x, s: far_field(s, x, (2.0, 1.0)), "ascend"),
        (lambda x, s: far_field(s, x, (0.0, 1.0)), "above 0"),
        (lambda x, s: along_ray(x, math.inf), "finite"),
        (lambda x, s: fragility(s, x, tpr=0.0), "tpr must lie"),
        (lambda x, s: fragility(s, x, shares=(1.0,)), "share must lie"),
        (lambda x, s: fragility(s, x, shares=()), "shares is empty"),
        (lambda x, s: argmax_preserving_perturbation(x.logits, -1.0), "target_entropy"),
        (lambda x, s: stress("msp", x, rows=0), "rows must be"),
        (lambda x, s: stress("msp", x, tpr=2.0), "tpr must lie"),
    ],
)
def test_what_is_out_of_range_is_refused(call, words, train: ood.Outputs) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadParameter, match=words):
        call(train, ood.MSP().fit())


def test_rows_that_cannot_be_used(train: ood.Outputs) -> None:
    scorer = ood.MSP().fit()
    for check in (far_field, fragility):
        with pytest.raises(InputError, match="got none"):
            check(scorer, train.rows(slice(0)))
    with pytest.raises(InputError, match="there are none"):
        fragility(scorer, replace(train, logits=None, head=None))
    with pytest.raises(InputError, match="row 1 holds NaN"):
        flatter(np.array([[0.0, 1.0], [np.nan, 0.0]]), 0.1)
