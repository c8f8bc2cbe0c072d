"""The adapter behaves as scikit-learn's own outlier detectors do."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.covariance import EmpiricalCovariance
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ood_toolkit as ood
from ood_toolkit import Outputs
from ood_toolkit.detectors import registered
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.sklearn import OODDetector
from tests.cases import mostly_right

CHECKED = [
    OODDetector("mahalanobis"),
    OODDetector("marginal_mahalanobis"),
    OODDetector("knn", parameters={"k": 3, "normalize": False}),
    OODDetector("feature_norm"),
    OODDetector("energy"),
    OODDetector("msp"),
]


@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks(estimator: OODDetector, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def train() -> Outputs:
    return mostly_right(200, seed=1)


@pytest.fixture(scope="module")
def x() -> Outputs:
    return mostly_right(50, seed=2, spread=0.5)


ONE_MATRIX = [row.name for row in registered() if row.needs in (("features",), ("logits",))]


@pytest.mark.parametrize("name", ONE_MATRIX)
def test_scores_are_the_methods(name: str, train: Outputs, x: Outputs) -> None:
    row = ood.detectors.find_method(name)
    part = row.needs[0]
    if set(row.train) - {part, "labels"}:
        with pytest.raises((BadParameter, InputError), match=f"{name} needs"):
            OODDetector(name).fit(getattr(train, part), train.labels)
        return
    model = OODDetector(name).fit(getattr(train, part), train.labels)
    bare = Outputs(**{part: getattr(train, part)}, labels=train.labels)
    scorer = ood.detector(name).fit(bare)
    matrix = getattr(x, part)
    np.testing.assert_array_equal(model.score_samples(matrix), scorer.score(x))
    decision = model.decision_function(matrix)
    np.testing.assert_array_equal(decision, scorer.score(x) - model.offset_)
    np.testing.assert_array_equal(model.predict(matrix), np.where(decision >= 0, 1, -1))


@pytest.mark.parametrize("name", ["vim", "react", "vote_entropy", "ensemble", "nope"])
def test_methods_that_read_more_are_refused(name: str, train: Outputs) -> None:
    with pytest.raises((BadParameter, UnknownName)) as caught:
        OODDetector(name).fit(train.features)
    assert caught.value.exit_status == 2


def test_without_classes_all_rows_are_one(train: Outputs, x: Outputs) -> None:
    model = OODDetector("mahalanobis").fit(train.features)
    peer = EmpiricalCovariance().fit(train.features)
    np.testing.assert_allclose(model.score_samples(x.features), -peer.mahalanobis(x.features))
    assert model.classes_.tolist() == [0]


def test_neighbours_are_scikit_learns(train: Outputs, x: Outputs) -> None:
    model = OODDetector("knn", parameters={"k": 4, "normalize": False}).fit(train.features)
    peer = NearestNeighbors(n_neighbors=4).fit(train.features)
    np.testing.assert_allclose(
        model.score_samples(x.features), -peer.kneighbors(x.features)[0][:, -1], rtol=1e-12
    )


def test_class_names_are_numbered(train: Outputs, x: Outputs) -> None:
    names = np.array(["ant", "bee", "cat", "dog", "eel"])
    named = OODDetector().fit(train.features, names[train.labels])
    assert named.classes_.tolist() == names.tolist()
    numbered = OODDetector().fit(train.features, train.labels)
    np.testing.assert_array_equal(
        named.score_samples(x.features), numbered.score_samples(x.features)
    )


def test_rows_known_to_be_outliers_are_not_fitted_on(train: Outputs, x: Outputs) -> None:
    features = np.concatenate([train.features, x.features])
    y = np.concatenate([train.labels, np.full(len(x), -1)])
    model = OODDetector().fit(features, y)
    clean = OODDetector().fit(train.features, train.labels)
    np.testing.assert_array_equal(model.score_samples(features), clean.score_samples(features))
    assert model.offset_ == clean.offset_
    with pytest.raises(InputError, match="-1 in every row"):
        OODDetector().fit(x.features, np.full(len(x), -1))
    with pytest.raises(InputError, match=r"y must be \(50,\)"):
        OODDetector().fit(x.features, train.labels)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_contamination_is_the_share_of_outliers(share: float, train: Outputs) -> None:
    model = OODDetector("marginal_mahalanobis", contamination=share)
    assert (model.fit_predict(train.features) == -1).mean() == pytest.approx(share, abs=0.005)
    with pytest.raises(ValueError, match="contamination must lie in"):
        OODDetector(contamination=-share - 0.1).fit(train.features)


def test_in_a_pipeline_and_a_grid_search(train: Outputs, x: Outputs) -> None:
    far = mostly_right(60, seed=9, spread=0.1)
    features = np.concatenate([train.features, far.features])
    y = np.concatenate([np.ones(len(train)), -np.ones(len(far))])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), OODDetector()),
        {
            "ooddetector__method": ["knn", "feature_norm"],
            "ooddetector__contamination": [0.02, 0.1],
            "ooddetector__parameters": [None],
        },
        scoring="roc_auc",
        cv=StratifiedKFold(3),
    )
    search.fit(features, y)
    assert set(search.best_params_) == {
        "ooddetector__method", "ooddetector__contamination", "ooddetector__parameters",
    }  # fmt: skip
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert set(best.predict(x.features)) <= {1, -1}
    neighbours = GridSearchCV(
        OODDetector("knn"),
        {"parameters": [{"k": 1}, {"k": 20}]},
        scoring="roc_auc",
        cv=StratifiedKFold(3),
    ).fit(features, y)
    assert neighbours.best_params_["parameters"] in ({"k": 1}, {"k": 20})


def test_it_can_be_copied_and_stored(train: Outputs, x: Outputs) -> None:
    model = OODDetector("knn", parameters={"k": 2}, contamination=0.2)
    again = clone(model)
    assert again.get_params() == model.get_params()
    model.fit(train.features)
    stored = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(stored.score_samples(x.features), model.score_samples(x.features))


def test_the_module_does_not_stand_in_scikit_learns_way() -> None:
    code = (
        "import sys, ood_toolkit.sklearn, sklearn\n"
        "from sklearn.base import BaseEstimator\n"
        "assert sklearn is not ood_toolkit.sklearn\n"
        "assert 'site-packages' in sklearn.__file__\n"
        "assert issubclass(ood_toolkit.sklearn.OODDetector, BaseEstimator)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    light = "import sys, ood_toolkit as o; o.methods(); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", light], check=True)
