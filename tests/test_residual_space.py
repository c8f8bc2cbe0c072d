"""Quicker ways of a fit beside the plain ones: head origins, residuals, Gaussians of few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.detectors.gaussian_stack import inverted, inverted_span
from ood_toolkit.detectors.residual_space import head_origin, residual_norms
from tests.reference.from_fitted_logits import kl_matching

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (6, 20), (20, 6), (30, 31)])
def test_the_origin_is_that_of_the_pseudo_inverse(shape: tuple[int, int]) -> None:
    weight, bias = RNG.standard_normal(shape), RNG.standard_normal(shape[0])
    expected = -np.linalg.pinv(weight) @ bias
    found = head_origin(ood.Head(weight=weight, bias=bias))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("spread", [1e-5, 1e-7, 1e-15, 0.0])
def test_the_origin_of_a_head_that_hardly_has_full_rank(spread: float) -> None:
    left, _ = np.linalg.qr(RNG.standard_normal((8, 8)))
    right, _ = np.linalg.qr(RNG.standard_normal((30, 8)))
    sizes = np.array([3, 2, 1.5, 1, 1, 0.5, 0.5, spread])
    weight, bias = (left * sizes) @ right.T, RNG.standard_normal(8)
    expected = -np.linalg.lstsq(weight, bias, rcond=None)[0]
    found = head_origin(ood.Head(weight=weight, bias=bias))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_the_origin_of_a_head_without_bias_is_zero() -> None:
    assert not head_origin(ood.Head(weight=RNG.standard_normal((3, 7)))).any()


@pytest.mark.parametrize("explained", [0.3, 0.99999, 1.0])
def test_residuals_of_float32_features(explained: float) -> None:
    features = RNG.standard_normal((50, 12)).astype(np.float32)
    basis, _ = np.linalg.qr(RNG.standard_normal((12, 7)))
    origin = RNG.standard_normal(12)
    features[3] = 3e38
    expected = [float(np.linalg.norm(basis.T @ (row - origin))) for row in features.astype(float)]
    found = residual_norms(ood.Outputs(features=features), origin, basis, explained)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if explained < 0.9 else 1e-12)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 0.1])
@pytest.mark.parametrize("rows", [2, 10, 19])
def test_a_gaussian_of_fewer_rows_than_dimensions(rows: int, ridge: float) -> None:
    features = RNG.standard_normal((rows, 20)) + 5.0
    mean = features.mean(axis=0)
    centred = features - mean
    plain = inverted(mean, centred.T @ centred / rows, ridge)
    quick = inverted_span(mean, centred, ridge)
    assert quick is not None
    assert len(quick.axes) == len(plain.axes) == rows - 1
    np.testing.assert_allclose(quick.precisions, plain.precisions, rtol=1e-9)
    np.testing.assert_allclose(quick.axes @ quick.axes.T, np.eye(rows - 1), atol=1e-11)
    np.testing.assert_allclose(
        (quick.axes.T * quick.precisions) @ quick.axes,
        (plain.axes.T * plain.precisions) @ plain.axes,
        atol=1e-9 * plain.precisions.max(),
    )


def test_small_variances_are_left_to_the_covariance() -> None:
    features = RNG.standard_normal((10, 20)) * np.geomspace(1, 1e-6, 20)
    features -= features.mean(axis=0)
    assert inverted_span(np.zeros(20), features) is None
    assert inverted_span(np.zeros(20), np.zeros((4, 20))) is None


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kl_matching_where_templates_have_zeros(scale: float, dtype: Any) -> None:
    z = (RNG.standard_normal((90, 6)) * scale).astype(dtype)
    z[:, 4] -= 1e5  # never predicted, so that its template is one-hot
    z[:, 5] = -1e5  # predicted by rows that are one-hot alone
    z[:30, 2] = z[70:, 2] = -np.inf
    for row in range(0, 90, 4):
        z[row] = np.where(np.arange(6) == row % 6, 0.0, -np.inf)
    z[30:40] = -np.inf
    z[30:40, 4] = 0.0  # one-hot in a class that training rows never are
    train, x = ood.Outputs(logits=z[:30]), ood.Outputs(logits=z[20:])
    expected = kl_matching(x, train)
    found = ood.KLMatching().fit(train).score(x)
    assert np.isneginf(expected).any()
    assert (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_kl_matching_where_every_template_is_one_hot() -> None:
    train = ood.Outputs(logits=np.array([[0.0, -np.inf], [-np.inf, 0.0]]))
    x = ood.Outputs(logits=np.array([[3.0, -np.inf], [1.0, 0.0], [-2000.0, 0.0]]))
    assert ood.KLMatching().fit(train).score(x).tolist() == [0.0, -np.inf, 0.0]
