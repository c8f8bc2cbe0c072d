"""A class that is added without refitting, against a fit on all rows."""

from __future__ import annotations

import numpy as np
import pytest

from ood_toolkit import ClassIncremental, CosinePrototype, Mahalanobis, load_scorer
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Outputs
from tests.cases import record
from tests.reference.known import assert_digits, features, fixture


@pytest.fixture(scope="module")
def rows() -> Outputs:
    whole = record(120, seed=1)
    return Outputs(features=whole.features, labels=whole.labels)


@pytest.fixture(scope="module")
def x() -> Outputs:
    return Outputs(features=record(30, seed=2, spread=0.3).features)


def of_class(rows: Outputs, *classes: int) -> Outputs:
    return rows.rows(np.flatnonzero(np.isin(rows.labels, classes)))


def test_the_known_answer() -> None:
    known = fixture("known_answers")["mahalanobis"]
    added = fixture("known_answers")["mahalanobis_incremental"]
    for weighting in ("classes", "rows"):  # classes of four rows each: the two rules agree
        scorer = ClassIncremental(weighting=weighting).fit(features(known["F"], known["y"]))
        assert_digits(scorer.covariance, known["tied_cov"])
        more = scorer.with_class(features(added["new"]))
        assert_digits(more.means[2], added["mean"])
        assert_digits(more.covariance, added["tied_cov_updated"])
        assert np.array_equal(more.means[:2], scorer.means)


@pytest.mark.parametrize("weighting", ["classes", "rows"])
def test_adding_classes_is_fitting_on_all_rows(weighting: str, rows: Outputs, x: Outputs) -> None:
    detector = ClassIncremental(weighting=weighting)
    grown = detector.fit(of_class(rows, 0, 1, 2))
    for c in (3, 4):
        grown = grown.with_class(of_class(rows, c))
    assert grown.score(x) == pytest.approx(detector.fit(rows).score(x), rel=1e-10)
    if weighting == "rows":
        assert grown.score(x) == pytest.approx(Mahalanobis().fit(rows).score(x), rel=1e-10)


def test_the_papers_rule_counts_classes_and_not_rows(rows: Outputs) -> None:
    scorer = ClassIncremental().fit(of_class(rows, 0, 1, 2))
    new = of_class(rows, 3).rows(slice(0, 2))
    expected = (3 * scorer.covariance + np.cov(new.features.T, bias=True)) / 4
    assert scorer.with_class(new).covariance == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_a_direction_that_only_the_new_class_has() -> None:
    """The old means are kept whole, so the distance to them along it is right too."""
    rng = np.random.default_rng(0)
    flat = np.c_[rng.normal(size=(40, 2)), np.repeat([0.0, 1.0], 20)]
    new = rng.normal(size=(20, 3))
    labels = np.repeat([0, 1], 20)
    detector = ClassIncremental(weighting="rows")
    scorer = detector.fit(Outputs(features=flat, labels=labels))
    assert scorer.report()["rank"] == 2
    more = scorer.with_class(Outputs(features=new))
    everything = Outputs(features=np.vstack([flat, new]), labels=np.repeat([0, 1, 2], 20))
    assert more.report() == {"classes": 3, "rows": 60, "rank": 3}
    x = Outputs(features=rng.normal(size=(9, 3)))
    assert more.score(x) == pytest.approx(Mahalanobis().fit(everything).score(x), rel=1e-10)


def test_prototypes(rows: Outputs, x: Outputs) -> None:
    grown = ClassIncremental(base="prototype").fit(of_class(rows, 0, 1, 2, 3))
    grown = grown.with_class(of_class(rows, 4))
    assert np.array_equal(grown.score(x), CosinePrototype().fit(rows).score(x))


@pytest.mark.parametrize("base", ["mahalanobis", "prototype"])
def test_a_grown_scorer_is_saved_like_any_other(
    base: str, rows: Outputs, x: Outputs, tmp_path
) -> None:
    grown = ClassIncremental(base=base).fit(of_class(rows, 0, 1)).with_class(of_class(rows, 2))
    grown.save(tmp_path / "grown.safetensors")
    again = load_scorer(tmp_path / "grown.safetensors")
    assert np.array_equal(again.score(x), grown.score(x))
    assert again.report() == grown.report()
    assert np.array_equal(
        again.with_class(of_class(rows, 3)).score(x), grown.with_class(of_class(rows, 3)).score(x)
    )


@pytest.mark.parametrize("base", ["mahalanobis", "prototype"])
def test_what_is_refused(base: str, rows: Outputs) -> None:
    scorer = ClassIncremental(base=base).fit(rows)
    with pytest.raises(InputError, match="a new class needs at least one row"):
        scorer.with_class(rows.rows(slice(0, 0)))
    with pytest.raises(InputError, match="features have 3 columns"):
        scorer.with_class(Outputs(features=np.ones((2, 3))))
    with pytest.raises(InputError, match="class_incremental needs features"):
        scorer.with_class(Outputs(labels=[0]))


def test_one_row_moves_the_covariance_towards_zero(rows: Outputs) -> None:
    scorer = ClassIncremental().fit(rows)
    more = scorer.with_class(rows.rows(slice(7, 8)))
    assert more.covariance == pytest.approx(scorer.covariance * 5 / 6, rel=1e-13)
    assert more.score(rows.rows(slice(7, 8))) == pytest.approx(0.0, abs=1e-25)
