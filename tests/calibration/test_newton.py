"""Fits by second derivatives: against differences, and where there is no minimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ood_toolkit import (
    DirichletCalibration,
    MatrixScaling,
    Outputs,
    TemperedPerSample,
    VectorScaling,
)
from ood_toolkit.calibration import odir, vector
from ood_toolkit.calibration.likelihood import log_softmax, softmax_loss
from ood_toolkit.errors import ToolkitWarning
from tests.calibration.cases import overconfident


def differences(gradient: Any, theta: Any) -> Any:
    """Second derivatives by central differences."""
    columns = []
    for k in range(len(theta)):
        step = np.zeros(len(theta))
        step[k] = 1e-6
        columns.append((gradient(theta + step) - gradient(theta - step)) / 2e-6)
    return np.array(columns)


def test_loss_and_gradient_by_loops() -> None:
    z = np.random.default_rng(0).normal(size=(7, 3)) * 5
    z[2, 1] = -np.inf
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    loss, gradient = softmax_loss(z, labels)
    expected = 0.0
    for n in range(7):
        p = np.exp(z[n]) / sum(np.exp(z[n]))
        expected -= np.log(p[labels[n]]) / 7
        for c in range(3):
            assert gradient[n, c] == pytest.approx((p[c] - (c == labels[n])) / 7, abs=1e-15)
    assert loss == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("made", [MatrixScaling, DirichletCalibration])
@pytest.mark.parametrize("intercept", ["same", 0.7])
def test_second_derivatives_of_the_affine_map(made: Any, intercept: Any) -> None:
    x = overconfident(40, seed=3, classes=3)
    assert x.logits is not None
    assert x.labels is not None
    calibrator = made(off_diagonal=0.4, intercept=intercept)
    theta = np.random.default_rng(1).normal(size=12)
    objective = odir.objective_of(calibrator, x.logits, x.labels, 0.4)
    found = odir.curvature_of(calibrator, x.logits, 0.4)(theta)
    expected = differences(lambda t: objective(t)[1], theta)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_second_derivatives_of_scales_and_shifts() -> None:
    x = overconfident(40, seed=4, classes=3)
    held = np.asarray(x.logits)

    def gradient(theta: Any) -> Any:
        slope = softmax_loss(held * theta[:3] + theta[3:], x.labels)[1]
        return np.concatenate([(slope * held).sum(axis=0), slope.sum(axis=0)])

    theta = np.random.default_rng(2).normal(size=6)
    p = np.exp(log_softmax(held * theta[:3] + theta[3:]))
    expected = differences(gradient, theta)
    expected[3:, 3:] += 1 / 9  # what pins the common shift
    np.testing.assert_allclose(vector._curvature(p, held), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("made", "limit"),
    [
        (VectorScaling(), (vector, "NEWTON_CLASSES")),
        (MatrixScaling(off_diagonal=0.1), (odir, "NEWTON_CLASSES")),
        (DirichletCalibration(off_diagonal=0.1), (odir, "NEWTON_CLASSES")),
    ],
    ids=["vector", "matrix", "dirichlet"],
)
def test_both_searches_end_at_the_same_place(
    made: Any, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = overconfident(300, seed=5)
    newton = made.fit(x).apply(x).logits
    monkeypatch.setattr(*limit, 0)
    monkeypatch.setattr(odir, "LEAST_GAIN", 1e-15)
    plain = made.fit(x).apply(x).logits
    np.testing.assert_allclose(log_softmax(newton), log_softmax(plain), atol=1e-4)


def test_a_class_that_is_told_apart_ever_better_is_named() -> None:
    x = overconfident(200, seed=6)
    assert x.logits is not None
    logits = x.logits.copy()
    logits[:, 2] = np.where(x.labels == 2, 40.0, -40.0)  # no row of class 2 is like another's
    with pytest.warns(ToolkitWarning, match="vector: class 2 can be told apart ever more surely"):
        fitted = VectorScaling().fit(Outputs(logits=logits, labels=x.labels))
    assert np.isfinite(fitted.scale).all()


def test_a_masked_class_stays_masked() -> None:
    x = overconfident(200, seed=7)
    assert x.logits is not None
    assert x.labels is not None
    logits = x.logits.copy()
    logits[x.labels != 0, 0] = np.where(np.arange(sum(x.labels != 0)) % 2, -np.inf, 0.5)
    after = (
        VectorScaling().fit(Outputs(logits=logits, labels=x.labels)).apply(Outputs(logits=logits))
    )
    assert np.array_equal(np.isinf(after.logits), np.isinf(logits))


@pytest.mark.parametrize("divergence", [0.01, 0.5, 1.2, 1.38, 5.0])
def test_temperatures_of_rows_by_bisection(divergence: float) -> None:
    z = np.random.default_rng(8).normal(size=(60, 4)) * np.geomspace(1e-3, 1e3, 60)[:, None]
    z[5] = 1.0
    z[6, :2] = z[6].max()  # a tie: 1.2 nats and more are out of reach
    z[7, 3] = -np.inf
    found = TemperedPerSample(divergence=divergence).fit().temperatures(Outputs(logits=z))
    for row, temperature in zip(z, found, strict=True):
        seen = [v for v in row if v > -np.inf]
        spread = max(seen) - min(seen) or 1.0
        low, high = np.log(1e-6), np.log(1e6)
        for _ in range(100):
            middle = (low + high) / 2
            below = [(v - max(seen)) / (spread * np.exp(middle)) for v in seen]
            total = sum(np.exp(b) for b in below)
            entropy = sum(-np.exp(b) / total * (b - np.log(total)) for b in below)
            if np.log(len(seen)) - entropy > divergence:
                low = middle
            else:
                high = middle
        assert temperature == pytest.approx(spread * np.exp((low + high) / 2), rel=1e-9)
