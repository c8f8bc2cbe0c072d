"""The temperature, against a bracketed root, scikit-learn and the limits of the problem."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax

from ood_toolkit import Outputs, Temperature
from ood_toolkit.errors import ToolkitWarning
from tests.calibration.cases import overconfident
from tests.reference.known import assert_digits, fixture


def slope(inverse: float, z: np.ndarray, labels: np.ndarray) -> float:
    """E_p[z] - z_y, summed: what is zero at the best 1/T."""
    p = softmax(inverse * z, axis=1)
    return float((p * z).sum() - z[np.arange(len(z)), labels].sum())


def problem(seed: int) -> Outputs:
    rng = np.random.default_rng(seed)
    rows, classes = int(rng.integers(20, 400)), int(rng.integers(2, 30))
    true = rng.normal(size=(rows, classes)) * rng.uniform(0.5, 3.0)
    labels = np.array([rng.choice(classes, p=p) for p in softmax(true, axis=1)])
    labels[:2] = true[:2].argmin(axis=1)  # not separable
    return Outputs(logits=true * 10.0 ** rng.uniform(-4, 4), labels=labels)


@pytest.mark.parametrize("seed", range(100))
def test_the_temperature_is_the_bracketed_root(seed: int) -> None:
    x = problem(seed)
    assert x.logits is not None
    assert x.labels is not None
    fitted = Temperature().fit(x)
    assert fitted.status == "minimum"
    inverse = 1.0 / fitted.temperature
    root = brentq(slope, 0.5 * inverse, 2.0 * inverse, args=(x.logits, x.labels), xtol=1e-300,
                  rtol=8.9e-16)  # fmt: skip
    assert fitted.temperature == pytest.approx(1.0 / root, rel=1e-10)


def test_the_temperature_is_scikit_learn_s() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    scaler = getattr(calibration, "_TemperatureScaling", None)
    if scaler is None:
        pytest.skip("this scikit-learn has no temperature scaling")
    x = overconfident(500, seed=1)
    found = scaler().fit(x.logits, x.labels)
    assert Temperature().fit(x).temperature == pytest.approx(1.0 / found.beta_, rel=1e-6)


def test_known_answer() -> None:
    known = fixture("known_answers")["temperature_closed_form"]["T"]
    x = Outputs(logits=np.array([[4.0, 0.0]] * 4), labels=[0, 0, 0, 1])
    assert_digits(Temperature().fit(x).temperature, known)


def test_many_rows_are_as_exact_as_few() -> None:
    """Beyond 8,000 rows the search begins on a sample and ends on all of them."""
    x = overconfident(9000, seed=2)
    assert x.logits is not None
    assert x.labels is not None
    inverse = 1.0 / Temperature().fit(x).temperature
    root = brentq(slope, 0.5 * inverse, 2.0 * inverse, args=(x.logits, x.labels), rtol=8.9e-16)
    assert inverse == pytest.approx(root, rel=1e-10)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_same_bits_on_any_number_of_threads(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = overconfident(20_000, seed=3, classes=9)
    expected = Temperature().fit(x).temperature
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    assert Temperature().fit(x).temperature == expected


@settings(max_examples=25)
@given(st.floats(-6, 6), st.floats(-100, 100))
def test_scale_and_shift_of_the_logits(power: float, shift: float) -> None:
    x = overconfident(60, seed=4)
    assert x.logits is not None
    scale = 10.0**power
    expected = Temperature().fit(x).temperature
    found = Temperature().fit(replace(x, logits=scale * (x.logits + shift))).temperature
    assert found == pytest.approx(scale * expected, rel=1e-9)


def test_separable_rows_reach_the_bound() -> None:
    x = Outputs(logits=np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]]), labels=[0, 1, 0])
    with pytest.warns(ToolkitWarning, match=r"likelihood grows as T -> 0; T is set to"):
        fitted = Temperature().fit(x)
    assert fitted.status == "separable"
    assert 0.0 < fitted.temperature < 0.01


def test_labels_against_the_logits_reach_the_other_bound() -> None:
    x = Outputs(logits=np.array([[2.0, 0.0], [0.0, 1.0]]), labels=[1, 0])
    with pytest.warns(ToolkitWarning, match=r"the likelihood grows as T -> inf"):
        fitted = Temperature().fit(x)
    assert fitted.status == "uninformative"
    assert 100.0 < fitted.temperature < np.inf


def test_constant_logits_keep_their_temperature() -> None:
    x = Outputs(logits=np.full((3, 2), 7.0), labels=[1, 0, 0])
    with pytest.warns(ToolkitWarning, match="no temperature matters"):
        assert Temperature().fit(x).temperature == 1.0


def test_nearly_separable_rows_reach_the_bound() -> None:
    """One label a hair off among many: there is a minimum, but beyond any of use."""
    z = np.array([[5.0, 0.0]] * 50 + [[0.0, 1e-300], [0.0, 1000.0]])
    labels = [0] * 51 + [1]
    fitted = Temperature().fit(Outputs(logits=z, labels=labels))
    assert fitted.status == "minimum"
    z[:50, 0] = 0.01
    with pytest.warns(ToolkitWarning, match="T -> 0"):
        assert Temperature().fit(Outputs(logits=z, labels=labels)).status == "separable"


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e140])
def test_extreme_logits(scale: float) -> None:
    x = overconfident(60, seed=5)
    assert x.logits is not None
    expected = Temperature().fit(x).temperature
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Temperature().fit(replace(x, logits=scale * x.logits)).temperature
    assert found == pytest.approx(scale * expected, rel=1e-9)


def test_half_precision_is_widened() -> None:
    x = overconfident(200, seed=6)
    assert x.logits is not None
    narrow = x.logits.astype(np.float16)
    wide = Temperature().fit(replace(x, logits=narrow.astype(np.float64))).temperature
    assert Temperature().fit(replace(x, logits=narrow)).temperature == wide


def test_masked_classes_do_not_count() -> None:
    x = overconfident(100, seed=7)
    assert x.logits is not None
    wider = np.concatenate([x.logits, np.full((100, 3), -np.inf)], axis=1)
    expected = Temperature().fit(x).temperature
    assert Temperature().fit(replace(x, logits=wider)).temperature == pytest.approx(expected)
