"""Ensembles: against scipy, with members of every kind, on disk and on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import combine_pvalues, zscore

import ood_toolkit as ood
from ood_toolkit import Ensemble, Outputs
from ood_toolkit.detectors.held_out import held_out_rows
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from tests.cases import mostly_right
from tests.reference.further_ensemble import held_out

MEMBERS = ("energy", "gini", "cosine_prototype")
COMBINATIONS = ("zscore", "fisher", "mean_rank")

each_combination = pytest.mark.parametrize("combine", COMBINATIONS)


@pytest.fixture(scope="module")
def train() -> Outputs:
    return mostly_right(200, seed=1)


@pytest.fixture(scope="module")
def validation() -> Outputs:
    return mostly_right(90, seed=2)


@pytest.fixture(scope="module")
def x() -> Outputs:
    return mostly_right(40, seed=3, spread=0.5)


def scores(train: Outputs, x: Outputs) -> list[np.ndarray]:
    return list(ood.score(x, list(MEMBERS), train=train).values())


def test_fisher_is_scipys_statistic(train: Outputs, validation: Outputs, x: Outputs) -> None:
    got = Ensemble(MEMBERS, combine="fisher").fit(train, validation).score(x)
    known, new = scores(train, validation), scores(train, x)
    for row in range(len(x)):
        p = [
            (1 + np.sum(h <= s[row])) / (1 + len(validation))
            for h, s in zip(known, new, strict=True)
        ]
        assert -2 * got[row] == pytest.approx(combine_pvalues(p, "fisher").statistic, rel=1e-13)


def test_zscore_is_scipys(train: Outputs, validation: Outputs) -> None:
    got = Ensemble(MEMBERS).fit(train, validation).score(validation)
    expected = np.mean([zscore(own) for own in scores(train, validation)], axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_mean_rank_of_the_held_out_rows_themselves(train: Outputs, validation: Outputs) -> None:
    from scipy.stats import rankdata

    got = Ensemble(MEMBERS, combine="mean_rank").fit(train, validation).score(validation)
    n = len(validation)
    expected = np.mean([(rankdata(own) - 0.5) / n for own in scores(train, validation)], axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


@each_combination
def test_one_member_ranks_as_it_does_alone(combine: str, train: Outputs, x: Outputs) -> None:
    got = Ensemble(["energy"], combine=combine).fit(train).score(x)
    alone = ood.score(x, "energy")["energy"]
    order = np.argsort(alone)
    assert (np.diff(got[order]) >= 0).all()


@each_combination
def test_the_order_of_the_members_does_not_matter(combine: str, train: Outputs, x: Outputs) -> None:
    first = Ensemble(MEMBERS, combine=combine).fit(train).score(x)
    second = Ensemble(MEMBERS[::-1], combine=combine).fit(train).score(x)
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("combine", ["fisher", "mean_rank"])
def test_ranks_do_not_see_a_monotone_change_of_a_score(
    combine: str, train: Outputs, x: Outputs
) -> None:
    """-D_beta is a monotone function of the largest probability."""
    beta = ood.Gini(variant="beta")
    one = Ensemble(["msp", "knn"], combine=combine).fit(train).score(x)
    two = Ensemble([beta, "knn"], combine=combine).fit(train).score(x)
    np.testing.assert_allclose(one, two, rtol=1e-13)


def test_rows_held_out_are_those_of_the_twin(train: Outputs) -> None:
    assert np.flatnonzero(held_out_rows(train)).tolist() == held_out(train)
    unlabelled = replace(train, labels=None)
    assert np.flatnonzero(held_out_rows(unlabelled)).tolist() == list(range(1, 200, 5))


def test_without_held_out_rows_training_rows_are_held_out(train: Outputs, x: Outputs) -> None:
    held = held_out_rows(train)
    by_itself = Ensemble(MEMBERS).fit(train)
    by_hand = Ensemble(MEMBERS).fit(train.rows(~held), train.rows(held))
    assert np.array_equal(by_itself.score(x), by_hand.score(x))
    assert by_itself.report() == {
        "rows": 160,
        "held_out": 40,
        "held_out_from": "the second of every 5 training rows of a class",
    }
    assert by_hand.report()["held_out_from"] == "id_val"


def test_a_class_with_one_row_keeps_it() -> None:
    record = Outputs(logits=np.eye(3)[[0, 1, 1, 2]], labels=[0, 1, 1, 2])
    assert held_out_rows(record).tolist() == [False, False, True, False]
    with pytest.raises(InputError, match="no class has two training rows"):
        Ensemble("energy,msp").fit(record.rows(np.array([0, 1, 3])))


@each_combination
def test_saved_with_members_of_every_kind(
    combine: str, train: Outputs, x: Outputs, tmp_path: Path
) -> None:
    detector = Ensemble(
        [
            ood.KNN(k=3),
            "react+gen",
            "t_similarity",
            Ensemble(["msp", "vim"], combine="fisher"),
        ],
        combine=combine,
    )
    scorer = detector.fit(train)
    scorer.save(tmp_path / "e.safetensors")
    again = ood.load_scorer(tmp_path / "e.safetensors")
    assert again.detector == detector
    assert np.array_equal(again.score(x), scorer.score(x))
    assert again.report() == scorer.report()


def test_the_needs_are_those_of_the_members() -> None:
    def row(*members: str) -> tuple[object, ...]:
        method = Ensemble(members).as_method()
        return method.family, method.needs, method.train

    assert row("energy", "msp") == ("logits", ("logits",), ("logits",))
    assert row("knn") == ("features", ("features",), ("features",))
    assert row("vim", "vote_entropy") == (
        "features + head",
        ("logits", "features", "members"),
        ("logits", "features", "head", "members"),
    )
    assert Ensemble().as_method().needs == ood.detectors.find_method("ensemble").needs
    assert Ensemble().as_method().train == ood.detectors.find_method("ensemble").train


def test_constant_scores_are_only_centred() -> None:
    """All features point one way: every neighbour is at distance zero."""
    rng = np.random.default_rng(0)
    train = Outputs(features=rng.uniform(1, 2, size=(60, 1)) * [[3.0, 4.0]])
    x = Outputs(features=np.array([[6.0, 8.0], [-3.0, -4.0]]))
    got = Ensemble([ood.KNN(k=5)]).fit(train).score(x)
    assert got == pytest.approx([0, -2], abs=1e-12)


def test_infinite_scores() -> None:
    """No training row gives class 3 any weight, so that some rows gain infinitely much."""
    logits = np.random.default_rng(0).normal(size=(30, 4))
    logits[:, 3] = -np.inf
    masked, open_ = Outputs(logits=logits), Outputs(logits=np.array([[1.0, 0.0, 0.0, 0.5]]))
    for combine in COMBINATIONS:
        scorer = Ensemble(["information_gain", "energy"], combine=combine).fit(masked)
        assert not np.isnan(scorer.score(open_)).any()
    with pytest.raises(InputError, match=r"scores held-out row 0 infinite.*use combine=fisher"):
        Ensemble(["information_gain"]).fit(masked, open_)
    assert Ensemble(["information_gain"], "fisher").fit(masked, open_).score(open_) == [0.0]


@pytest.mark.parametrize(
    ("members", "error", "words"),
    [
        ([], BadParameter, "names no method"),
        ("", BadParameter, "names no method"),
        (["energy", ood.Energy(1.0)], BadParameter, "twice"),
        (["energi"], UnknownName, "did you mean energy"),
        ([{"name": "energy"}], BadParameter, 'the keys "method" and "parameters", got name'),
        ([{"method": "knn", "parameters": {"q": 1}}], UnknownName, "no parameter 'q'"),
        ([3], UnknownName, "int is not in the catalogue"),
    ],
)
def test_members_that_make_no_sense(
    members: list[object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Ensemble(members)  # type: ignore[arg-type]
    with pytest.raises(BadParameter, match='is "zscore", "fisher" or "mean_rank"'):
        Ensemble(combine="sum")  # type: ignore[arg-type]
