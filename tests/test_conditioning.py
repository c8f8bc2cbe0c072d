"""Covariances that are singular or nearly so: no score goes wrong, and the report says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ood_toolkit.detectors import make_detector
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.planner import fit_method
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.outputs import Outputs

TIED = ("mahalanobis", "relative_mahalanobis")
ALL = (*TIED, "marginal_mahalanobis")


def gaussian_rows(rows: int, dims: int, *, classes: int, seed: int) -> Outputs:
    """Correlated features around class means, at scales from 0.1 to 10."""
    shape = np.random.default_rng(0)
    means = 3 * shape.normal(size=(classes, dims))
    mixing = np.eye(dims) + 0.3 * shape.normal(size=(dims, dims)) / np.sqrt(dims)
    scales = np.geomspace(0.1, 10, dims)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    features = (rng.normal(size=(rows, dims)) @ mixing + means[labels]) * scales
    return Outputs(features=features, labels=labels)


def fitted(name: str, train: Outputs) -> FittedScorer:
    return fit_method(make_detector(name), train)


@pytest.mark.parametrize("name", ALL)
def test_fewer_rows_than_features(name: str) -> None:
    """200 rows, 512 features, 10 classes: distances are not negative, the rank is told."""
    train = gaussian_rows(200, 512, classes=10, seed=1)
    scorer = fitted(name, train)
    report = scorer.report()
    # centring takes one direction a class, or one in all
    assert report["rank"] == (199 if name == "marginal_mahalanobis" else 190)
    assert (report["rows"], report["dimensions"]) == (200, 512)
    for x in (train, gaussian_rows(300, 512, classes=10, seed=2)):
        scores = scorer.score(x)
        assert np.isfinite(scores).all()
        if name != "relative_mahalanobis":  # a difference of two distances
            assert (scores <= 0).all()


def test_a_training_row_alone_in_its_class_has_distance_zero_and_no_less() -> None:
    """Each class mean is its one row but for the last; rounding alone decides the sign."""
    x = gaussian_rows(60, 64, classes=59, seed=1)
    with pytest.warns(ToolkitWarning, match="and 57 more have one row only"):
        scores = fitted("mahalanobis", x).score(x)
    alone = np.bincount(x.labels)[x.labels] == 1
    assert (scores <= 0).all()
    assert scores[alone] == pytest.approx(0, abs=1e-12)


def constant(f: np.ndarray) -> np.ndarray:
    return np.c_[f, np.full(len(f), 7.3)]


def duplicate(f: np.ndarray) -> np.ndarray:
    return np.c_[f, f[:, 40]]


def dead(f: np.ndarray) -> np.ndarray:
    return np.c_[np.zeros(len(f)), f]


def all_three(f: np.ndarray) -> np.ndarray:
    return dead(duplicate(constant(f)))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("widen", "constants", "added"),
    [(constant, 1, 1), (duplicate, 0, 1), (dead, 1, 1), (all_three, 2, 3)],
)
def test_an_empty_direction_changes_no_score_and_is_reported(
    name: str, widen: Callable[[np.ndarray], np.ndarray], constants: int, added: int
) -> None:
    """2,000 rows, 64 features."""
    train = gaussian_rows(2000, 64, classes=10, seed=1)
    x = gaussian_rows(500, 64, classes=10, seed=2)
    plain = fitted(name, train)
    wide = fitted(name, Outputs(features=widen(train.features), labels=train.labels))
    expected = plain.score(x)
    got = wide.score(Outputs(features=widen(x.features)))
    # a difference of two distances is as exact as they are, not as it is small
    slack = 1e-8 * np.abs(expected).max() if name == "relative_mahalanobis" else 0
    assert got == pytest.approx(expected, rel=1e-8, abs=slack)
    assert plain.report()["rank"] == wide.report()["rank"] == 64
    assert wide.report()["dimensions"] == 64 + added
    assert plain.report()["constant_features"] == 0
    assert wide.report()["constant_features"] == constants


@pytest.mark.parametrize("name", ALL)
def test_a_common_offset_changes_no_score(name: str) -> None:
    """Moments are taken about the data's own middle, so an offset of 1e5 spreads costs little."""
    train = gaussian_rows(2000, 16, classes=4, seed=1)
    x = gaussian_rows(100, 16, classes=4, seed=2)
    spread = train.features.std(axis=0)
    moved = fitted(name, Outputs(features=train.features + 1e5 * spread, labels=train.labels))
    got = moved.score(Outputs(features=x.features + 1e5 * spread))
    expected = fitted(name, train).score(x)
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("rule", ["ledoit_wolf", "oas"])
def test_shrinkage_refuses_a_constant_feature_and_names_it(rule: str) -> None:
    train = gaussian_rows(100, 8, classes=4, seed=1)
    wide = Outputs(features=constant(train.features), labels=train.labels)
    with pytest.raises(InputError, match=rf"feature 8 is constant, which {rule} cannot handle"):
        fit_method(make_detector("mahalanobis", {"covariance": rule}), wide)


@pytest.mark.parametrize("rule", ["ledoit_wolf", "oas"])
def test_shrinkage_makes_every_direction_count(rule: str) -> None:
    train = gaussian_rows(40, 64, classes=4, seed=1)
    scorer = fit_method(make_detector("mahalanobis", {"covariance": rule}), train)
    assert scorer.report()["rank"] == 64
    assert scorer.report()["covariance"] == rule


@pytest.mark.parametrize("name", ALL)
def test_rows_that_all_equal_their_mean_give_no_covariance(name: str) -> None:
    train = Outputs(features=np.ones((6, 3)), labels=[0, 0, 0, 1, 1, 1])
    with pytest.raises(InputError, match=f"{name}: the covariance is zero"):
        fitted(name, train)
