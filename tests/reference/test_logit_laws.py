"""Laws of the scores of logits, on the twins."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.outputs import Array, Outputs
from tests.reference import TWINS
from tests.reference.from_fitted_logits import FITTED_LOGIT_TWINS
from tests.reference.from_logits import LOGIT_TWINS
from tests.reference.known import floats

RENYI_ORDERS = (0.0, 0.5, 1.0, 1.0 + 1e-9, 2.0, 7.0, math.inf)


# Multiples of 1/8 below 64, so that adding an integer to a logit is exact.
def logit_rows(masked: bool = False) -> st.SearchStrategy[Array]:
    live = st.integers(-240, 240).map(lambda n: n / 8)
    shapes = st.tuples(st.integers(1, 3), st.integers(2, 5))
    entries = st.one_of(live, st.just(-math.inf)) if masked else live
    rows: st.SearchStrategy[Array] = shapes.flatmap(
        lambda shape: hnp.arrays(np.float64, shape, elements=entries)
    )
    return rows.filter(lambda z: bool((z > -math.inf).any(axis=1).all()))


def one(method: str, z: Any, train: Outputs | None = None, **parameters: Any) -> Array:
    return TWINS[method](Outputs(logits=z), train, **parameters)


@settings(max_examples=40, deadline=None)
@given(logit_rows(masked=True))
def test_laws_of_the_probability_scores(z: Array) -> None:
    live = (z > -math.inf).sum(axis=1)
    log_c, top = np.log(live), z.max(axis=1)
    msp, kl, shannon = one("msp", z), one("msp_kl", z), one("entropy", z)
    assert (msp >= (1 - 1e-15) / live).all()
    assert (msp <= 1).all()
    assert (kl >= -1e-45).all()
    assert (kl <= log_c).all()
    np.testing.assert_allclose(kl, log_c + shannon, rtol=1e-13, atol=1e-14)
    assert (one("gen", z) <= 0).all()
    collision = one("renyi", z, order=2.0)
    np.testing.assert_allclose(one("gini", z), -np.expm1(-collision), rtol=1e-13, atol=1e-300)
    for temperature in (0.5, 1.0, 4.0):
        energy = one("energy", z, temperature=temperature)
        assert (energy >= top).all()
        assert (energy <= top + temperature * log_c + 1e-13).all()
    np.testing.assert_allclose(np.exp(top - one("energy", z)), msp, rtol=1e-13)
    np.testing.assert_allclose(np.exp(one("odin_temperature", z, temperature=1.0)), msp, rtol=1e-13)


@settings(max_examples=40, deadline=None)
@given(logit_rows())
def test_renyi_entropy_falls_with_its_order(z: Array) -> None:
    scores = [one("renyi", z, order=order) for order in RENYI_ORDERS]
    for lower, higher in pairwise(scores):
        assert (lower <= higher).all()
    np.testing.assert_allclose(scores[0], -np.log(z.shape[1]), rtol=1e-15)
    np.testing.assert_array_equal(scores[2], one("entropy", z))
    np.testing.assert_allclose(scores[3], scores[2], rtol=1e-6, atol=1e-300)


@settings(max_examples=40, deadline=None)
@given(logit_rows(masked=True))
def test_label_non_uniformity_is_one_distance_under_three_grounds(z: Array) -> None:
    w1 = one("label_non_uniformity", z)
    scaled = one("label_non_uniformity", z, normalise="unit")
    assert (scaled >= 0).all()
    assert (scaled <= 1).all()
    l1 = one("label_non_uniformity", z, normalise="l1")
    np.testing.assert_allclose(2 * w1, l1, rtol=1e-14, atol=1e-40)
    classes = range(z.shape[1])
    equal = tuple(tuple(float(i != j) for j in classes) for i in classes)
    line = tuple(tuple(float(abs(i - j)) for j in classes) for i in classes)
    for ground, same_as in ((equal, None), (line, "path")):
        for normalise in ("w1", "unit"):
            np.testing.assert_allclose(
                one("label_non_uniformity", z, normalise=normalise, ground=ground),
                one("label_non_uniformity", z, normalise=normalise, ground=same_as),
                rtol=1e-10,
                atol=1e-14,
            )


def train_logits(classes: int) -> Outputs:
    """Five training rows a class, masks and all."""
    rng = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), 5)
    logits = rng.normal(size=(len(labels), classes)).round(2)
    logits[np.arange(len(labels)), labels] += 3.0
    return Outputs(logits=logits, labels=labels)


def logit_scores(z: Array, train: Outputs, skip: tuple[str, ...] = ()) -> dict[str, Array]:
    names = sorted({*LOGIT_TWINS, *FITTED_LOGIT_TWINS} - set(skip))
    return {name: one(name, z, train) for name in names}


@settings(max_examples=20, deadline=None)
@given(logit_rows(), st.integers(-9, 9))
def test_only_energy_and_max_logit_see_a_shift(z: Array, k: int) -> None:
    train = train_logits(z.shape[1])
    skip = ("standardized_max_logit",)
    before, after = logit_scores(z, train, skip), logit_scores(z + k, train, skip)
    for name in before:
        moved = k if name in ("energy", "max_logit") else 0
        np.testing.assert_allclose(
            after[name], before[name] + moved, rtol=1e-14, atol=1e-14, err_msg=name
        )


@settings(max_examples=20, deadline=None)
@given(logit_rows(), st.randoms(use_true_random=False))
def test_the_names_of_the_classes_do_not_matter(z: Array, random: Any) -> None:
    classes = z.shape[1]
    z = z + np.arange(classes) / 1024  # no ties: a tied argmax goes to the first class
    order = random.sample(range(classes), classes)
    train = train_logits(classes)
    logits, labels = floats(train.logits)[:, order], np.argsort(order)[train.labels]
    renamed = Outputs(logits=logits, labels=labels)
    before, after = logit_scores(z, train), logit_scores(z[:, order], renamed)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-13, atol=1e-15, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(logit_rows(), st.data())
def test_a_masked_class_is_no_class(z: Array, data: st.DataObject) -> None:
    column = data.draw(st.integers(0, z.shape[1]))
    train = train_logits(z.shape[1])
    wider, labels = np.insert(floats(train.logits), column, -np.inf, axis=1), floats(train.labels)
    masked_train = Outputs(logits=wider, labels=(labels + (labels >= column)).astype(int))
    masked = np.insert(z, column, -np.inf, axis=1)
    before, after = logit_scores(z, train), logit_scores(masked, masked_train)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_what_saturates_in_float64_does_not_here() -> None:
    z = floats([[100.0, 0.0], [700.0, 0.0]])
    small = np.exp(-floats([100.0, 700.0]))
    np.testing.assert_allclose(one("gini", z, variant="beta"), -small, rtol=1e-13)
    np.testing.assert_allclose(one("gini", z), -2 * small, rtol=1e-13)
    np.testing.assert_allclose(one("odin_temperature", z, temperature=1.0), -small, rtol=1e-13)
    np.testing.assert_allclose(one("gen", z), -2 * small**0.1, rtol=1e-12)
    np.testing.assert_allclose(one("entropy", z), -small * floats([101, 701]), rtol=1e-13)
    assert one("energy", floats([[1e308, -1e308]])).tolist() == [1e308]


def test_one_live_class() -> None:
    z = floats([[-np.inf, 3.0, -np.inf]])
    certain = {"msp": 1, "margin": 1, "energy": 3, "max_logit": 3, "logit_margin": np.inf}
    for name in LOGIT_TWINS:
        assert one(name, z).tolist() == [certain.get(name, 0)], name
    assert one("label_non_uniformity", z, normalise="unit").tolist() == [0]


def test_classes_that_training_never_shows() -> None:
    train = Outputs(logits=floats([[2, 0, 1], [3, 0, 0], [0, 1, 0]]), labels=np.array([0, 1, 1]))
    z = floats([[0, 0, 50], [-np.inf, -np.inf, 1.0]])
    # Class 2 has a one-hot template: a score only a one-hot p can reach.
    scores = one("kl_matching", z, train)
    assert -50 < scores[0] < -1
    assert scores[1] == 0
    assert one("softmax_centroid", z[1:], train).tolist() == [0]
    # Class 1 has one row, class 2 none: both are measured against all the rows.
    top = floats([2, 3, 1])
    scores = one("standardized_max_logit", floats([[0, 4, 0], [0, 0, 5]]), train)
    np.testing.assert_allclose(scores, (floats([4, 5]) - top.mean()) / top.std(), rtol=1e-15)
