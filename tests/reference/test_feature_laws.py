"""Laws of the scores of features, on the twins."""

from __future__ import annotations

import numpy as np
import pytest

from ood_toolkit.outputs import Head, Outputs
from tests.reference import TWINS
from tests.reference.from_features import FEATURE_TWINS
from tests.reference.from_head import kept_dimensions, residual_norms
from tests.reference.known import blobs, fixture, floats, tiny_head

GAUSSIAN = ["mahalanobis", "marginal_mahalanobis", "relative_mahalanobis"]


@pytest.mark.parametrize("method", GAUSSIAN)
def test_mahalanobis_ignores_the_axes_of_the_features(method: str) -> None:
    x, train = blobs()
    expected = TWINS[method](x, train)
    turn = np.random.default_rng(3).normal(size=(8, 8)) + 3 * np.eye(8)

    def moved(record: Outputs) -> Outputs:
        return Outputs(features=floats(record.features) @ turn + 5, labels=record.labels)

    def widened(record: Outputs) -> Outputs:
        f = floats(record.features)
        columns = np.column_stack([f, f[:, 0], np.full(len(f), 4.0), np.zeros(len(f))])
        return Outputs(features=columns, labels=record.labels)

    for change in (moved, widened):
        score = TWINS[method](change(x), change(train))
        np.testing.assert_allclose(score, expected, rtol=1e-10)


@pytest.mark.parametrize("method", ["mahalanobis_pp", "knn", "cosine_prototype"])
def test_unit_features_ignore_the_norm(method: str) -> None:
    x, train = blobs()
    factors = np.random.default_rng(5).uniform(0.1, 9, size=(180, 1))

    def scaled(record: Outputs) -> Outputs:
        f = floats(record.features) * factors[: len(record)]
        return Outputs(features=f, labels=record.labels)

    score = TWINS[method](scaled(x), scaled(train))
    np.testing.assert_allclose(score, TWINS[method](x, train), rtol=1e-10)


def test_rows_without_a_label_shape_the_background_only() -> None:
    x, train = blobs()
    f, y = floats(train.features), np.array(train.labels)
    longer = Outputs(features=np.vstack([f, f[:5] + 40]), labels=np.append(y, [-1] * 5))
    for method in sorted(FEATURE_TWINS):
        same = np.array_equal(TWINS[method](x, longer), TWINS[method](x, train))
        assert same == (method in ("cosine_prototype", "mahalanobis", "mahalanobis_pp")), method


def test_knn_counts_neighbours() -> None:
    train = Outputs(features=floats([[0.0], [1.0], [1.0], [5.0]]))
    x = Outputs(features=floats([[1.0], [4.0]]))
    for k, expected in ((1, [0, -1]), (2, [0, -3]), (3, [-1, -3]), (4, [-4, -4]), (9, [-4, -4])):
        assert TWINS["knn"](x, train, k=k, normalize=False).tolist() == expected


def test_vim_without_a_bias_has_its_origin_at_zero() -> None:
    x, train = blobs()
    head = Head(np.eye(3, 8))
    x, train = (Outputs(features=r.features, labels=r.labels, head=head) for r in (x, train))
    doubled = Outputs(features=2 * floats(x.features), head=head)
    once, twice = residual_norms(x, train, "auto")[0], residual_norms(doubled, train, "auto")[0]
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-13)


@pytest.mark.parametrize(("d", "kept"), [(1, 0), (7, 3), (767, 383), (768, 512), (2048, 1000)])
def test_the_automatic_dimension_of_vim(d: int, kept: int) -> None:
    assert kept_dimensions("auto", d) == kept


def test_react_clips_at_a_percentile_of_all_activations() -> None:
    x, train = tiny_head()
    everything = TWINS["react"](x, train, percentile=100)
    assert everything[0] == pytest.approx(TWINS["energy"](x)[0], rel=1e-15)
    sorted_activations = np.sort(floats(train.features).ravel())  # 18 of them; 2.3 at 15.3
    expected = sorted_activations[15] + 0.3 * (sorted_activations[16] - sorted_activations[15])
    assert expected == pytest.approx(fixture("known_answers")["react_p90"]["threshold"])
