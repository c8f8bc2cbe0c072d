"""The estimator as a whole: known answers, growth of the support, warnings, files."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.sdm import ExemplarAdaptor
from ood_toolkit.detectors.sdm.answers import SDMPrediction
from ood_toolkit.detectors.sdm.ranking import lexicographic_score
from ood_toolkit.errors import BadParameter, InputError, ToolkitWarning
from ood_toolkit.outputs import Outputs
from tests.cases import mostly_right
from tests.reference.further_sdm import judge
from tests.reference.known import assert_digits, fixture, floats

SPREAD = 1.15
"""Of the classes: some rows are predicted wrongly."""


def one_feature(values: object, labels: object = None) -> Outputs:
    f = floats(values)
    return Outputs(features=f, logits=np.hstack([-f, f]), labels=labels)


def test_end_to_end() -> None:
    known = fixture("known_answers")["sdm_end_to_end_alpha0.9"]
    train = one_feature(known["support"], known["support_y"])
    held_out = one_feature(known["cal_x"], known["cal_y"])
    sdm = ood.SDM(alpha=0.9).fit(train, held_out)
    assert_digits(sdm.region.q_min, known["qmin"])
    assert_digits(sdm.region.psi, known["psi"])
    for c, distances in enumerate(known["cdfs"]):
        assert sdm.calibrated.distances[c].tolist() == distances
    for x, rows in ((held_out, known["cal"]), (one_feature(known["test_x"]), known["test"])):
        found = sdm.predict(x)
        assert found.prediction.tolist() == [row["pred"] for row in rows]
        assert found.similarity.tolist() == [row["q"] for row in rows]
        assert_digits(found.nearest, [row["dnear"] for row in rows])
        assert_digits(found.distance_quantile, [row["d"] for row in rows])
        assert_digits(found.probabilities, [row["sdm"] for row in rows])
        assert_digits(found.probability, [max(row["sdm"]) for row in rows])
        assert_digits(found.rescaled_similarity, [row["qp"] for row in rows])
    assert sdm.report()["held_out_tied"] == 4 / 6  # q' = 3, 3, 0, 2.45, 4, 4
    assert found.accept.tolist() == [row["accept"] for row in known["test"]]
    assert found.effective_sample_size.tolist() == [row["ess"] for row in known["test"]]
    assert_digits(found.distance_lower, [row["d_lower"] for row in known["test"]])
    assert_digits(found.distance_upper, [row["d_upper"] for row in known["test"]])


@pytest.fixture(scope="module")
def parts() -> tuple[Outputs, Outputs, Outputs]:
    return tuple(mostly_right(n, seed=s, spread=SPREAD) for n, s in ((300, 1), (200, 2), (120, 3)))


@pytest.mark.parametrize("variant", ["activations", "verification"])
def test_every_answer_equals_its_slow_twin(parts: tuple, variant: str) -> None:
    train, held_out, x = parts
    found = ood.SDM(alpha=0.9, variant=variant).fit(train, held_out).predict(x)
    expected = judge(x, train, held_out, variant=variant)
    assert found.similarity.tolist() == expected["q"]
    assert found.nearest == pytest.approx(expected["nearest"], rel=1e-12)
    assert found.distance_quantile == pytest.approx(expected["d"], rel=1e-12)
    assert found.probabilities == pytest.approx(np.array(expected["p"]), rel=1e-9)
    assert found.rescaled_similarity == pytest.approx(expected["rescaled"], rel=1e-9)


@pytest.mark.parametrize("variant", ["activations", "verification"])
def test_what_is_accepted(parts: tuple, variant: str) -> None:
    train, held_out, x = parts
    sdm = ood.SDM(alpha=0.9, variant=variant).fit(train, held_out)
    found, region = sdm.predict(x), sdm.region
    assert region.exists
    assert 0.1 < found.accept.mean() < 1
    expected = (found.rescaled_similarity >= region.q_min) & (
        found.probability >= region.psi[found.prediction]
    )
    assert (found.accept == expected).all()
    assert not (found.accept_lower & ~found.accept).any()
    assert found.accept_lower.any()
    assert found.margin == pytest.approx(found.probability - region.psi[found.prediction])
    assert (found.probability_lower <= found.probability + 1e-15).all()
    assert (found.probability_upper >= found.probability - 1e-15).all()
    singletons = (found.probabilities >= region.psi).sum(axis=1) == 1
    assert singletons[found.accept].all()
    assert (found.score == sdm.score(x)).all()
    assert (found.prediction[found.accept] == x.labels[found.accept]).mean() >= 0.9


def test_a_surer_reading_of_accepted_rows(parts: tuple) -> None:
    train, held_out, x = parts
    sdm = ood.SDM(alpha=0.9).fit(train, held_out)
    accepted, found = sdm.predict(held_out).accept, sdm.reliability()
    right = sdm.predict(held_out).prediction == held_out.labels
    for c in range(5):
        own, said = held_out.labels == c, sdm.predict(held_out).prediction == c
        assert found.rows[c] == own.sum()
        assert found.accepted[c] == (own & accepted).sum()
        assert found.predicted[c] == (said & accepted).sum()
        assert found.class_accuracy[c] == pytest.approx(right[own & accepted].mean())
        assert found.predicted_accuracy[c] == pytest.approx(right[said & accepted].mean())
    assert (found.class_accuracy >= 0.9).all()
    assert (found.class_band > 0).all()
    levels = sdm.levels(x)
    assert set(levels.tolist()) <= {0.0, *np.round(np.arange(0.55, 1, 0.05), 10).tolist()}
    assert (levels > 0).sum() > sdm.predict(x).accept.sum()


def test_an_answer_has_one_entry_a_row(parts: tuple) -> None:
    train, held_out, x = parts
    sdm = ood.SDM().fit(train, held_out)
    for rows in (0, 1, 7):
        found = sdm.predict(x.rows(slice(0, rows)))
        for field in fields(SDMPrediction):
            assert len(getattr(found, field.name)) == rows, field.name


def test_a_perfect_level(parts: tuple) -> None:
    train, held_out, x = parts
    sdm = ood.SDM(alpha=1.0).fit(train, held_out)
    assert not sdm.region.exists
    found = sdm.predict(x)
    assert not found.accept.any()
    assert np.isnan(found.margin).all()
    assert (found.distance_lower == 0).all()
    assert sdm.report()["missed_classes"] == sdm.region.missed != ()


# The support grows


def test_adding_rows_is_as_fitting_on_all(parts: tuple) -> None:
    train, held_out, x = parts
    more = mostly_right(80, seed=9, spread=SPREAD)
    both = Outputs(
        features=np.vstack([train.features, more.features]),
        head=train.head,
        labels=np.concatenate([train.labels, more.labels]),
    )
    grown = ood.SDM(alpha=0.9).fit(train, held_out).with_support(more)
    whole = ood.SDM(alpha=0.9).fit(both, held_out)
    assert grown.region.q_min == whole.region.q_min
    assert (grown.region.psi == whole.region.psi).all()
    assert (grown.score(x) == whole.score(x)).all()
    assert grown.report()["support_rows"] == 380


def test_known_ood_rows_end_runs(parts: tuple) -> None:
    train, held_out, x = parts
    sdm = ood.SDM(alpha=0.9).fit(train, held_out)
    strange = Outputs(features=x.features[:10] + 0.01, logits=x.logits[:10])
    grown = sdm.with_support(strange, known_ood=True)
    before, after = sdm.predict(x), grown.predict(x)
    assert (after.similarity <= before.similarity).all()
    assert (after.similarity[:10] == 0).all()
    assert not after.accept[:10].any()
    assert grown.report()["known_ood_rows"] == 10
    assert sdm.report()["known_ood_rows"] == 0
    with pytest.raises(InputError, match="need labels"):
        sdm.with_support(strange)
    with pytest.raises(InputError, match="fitted on 10"):
        sdm.with_support(Outputs(features=np.ones((2, 3)), logits=np.ones((2, 5))), known_ood=True)


def test_unlabelled_training_rows_end_runs(parts: tuple) -> None:
    train, held_out, x = parts
    labels = train.labels.copy()
    labels[::3] = -1
    some = Outputs(features=train.features, logits=train.logits, labels=labels)
    with pytest.warns(ToolkitWarning, match="100 training rows are unlabelled"):
        sdm = ood.SDM().fit(some, held_out)
    full = ood.SDM().fit(train, held_out)
    assert (sdm.predict(x).similarity <= full.predict(x).similarity).all()


# What can be wrong with the rows


def test_no_held_out_rows(parts: tuple) -> None:
    with pytest.warns(ToolkitWarning, match="alpha is not kept"):
        sdm = ood.SDM().fit(parts[0])
    assert sdm.report()["held_out_from"].startswith("the second of every 5")


def test_held_out_rows_from_the_support(parts: tuple) -> None:
    with pytest.warns(ToolkitWarning, match="lie in the support"):
        ood.SDM().fit(parts[0], parts[0].rows(slice(0, 100)))


def test_a_class_without_held_out_rows(parts: tuple) -> None:
    train, held_out, x = parts
    some = held_out.rows(np.flatnonzero(~np.isin(held_out.labels, [1, 4])))
    with pytest.warns(ToolkitWarning, match="no held-out row of classes 1, 4"):
        sdm = ood.SDM(alpha=0.8).fit(train, some)
    assert sdm.region.missed == (1, 4)
    assert (sdm.predict(x).distance_quantile == 0).all()


def test_held_out_rows_that_do_not_fit(parts: tuple) -> None:
    train, held_out, _ = parts
    with pytest.raises(InputError, match="needs labels of held-out rows"):
        ood.SDM().fit(train, Outputs(features=held_out.features, logits=held_out.logits))
    unknown = held_out.labels.copy()
    unknown[9] = -1
    bad = Outputs(features=held_out.features, logits=held_out.logits, labels=unknown)
    with pytest.raises(InputError, match="labels: row 9 is -1"):
        ood.SDM().fit(train, bad)
    with pytest.raises(InputError, match="held-out rows have 7 classes and 14 feature columns"):
        ood.SDM().fit(train, mostly_right(50, seed=1, classes=7))


@pytest.mark.parametrize(
    "parameters",
    [{"alpha": 0.5}, {"cap": 0}, {"temperature": 0.0}, {"temperature": "best"}, {"variant": "x"}],
)
def test_parameters_that_make_no_sense(parameters: dict) -> None:
    with pytest.raises(BadParameter, match=f"sdm.{next(iter(parameters))}"):
        ood.detector("sdm", **parameters)


# Temperature, ranking, adaptor


def test_the_fitted_temperature_is_kept(parts: tuple, tmp_path) -> None:
    train, held_out, x = parts
    loud = [Outputs(features=p.features, logits=9 * p.logits, labels=p.labels) for p in parts]
    sdm = ood.SDM(temperature="fit").fit(*loud[:2])
    quiet = ood.SDM(temperature="fit").fit(train, held_out)
    assert sdm.temperature == pytest.approx(9 * quiet.temperature, rel=1e-9)
    assert sdm.predict(loud[2]).probability == pytest.approx(quiet.predict(x).probability)
    sdm.save(tmp_path / "sdm.safetensors")
    again = ood.load_scorer(tmp_path / "sdm.safetensors")
    assert again.temperature == sdm.temperature
    assert (again.predict(loud[2]).accept == sdm.predict(loud[2]).accept).all()


def test_the_score_orders_by_three_things() -> None:
    rng = np.random.default_rng(0)
    rescaled = rng.choice([0.0, 1.0, 2.5, 7.0, 2048.0], 400)
    p = rng.choice([0.3, 0.9, 1 - 1e-9, 1.0], 400)
    nearest = rng.choice([0.0, 0.5, 1.0, 40.0, np.inf], 400)
    score = lexicographic_score(rescaled, (1 - p) / p, nearest, 1.0)
    order = np.lexsort((-nearest, p, rescaled))
    assert (np.diff(score[order]) >= 0).all()
    keys = np.stack([rescaled, p, nearest], axis=1)
    assert len(np.unique(score)) == len(np.unique(keys, axis=0))
    assert (np.abs(score - rescaled) < 2**-13).all()


def adaptor() -> ExemplarAdaptor:
    rng = np.random.default_rng(0)
    return ExemplarAdaptor(
        0.5, 2.0, rng.normal(size=(6, 10)).astype("f4"), rng.normal(size=6).astype("f4"),
        rng.normal(size=(5, 6)).astype("f4"), rng.normal(size=5).astype("f4"),
    )  # fmt: skip


def test_an_adaptor_is_part_of_the_scorer(parts: tuple, tmp_path) -> None:
    train, held_out, x = parts
    layer = adaptor()
    sdm = ood.SDM(alpha=0.8).fit_adapted(layer, train, held_out, "id_val")
    by_hand = ood.SDM(alpha=0.8).fit(layer.apply(train), layer.apply(held_out))
    assert (sdm.score(x) == by_hand.score(layer.apply(x))).all()
    only = Outputs(features=x.features)  # the classifier's own logits are not looked at
    assert (sdm.score(only) == sdm.score(x)).all()
    sdm.save(tmp_path / "sdm.safetensors")
    again = ood.load_scorer(tmp_path / "sdm.safetensors")
    assert (again.score(only) == sdm.score(x)).all()
    with pytest.raises(InputError, match="fitted on 10"):
        sdm.score(Outputs(features=np.ones((2, 4))))
    with pytest.raises(InputError, match="sdm needs features"):
        sdm.score(Outputs(logits=np.ones((2, 5))))
    with pytest.raises(InputError, match="arrays must be"):
        ExemplarAdaptor(0.0, 1.0, layer.weight, layer.bias, layer.head_weight.T, layer.head_bias)
    with pytest.raises(InputError, match="needs features of 10 columns, got none"):
        layer.apply(Outputs(logits=np.ones((2, 5))))


def test_golden_adaptor() -> None:
    layer = ExemplarAdaptor(
        2.0, 1.0, floats([[1, 0, -1], [0.5, 0.5, 0.5]]), floats([0.25, -0.5]),
        floats([[1, 2], [-1, 1]]), floats([0.1, -0.2]),
    )  # fmt: skip
    new = layer.apply(Outputs(features=floats([[2, 3, 1]])))
    assert_digits(new.features, [[1.25, -0.5]])
    assert_digits(new.logits, [[0.35, -1.95]])
