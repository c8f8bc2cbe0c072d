"""The activation and its loss: known answers, limits, and arithmetic in many digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from ood_toolkit import sdm_activation, sdm_loss
from ood_toolkit.detectors.sdm import (
    balanced_sdm_loss,
    rescaled_similarity,
    sdm_log_activation,
)
from ood_toolkit.detectors.sdm.activation import activation_scale, rival_mass
from ood_toolkit.detectors.sdm.temperature import best_temperature, loss_slope
from ood_toolkit.errors import InputError, ToolkitWarning
from tests.reference.known import assert_digits, fixture

logit_rows = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=6).map(
    np.array
)
similarities = st.integers(0, 2048)
quantiles = st.floats(0, 1)


@pytest.mark.parametrize("case", fixture("known_answers")["sdm_activation"], ids=str)
def test_known_activations(case: dict) -> None:
    p = sdm_activation([case["z"]], [case["q"]], [case["d"]])
    assert_digits(p, case["out"])
    top = p[0, int(np.argmax(case["z"]))]
    assert_digits(rescaled_similarity([case["q"]], [top]), case["qp"])


def test_known_loss() -> None:
    case = fixture("known_answers")["sdm_loss_q3_d.5_y0"]
    assert_digits(sdm_activation([case["z"]], [3], [0.5]), case["sdm"])
    assert_digits(sdm_loss([case["z"]], [3], [0.5], [0]), case["loss"])
    assert sdm_loss([[2.0, 1.0, 0.0]], [6], [0.0], [2]) == pytest.approx(math.log(3) / math.log(8))


@given(logit_rows)
def test_a_softmax_at_q_of_e_less_2(z: np.ndarray) -> None:
    expected = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    assert sdm_activation([z], [math.e - 2], [1.0])[0] == pytest.approx(expected, rel=1e-12)
    entropy = sdm_loss([z], [math.e - 2], [1.0], [1])[0]
    assert entropy == pytest.approx(np.log(np.exp(z - z[1]).sum()), rel=1e-9, abs=1e-12)


@given(logit_rows, similarities)
def test_exactly_uniform_at_d_of_0(z: np.ndarray, q: int) -> None:
    assert (sdm_activation([z], [q], [0.0]) == 1 / len(z)).all()


@given(logit_rows, similarities, st.floats(1e-6, 1))
def test_the_prediction_stays(z: np.ndarray, q: int, d: float) -> None:
    p = sdm_activation([z], [q], [d])[0]
    assert p[np.argmax(z)] == p.max()
    logs = sdm_log_activation([z], [q], [d])[0]
    assert np.exp(logs) == pytest.approx(p, rel=1e-9)
    assert p.sum() == pytest.approx(1, rel=1e-12)


@given(logit_rows, similarities, similarities, quantiles, quantiles)
def test_surer_with_similarity_and_with_nearness(
    z: np.ndarray, q: int, other_q: int, d: float, other_d: float
) -> None:
    least, most = sorted((q, other_q)), sorted((d, other_d))
    (a,), (b,) = (sdm_activation([z], [least[i]], [most[i]]) for i in (0, 1))
    assert a[np.argmax(z)] <= b[np.argmax(z)] * (1 + 1e-14)


@given(similarities, st.floats(0, 1))
def test_rescaled_similarity_lies_between_0_and_q(q: int, p: float) -> None:
    (rescaled,) = rescaled_similarity([q], [p])
    assert 0 <= rescaled <= q
    assert (rescaled == 0) == (q == 0)


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=4), similarities, quantiles)
def test_fifty_digits_agree(z: list[float], q: int, d: float) -> None:
    with mp.workdps(50):
        raised = [mpf(2 + q) ** (mpf(d) * mpf(v)) for v in z]
        total = sum(raised)
        logs = [float(mp.log(v / total)) for v in raised]
        top = int(np.argmax(z))
        rest = float(sum(v for c, v in enumerate(raised) if c != top) / raised[top])
    assert sdm_log_activation([z], [q], [d])[0] == pytest.approx(logs, rel=1e-11, abs=1e-11)
    scale = activation_scale([q], [d])
    got = rival_mass(np.array([z]), np.array([top]), scale)[0]
    assert got == pytest.approx(rest, rel=1e-10, abs=1e-300)


def test_masked_classes_have_no_share() -> None:
    z = [[1.0, -np.inf, 0.0]]
    assert sdm_activation(z, [4], [0.0]).tolist() == [[0.5, 0.0, 0.5]]
    assert sdm_activation(z, [4], [0.5])[0, 1] == 0
    assert np.isneginf(sdm_log_activation(z, [4], [0.0])[0, 1])


def test_logits_at_the_ends_of_float64() -> None:
    z = [[1.7e308, -1.7e308], [5e-324, 0.0]]
    assert sdm_activation(z, [2048, 2048], [1.0, 1.0]).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_each_class_counts_alike_in_the_balanced_loss() -> None:
    z = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    q, d, y = np.array([1, 2, 3]), np.array([0.5, 1.0, 0.25]), np.array([0, 0, 1])
    each = sdm_loss(z, q, d, y)
    assert balanced_sdm_loss(z, q, d, y) == pytest.approx(((each[0] + each[1]) / 2 + each[2]) / 2)
    three = np.hstack([z, np.full((3, 1), -5.0)])  # a class without rows
    expected = sdm_loss(three, q, d, y)
    got = balanced_sdm_loss(three, q, d, y)
    assert got == pytest.approx((expected[:2].mean() + expected[2]) / 2)
    with pytest.raises(InputError, match="at least one row"):
        balanced_sdm_loss(z[:0], q[:0], d[:0], y[:0])


def noisy_rows() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    z = 6 * np.eye(3)[y] + 5 * rng.normal(size=(200, 3))
    return z, rng.integers(0, 50, 200), rng.uniform(size=200), y


def test_the_best_temperature_has_slope_zero_and_the_least_loss() -> None:
    z, q, d, y = noisy_rows()
    best = best_temperature(z, q, d, y)
    assert abs(loss_slope(1 / best, z, q, d, y)) < 1e-12
    losses = [balanced_sdm_loss(z / (best * f), q, d, y) for f in (0.8, 0.99, 1.0, 1.01, 1.25)]
    assert np.argmin(losses) == 2
    step = 1e-6
    slope = (
        balanced_sdm_loss((1 + step) * z, q, d, y) - balanced_sdm_loss((1 - step) * z, q, d, y)
    ) / (2 * step)
    assert loss_slope(1.0, z, q, d, y) == pytest.approx(slope, rel=1e-6)


def test_a_temperature_at_its_bound_is_told() -> None:
    z, q, d, y = noisy_rows()
    right = 6 * np.eye(3)[y]
    with pytest.warns(ToolkitWarning, match="bound"):
        assert best_temperature(right, q, d, y) == 2.0**-20
    with pytest.warns(ToolkitWarning, match="bound"):
        assert best_temperature(-right, q, d, y) == 2.0**20
    assert best_temperature(z, q, np.zeros(200), y) == 1.0


@pytest.mark.parametrize(
    ("z", "q", "d"),
    [([1.0, 2.0], [1], [1.0]), ([[1.0, 2.0]], 1, 1.0), ([[1.0, 2.0]], [1, 2], [1.0, 0.5])],
)
def test_shapes_that_disagree(z: list, q: object, d: object) -> None:
    with pytest.raises(InputError, match=r"logits must be \(N, C\)"):
        sdm_activation(z, q, d)
