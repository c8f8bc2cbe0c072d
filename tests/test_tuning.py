"""Hyper-parameters: the chosen setting is the best by a slow computation, and nothing leaks."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit import Outputs, tune
from ood_toolkit.detectors import make_detector, registered
from ood_toolkit.detectors.catalogue import AUTO_RULES, PSEUDO_OUTLIERS, parameter_values
from ood_toolkit.errors import BadParameter, InputError, ToolkitError, ToolkitWarning
from ood_toolkit.evaluation import tuning as module
from ood_toolkit.evaluation.leakage import content_digest, row_digests, shared_rows
from ood_toolkit.evaluation.pseudo_outliers import pseudo_outliers
from tests.cases import mostly_right
from tests.reference import TWINS
from tests.reference.further_ensemble import held_out

ROWS = {row.name: row for row in registered()}


@pytest.fixture(scope="module")
def train() -> Outputs:
    return mostly_right(150, seed=1)


@pytest.fixture(scope="module")
def validation() -> Outputs:
    return mostly_right(60, seed=2)


@pytest.fixture(scope="module")
def outliers() -> Outputs:
    return replace(mostly_right(50, seed=3, spread=0.4), labels=None)


def pairs_won(inside: np.ndarray, outside: np.ndarray) -> float:
    """AUROC by counting pairs."""
    won = sum((a > b) + 0.5 * (a == b) for a, b in itertools.product(inside, outside))
    return float(won) / (len(inside) * len(outside))


def midpoints(x: Outputs) -> Outputs:
    """Halfway between each row and its partner, where that is of another class."""
    order = np.random.default_rng(0).permutation(len(x))
    pairs = [(i, j) for i, j in enumerate(order) if x.labels[i] != x.labels[j]]
    features = np.array([(x.features[i] + x.features[j]) / 2 for i, j in pairs])
    logits = np.array([(x.logits[i] + x.logits[j]) / 2 for i, j in pairs])
    return Outputs(features=features, logits=logits, head=x.head)


def slow_choice(
    name: str, fit_on: Outputs, inside: Outputs, outside: Outputs
) -> tuple[dict[str, Any], float]:
    """The best of the default and the grid by twins and counted pairs; the first of a tie."""
    grid = ROWS[name].grid
    default = {p.name: p.default for p in ROWS[name].parameters if p.name in grid}
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    best, best_auroc = default, -1.0
    for setting in [default, *every]:
        try:
            value = pairs_won(
                TWINS[name](inside, fit_on, **setting), TWINS[name](outside, fit_on, **setting)
            )
        except ValueError:
            continue  # a setting that these rows do not allow
        if value > best_auroc + 1e-12:
            best, best_auroc = setting, value
    return best, best_auroc


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.auto == PSEUDO_OUTLIERS])
def test_from_id_data_the_choice_is_the_slow_ones(name: str, train: Outputs) -> None:
    held = held_out(train)
    rest = train.rows(np.array([i for i in range(len(train)) if i not in held]))
    inside = train.rows(np.array(held))
    expected, value = slow_choice(name, rest, inside, midpoints(inside))
    chosen = tune(name, train)
    assert chosen.rule == PSEUDO_OUTLIERS
    assert chosen.parameters == expected
    assert chosen.auroc == pytest.approx(value, abs=1e-12)
    values = parameter_values(chosen.detector)
    assert {key: values[key] for key in expected} == expected
    assert chosen.rows == {
        "fit": len(rest) if ROWS[name].train else 0,
        "held_out": len(held),
        "outliers": len(midpoints(inside)),
    }


@pytest.mark.parametrize("name", ["gen", "she", "mahalanobis", "neco", "fdbd", "odin_temperature"])
def test_on_given_outliers_the_choice_is_the_slow_ones(
    name: str, train: Outputs, validation: Outputs, outliers: Outputs
) -> None:
    expected, value = slow_choice(name, train, validation, outliers)
    chosen = tune(name, train, validation, outliers)
    assert chosen.rule == "OOD validation rows"
    assert chosen.parameters == expected
    assert chosen.auroc == pytest.approx(value, abs=1e-12)
    assert chosen.held_out_from == "id_val"


@pytest.mark.parametrize("name", list(ROWS))
def test_a_row_says_how_its_setting_is_chosen(name: str) -> None:
    row = ROWS[name]
    assert row.auto in AUTO_RULES
    assert (row.auto == "nothing to choose") == (not row.parameters)
    assert row.grid or row.auto != PSEUDO_OUTLIERS
    assert set(row.grid) <= {parameter.name for parameter in row.parameters}
    for key, values in row.grid.items():
        assert len(set(values)) == len(values) > 1
        for value in values:
            made = make_detector(name, {key: value})
            assert value in (parameter_values(made)[key], value)


@pytest.mark.parametrize("name", ["gen", "vim", "nci"])
def test_a_published_default_stays_without_outliers(name: str, train: Outputs) -> None:
    chosen = tune(name, train)
    assert (chosen.rule, chosen.candidates) == ("published default", ())
    assert chosen.detector == make_detector(name)
    assert tune("msp", train).rule == tune("msp", train, ood=train).rule == "nothing to choose"


def test_what_the_user_set_stays(train: Outputs, outliers: Outputs) -> None:
    chosen = tune(ood.NNGuide(k=7), train, ood=outliers)
    assert chosen.detector.k == 7
    assert set(chosen.parameters) == {"fraction"}
    fixed = tune(ood.KNN(k=7), train, ood=outliers)
    assert (fixed.detector, fixed.rule) == (ood.KNN(k=7), "nothing to choose")


def test_a_composition_is_tuned_by_its_shaping(train: Outputs, outliers: Outputs) -> None:
    chosen = tune(make_detector("react+gen", {"gamma": 0.5}), train, ood=outliers)
    assert set(chosen.parameters) == {"percentile"}
    assert parameter_values(chosen.detector)["gamma"] == 0.5


def test_settings_that_cannot_be_fitted_are_listed(train: Outputs, outliers: Outputs) -> None:
    chosen = tune("vim", train, ood=outliers)
    lost = {c.parameters["dim"]: c.reason for c in chosen.candidates if c.auroc is None}
    assert set(lost) == {16, 32, 64, 128, 256, 512, 1000}  # of ten features
    assert all("dim" in reason for reason in lost.values())
    impossible = replace(train, features=np.full_like(train.features, np.nan))
    with pytest.raises(InputError, match=r"knn: no setting can be tuned: .*row 0 holds NaN"):
        tune("knn", impossible)


def test_a_tie_goes_to_the_detectors_own_setting(train: Outputs) -> None:
    """Every temperature ranks rows alike when logits are of one class against the rest."""
    rng = np.random.default_rng(0)
    inside = Outputs(logits=np.c_[rng.normal(5, 1, size=40), np.zeros(40)])
    outside = Outputs(logits=np.c_[rng.normal(1, 1, size=30), np.zeros(30)])
    chosen = tune("odin_temperature", None, inside, outside)
    assert {c.auroc for c in chosen.candidates} == {chosen.auroc}
    assert chosen.detector == ood.ODINTemperature()


def test_midpoints(train: Outputs) -> None:
    made, expected = pseudo_outliers(train), midpoints(train)
    np.testing.assert_array_equal(made.features, expected.features)
    np.testing.assert_array_equal(made.logits, expected.logits)
    np.testing.assert_allclose(made.head.logits(made.features), made.logits, rtol=1e-12, atol=1e-12)
    assert made.members.shape == (4, len(made), 5)
    assert made.labels is None
    predicted = replace(train, labels=None)
    y = train.logits.argmax(axis=1)
    np.testing.assert_array_equal(
        pseudo_outliers(predicted).logits, midpoints(replace(train, labels=y)).logits
    )
    with pytest.raises(InputError, match="of one class"):
        pseudo_outliers(train.rows(np.flatnonzero(train.labels == 2)))
    with pytest.raises(InputError, match="give labels or logits"):
        pseudo_outliers(Outputs(features=train.features))


@pytest.mark.parametrize("given", [True, False])
def test_rows_that_are_measured_on_were_not_fitted_on(
    given: bool, train: Outputs, validation: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Outputs] = []
    measured: list[Outputs] = []
    original = module.fit_method

    def spy(detector: Any, fit_on: Outputs, held: Outputs) -> Any:
        fitted.append(fit_on)
        measured.append(held)
        return original(detector, fit_on, held)

    monkeypatch.setattr(module, "fit_method", spy)
    tune("dice", train, validation if given else None)
    assert len(fitted) == 1 + 5 - 1  # the default is among the five of the grid
    for a, b in zip(fitted, measured, strict=True):
        assert shared_rows(a, b) == 0
        assert len(a) + len(b) == (len(train) + len(validation) if given else len(train))


def choices(result: ood.evaluation.Evaluation) -> list[dict[str, Any]]:
    return [dict(choice) for choice in result.tuning["methods"]]


def test_reported_rows_do_not_move_the_choice(
    train: Outputs, validation: Outputs, outliers: Outputs
) -> None:
    """Every reported row is another one; what is chosen stays, to the last digit."""
    found = []
    for seed in (11, 12):
        test, other = mostly_right(40, seed=seed), mostly_right(40, seed=seed + 20, spread=0.6)
        for tuning in ("id", outliers):
            result = ood.evaluate(
                ["knn", "dice", "gen"],
                id=test,
                ood={"other": other},
                train=train,
                id_val=validation,
                tune=tuning,
                bootstrap=0,
            )
            found.append(choices(result))
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0] != found[1]


def test_what_was_chosen_is_what_is_evaluated(train: Outputs, outliers: Outputs) -> None:
    test, other = mostly_right(40, seed=5), mostly_right(40, seed=6, spread=0.2)
    result = ood.evaluate(
        ["knn", "msp"], id=test, ood={"other": other}, train=train, tune=outliers, bootstrap=0
    )
    document = result.to_json()["tuning"]
    assert (document["on"], document["rows"]) == ("ood", len(outliers))
    assert document["sha256"] == content_digest(outliers)
    knn, msp = document["methods"]
    assert msp["rule"] == "nothing to choose"
    k = knn["tuned"]["k"]
    assert knn["parameters"] == {"k": k, "normalize": True}
    assert [c["parameters"]["k"] for c in knn["candidates"]] == [
        50, 1, 5, 10, 20, 100, 200, 500, 1000,
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = ood.KNN(k=k).fit(train)
    expected = ood.metrics.auroc(scorer.score(test), scorer.score(other))
    assert result.results[0].auroc == expected
    steps = {"fit", "score", "tune"}
    assert result.timings["knn"].keys() == steps | {f"{step}_cpu" for step in steps}


def test_without_tuning_the_document_says_so(train: Outputs, outliers: Outputs) -> None:
    result = ood.evaluate("msp", id=train, ood={"other": outliers}, bootstrap=0)
    assert result.to_json()["tuning"] == {"on": "none", "methods": []}


def shuffled(x: Outputs) -> Outputs:
    return x.rows(np.random.default_rng(0).permutation(len(x)))


SAME = {
    "the same object": lambda x: x,
    "another type": lambda x: Outputs(logits=x.logits.astype(np.float64), features=x.features),
    "another order": shuffled,
    "a fifth of it": lambda x: x.rows(slice(0, len(x) // 5)),
    "its logits alone": lambda x: Outputs(logits=x.logits),
}


@pytest.mark.parametrize("change", SAME)
def test_no_figures_on_rows_that_were_tuned_on(change: str, train: Outputs) -> None:
    test = mostly_right(40, seed=5)
    other = mostly_right(50, seed=6, spread=0.2)
    other = Outputs(logits=other.logits.astype(np.float32), features=other.features)
    evaluate = {"id": test, "ood": {"far/other": other}, "train": train, "bootstrap": 0}
    same = SAME[change](other)
    with pytest.raises(
        InputError, match=rf"other: {len(same)} of {len(same)} rows are also in the validation outl"
    ) as caught:
        ood.evaluate("knn", tune=same, **evaluate)
    assert caught.value.exit_status == 3
    assert "\n" not in str(caught.value)


def test_in_distribution_rows_that_were_tuned_on_are_refused_too(
    train: Outputs, validation: Outputs, outliers: Outputs
) -> None:
    arguments: dict[str, Any] = {"ood": {"other": outliers}, "bootstrap": 0, "tune": "id"}
    with pytest.raises(InputError, match="rows are also in the training rows"):
        ood.evaluate("knn", id=train.rows(slice(0, 50)), train=train, **arguments)
    with pytest.raises(InputError, match="rows are also in the held-out rows"):
        ood.evaluate("knn", id=shuffled(validation), train=train, id_val=validation, **arguments)
    with pytest.raises(InputError, match="also in the validation outliers"):
        ood.evaluate(
            "msp", id=validation, ood={"other": outliers}, train=train, tune=validation, bootstrap=0
        )


def test_a_few_shared_rows_are_said(train: Outputs, outliers: Outputs) -> None:
    test, other = mostly_right(40, seed=5), mostly_right(50, seed=6, spread=0.2)
    mixed = Outputs(
        logits=np.concatenate([outliers.logits, other.logits[:3]]),
        features=np.concatenate([outliers.features, other.features[:3]]),
    )
    with pytest.warns(ToolkitWarning, match="3 of 50 rows are also in the validation outliers"):
        ood.evaluate("msp", id=test, ood={"other": other}, train=train, tune=mixed, bootstrap=0)


def test_rows_are_told_apart_by_their_numbers() -> None:
    a = Outputs(logits=np.array([[0.0, 1.0], [2.0, 3.0]]))
    b = Outputs(logits=np.array([[2.0, 3.0], [-0.0, 1.0], [2.0, 3.0 + 1e-12]], dtype=np.float64))
    assert shared_rows(a, b) == 2
    assert shared_rows(b, a) == 2
    assert len(set(row_digests(b, ("logits",)))) == 3
    assert content_digest(a) != content_digest(b)
    assert content_digest(a) == content_digest(Outputs(logits=a.logits.astype(np.float32)))
    assert shared_rows(a, Outputs(features=a.logits)) == 0


def test_methods_without_what_tuning_needs(train: Outputs, outliers: Outputs) -> None:
    test, other = mostly_right(40, seed=5), mostly_right(50, seed=6, spread=0.2)
    bare = Outputs(logits=outliers.logits)
    arguments: dict[str, Any] = {"id": test, "ood": {"o": other}, "train": train, "bootstrap": 0}
    result = ood.evaluate(["knn", "energy"], tune=bare, **arguments)
    assert [(n.method, n.reason) for n in result.failed] == [
        ("knn", "needs features in the rows it is tuned on")
    ]
    assert result.methods() == ("energy",)
    arguments["train"] = None
    result = ood.evaluate(["ash_s", "gen", "msp"], tune="id", **arguments)
    assert [(n.method, n.reason) for n in result.failed] == [
        ("ash_s", "needs training or held-out outputs to be tuned")
    ]
    result = ood.evaluate(["ash_s"], tune="id", id_val=mostly_right(60, seed=9), **arguments)
    assert result.tuning["methods"][0]["held_out_from"] == "id_val"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gen", None), "gen: tuning needs training outputs"),
        (("knn", None, mostly_right(9, seed=0)), "knn: tuning needs training outputs"),
        (("gen", None, Outputs(logits=np.ones((0, 3)))), "got zero rows"),
        (("knn", mostly_right(20, seed=0), None, Outputs(features=np.ones((0, 10)))), "no rows"),
    ],
)
def test_what_tuning_cannot_do_without(arguments: tuple[Any, ...], words: str) -> None:
    if len(arguments) < 4:
        arguments = (*arguments, *[None] * (3 - len(arguments)), mostly_right(9, seed=4))
    with pytest.raises(InputError, match=words):
        tune(*arguments)


def test_what_evaluate_can_tune_on(train: Outputs, outliers: Outputs) -> None:
    with pytest.raises(BadParameter, match='tune is "none", "id" or outputs'):
        ood.evaluate("msp", id=train, ood={"o": outliers}, tune="ood")
    with pytest.raises(ToolkitError, match="did you mean knn"):
        tune("knnn", train)
