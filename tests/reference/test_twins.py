"""The twins against known answers and outside code; which way is up; rows alone and in batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ood_toolkit.outputs import Outputs
from tests.reference import CORE as TWINS
from tests.reference.from_features import covariance_of
from tests.reference.from_fitted_logits import centroids, softmax_centroid_thresholds
from tests.reference.from_head import residual_norms
from tests.reference.known import CASES, Case, assert_digits, blobs, fixture, floats, tiny_head


@pytest.mark.parametrize("case", CASES, ids=str)
def test_known_answers(case: Case) -> None:
    score = TWINS[case.method](case.x, case.train, **case.parameters)
    assert score.dtype == np.float64
    assert_digits(score, case.score, case.digits)


def test_every_twin_has_a_known_answer() -> None:
    assert {case.method for case in CASES} >= set(TWINS)


def test_what_the_centroids_and_thresholds_are() -> None:
    known = fixture("known_answers")["softmax_centroid"]
    train = Outputs(logits=np.log(floats(known["S"])), labels=known["y"])
    found = [[float(centroid[c]) for c in range(3)] for centroid in centroids(train)]
    assert_digits(found, known["centroids"])
    thresholds = softmax_centroid_thresholds(train)
    assert thresholds[1:].tolist() == [math.inf, math.inf]
    assert_digits(thresholds[0], known["threshold"][0])
    by_true_class = softmax_centroid_thresholds(train, by="true")
    assert by_true_class[[0, 2]].tolist() == [math.inf, math.inf]
    # The one wrong row, (.55, .4, .05) of class 1, lies (.4, -.375, -.025) from its centroid.
    assert by_true_class[1] == pytest.approx(math.sqrt(0.30125), rel=1e-14)


@pytest.mark.parametrize("covariance", ["pseudo_inverse", "ledoit_wolf", "oas"])
def test_the_covariance_is_scikit_learns(covariance: str) -> None:
    name = "mahalanobis_singular" if covariance == "pseudo_inverse" else f"mahalanobis_{covariance}"
    peer = fixture(name)
    f, y = floats(peer["inputs"]["train_features"]), np.array(peer["inputs"]["train_labels"])
    centred = np.vstack([f[y == c] - f[y == c].mean(axis=0) for c in range(3)])
    sigma = covariance_of(centred, covariance)
    np.testing.assert_allclose(sigma, peer["outputs"]["covariance"], rtol=1e-12, atol=1e-14)


def test_the_parts_of_vim() -> None:
    known, (x, train) = fixture("known_answers")["vim_D1"], tiny_head()
    residual, fitted = residual_norms(x, train, 1)
    assert_digits(residual, known["residual"])
    assert_digits(TWINS["max_logit"](train).mean() / fitted.mean(), known["alpha"])
    with pytest.raises(ValueError, match="leaves nothing"):
        TWINS["vim"](x, train, dim=3)


@pytest.mark.parametrize("method", sorted(TWINS))
def test_larger_is_more_in_distribution(method: str) -> None:
    x, train = blobs()
    score = TWINS[method](x, train)
    assert score.shape == (6,)
    assert score[:3].min() > score[3:].max()


@pytest.mark.parametrize("method", sorted(TWINS))
def test_a_row_scores_alone_as_in_a_batch(method: str) -> None:
    x, train = blobs()
    score = TWINS[method](x, train)
    alone = np.concatenate([TWINS[method](x.rows(slice(n, n + 1)), train) for n in range(len(x))])
    np.testing.assert_array_equal(alone, score)
    turned = TWINS[method](x.rows(np.arange(len(x))[::-1]), train)
    np.testing.assert_array_equal(turned[::-1], score)
    empty = TWINS[method](x.rows(slice(0, 0)), train)
    assert empty.shape == (0,)
    assert empty.dtype == np.float64
