"""Laws that every method of the catalogue is held to."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import replace

import numpy as np
import pytest

from ood_toolkit.detectors import find_method, load_scorer, make_detector, registered
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.planner import fit_method, score_together
from ood_toolkit.errors import InputError, ToolkitError
from ood_toolkit.outputs import Head, Outputs
from tests.cases import CLASSES, DIMS, record
from tests.reference import TWINS
from tests.reference.further_known import FURTHER_CASES
from tests.reference.known import CASES, Case, assert_digits

NAMES = [row.name for row in registered()]
ROWS = {row.name: row for row in registered()}
KNOWN_LAWS = {
    "logit_shift",
    "class_permutation",
    "feature_rotation",
    "feature_scale",
    "feature_affine",
}

each_method = pytest.mark.parametrize("name", NAMES)


def fitted(name: str, train: Outputs, **parameters: object) -> FittedScorer:
    with warnings.catch_warnings():
        # small training sets: clamped k, classes never predicted right
        warnings.simplefilter("ignore")
        return fit_method(make_detector(name, parameters), train)


def having(law: str) -> list[str]:
    return [name for name in NAMES if law in ROWS[name].laws]


@pytest.fixture(scope="module")
def train() -> Outputs:
    return record(300, seed=1)


@pytest.fixture(scope="module")
def x() -> Outputs:
    return record(70, seed=2, spread=0.3)


def test_the_catalogue_and_the_twins_name_the_same_methods() -> None:
    assert set(NAMES) == set(TWINS)
    assert len(NAMES) >= 23


def test_every_declared_law_is_one_that_is_tested() -> None:
    assert set().union(*(row.laws for row in registered())) <= KNOWN_LAWS


@each_method
def test_equals_its_slow_twin(name: str, train: Outputs, x: Outputs) -> None:
    expected = TWINS[name](x, train)
    assert fitted(name, train).score(x) == pytest.approx(expected, rel=1e-10, abs=1e-13)


VARIANTS = [
    ("energy", {"temperature": 0.3}),
    ("energy", {"temperature": 20.0}),
    ("odin_temperature", {"temperature": 1.0}),
    ("renyi", {"order": 0.5}),
    ("renyi", {"order": 1.0}),
    ("renyi", {"order": 3.0}),
    ("renyi", {"order": np.inf}),
    ("gini", {"variant": "beta"}),
    ("gen", {"gamma": 0.5, "top": 2}),
    ("label_non_uniformity", {"normalise": "l1"}),
    ("label_non_uniformity", {"normalise": "unit"}),
    ("label_non_uniformity", {"ground": "path"}),
    (
        "label_non_uniformity",
        {"ground": tuple(tuple(abs(i - j) ** 0.5 for j in range(CLASSES)) for i in range(CLASSES))},
    ),
    ("mahalanobis", {"covariance": "ledoit_wolf"}),
    ("mahalanobis", {"covariance": "oas"}),
    ("relative_mahalanobis", {"covariance": "oas"}),
    ("marginal_mahalanobis", {"covariance": "ledoit_wolf"}),
    ("mahalanobis_pp", {"covariance": "oas"}),
    ("knn", {"k": 3, "normalize": False}),
    ("knn", {"k": 1}),
    ("vim", {"dim": 2}),
    ("react", {"percentile": 60.0}),
    ("softmax_centroid", {"by": "true"}),
    ("inhibited_softmax", {"a": -2.0}),
    ("logit_signature", {"ones": True}),
    ("feature_norm", {"order": 2}),
    ("relative_mahalanobis_pp", {"covariance": "ledoit_wolf"}),
    ("residual", {"dim": 3}),
    ("gradnorm", {"target": "uniform"}),
    ("she", {"metric": "euclidean"}),
    ("she", {"metric": "cosine"}),
    ("nnguide", {"k": 5, "fraction": 0.5}),
    ("fdbd", {"reduce": "mean"}),
    ("fdbd", {"regulariser": "norm"}),
    ("nci", {"alpha": 0.1}),
    ("neco", {"dim": 2}),
    ("neco", {"max_logit": False}),
    ("dice", {"percentile": 50.0}),
    ("vra", {"low": 20.0, "high": 70.0}),
    ("ash_p", {"percentile": 50.0}),
    ("openmax", {"tail": 5, "alpha": 2}),
    ("openmax", {"distance": "eucos", "alpha": 9}),
    ("relation", {"power": 4.0}),
    ("relation", {"threshold": 0.2}),
    ("nac", {"filled": 3, "bins": 22}),
    ("nac", {"steepness": 1.0, "samples": 40}),
    ("weiper", {"copies": 7, "distance": 0.5, "seed": 3}),
    ("weiper", {"bins": 30, "smoothing": 5, "logit_smoothing": 8}),
    ("weiper", {"lambda_1": 0.3, "lambda_2": 2.0, "copies": 5}),
    ("cfood", {"fraction": 0.7, "share": 0.1}),
    ("feature_odin", {"temperature": 1.5, "epsilon": 0.2}),
    ("feature_odin", {"temperature": 10.0, "epsilon": 0.0}),
    ("class_incremental", {"weighting": "rows"}),
    ("class_incremental", {"base": "prototype"}),
    ("ash_b", {"percentile": 50.0}),
    ("ash_s", {"percentile": 50.0}),
    ("scale", {"percentile": 50.0}),
    ("sdm", {"alpha": 0.8, "cap": 3}),
    ("sdm", {"temperature": 4.0}),
    ("sdm", {"normalize": True}),
    ("sdm", {"variant": "verification"}),
    ("ensemble", {"combine": "fisher"}),
    ("ensemble", {"combine": "mean_rank", "members": "msp,mahalanobis,vim"}),
    ("ensemble", {"members": ({"method": "knn", "parameters": {"k": 3}}, "gini")}),
    ("ssd", {"clusters": "classes"}),
    ("ssd", {"clusters": 3, "covariance": "oas", "seed": 1}),
    ("trust_score", {"k": 4, "alpha": 0.2}),
    ("trust_score", {"neighbor": 2}),
    ("pca", {"explained": 0.6}),
    ("corp", {"explained": 0.9, "gamma": 0.5, "width": 64, "seed": 1}),
    ("kde", {"bandwidth": 0.8}),
    ("kde", {"per_class": True, "whiten": True}),
    ("gmm", {"components": 2, "seed": 1}),
    ("gmm", {"components": 3, "per_class": False, "covariance": "tied", "ridge": 0.01}),
    ("lof", {"k": 3}),
    ("isolation_forest", {"trees": 7, "samples": 64, "seed": 1}),
    ("hvcm_blocks", {"blocks": 3, "ridge": 0.01}),
]


@pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=lambda v: str(v)[:40])
def test_every_option_equals_its_slow_twin(
    name: str, parameters: dict[str, object], train: Outputs, x: Outputs
) -> None:
    expected = TWINS[name](x, train, **parameters)
    got = fitted(name, train, **parameters).score(x)
    assert got == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(
    "case", [*CASES, *(c for c in FURTHER_CASES if c.method in NAMES)], ids=str
)
def test_known_answers(case: Case) -> None:
    scorer = fit_method(make_detector(case.method, case.parameters), case.train, case.validation)
    assert_digits(scorer.score(case.x), case.score, case.digits)


def test_transport_keeps_its_digits_near_uniform() -> None:
    """A solver's absolute tolerance would swallow distances this small."""
    cost = tuple(tuple(abs(i - j) ** 0.5 for j in range(4)) for i in range(4))
    x = Outputs(logits=1e-6 * np.random.default_rng(0).normal(size=(20, 4)))
    expected = TWINS["label_non_uniformity"](x, None, ground=cost)
    got = fitted("label_non_uniformity", x, ground=cost).score(x)
    assert got == pytest.approx(expected, rel=1e-6, abs=0)


def test_every_parameter_has_a_variant_that_is_compared() -> None:
    compared = {(name, key) for name, parameters in VARIANTS for key in parameters}
    assert compared == {(row.name, p.name) for row in registered() for p in row.parameters}


def with_masked_classes(x: Outputs) -> Outputs:
    """The logits, with one class masked, with two left, with the first or the last left."""
    logits = x.logits.copy()
    logits[::3, 1] = -np.inf
    logits[1::9, 2:] = -np.inf
    logits[2::9, :3] = -np.inf
    logits[4::9, 1:] = -np.inf
    logits[5::9, :-1] = -np.inf
    return Outputs(logits=logits)


@pytest.mark.parametrize("name", [n for n in NAMES if ROWS[n].needs == ("logits",)], ids=str)
def test_a_masked_class_is_no_class(name: str, train: Outputs, x: Outputs) -> None:
    """A logit of -inf: the twin, which never heard of the fast path, agrees."""
    masked = with_masked_classes(x)
    expected = TWINS[name](masked, train)
    assert fitted(name, train).score(masked) == pytest.approx(expected, rel=1e-10, abs=1e-13)


@each_method
def test_row_order_does_not_matter(name: str, train: Outputs, x: Outputs) -> None:
    scorer = fitted(name, train)
    order = np.random.default_rng(0).permutation(len(x))
    assert scorer.score(x.rows(order)) == pytest.approx(scorer.score(x)[order], rel=1e-12)


@each_method
def test_a_split_batch_scores_the_same(name: str, train: Outputs, x: Outputs) -> None:
    scorer = fitted(name, train)
    whole = scorer.score(x)
    parts = [scorer.score(x.rows(slice(i, i + 1))) for i in range(5)]
    exact = ROWS[name].needs == ("logits",) and hasattr(scorer, "combine")
    if exact:  # a row of logits has the same bits alone and in any batch
        assert np.array_equal(np.concatenate(parts), whole[:5])
    assert np.concatenate(parts) == pytest.approx(whole[:5], rel=1e-9, abs=1e-12)


@each_method
def test_scores_are_float64_and_finite(name: str, train: Outputs, x: Outputs) -> None:
    scores = fitted(name, train).score(x)
    assert scores.shape == (len(x),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


@each_method
def test_float32_ranks_like_float64(name: str) -> None:
    wide = fitted(name, record(300, seed=1)).score(record(70, seed=2, spread=0.3))
    train, x = (
        record(300, seed=1, dtype=np.float32),
        record(70, seed=2, spread=0.3, dtype=np.float32),
    )
    narrow = fitted(name, train).score(x)
    # float32 logits leave 1e-6 of a residual that is zero in exact arithmetic
    assert narrow == pytest.approx(wide, rel=2e-4, abs=2e-4 * np.abs(wide).max() + 1e-6)


@each_method
def test_read_only_and_strided_input(name: str, train: Outputs, x: Outputs) -> None:
    scorer = fitted(name, train)
    arrays = {}
    for part in ("logits", "features"):
        strided = np.asfortranarray(np.repeat(getattr(x, part), 2, axis=0))[::2]
        strided.flags.writeable = False
        assert not strided.flags.c_contiguous
        arrays[part] = strided
    got = scorer.score(replace(x, **arrays))
    assert got == pytest.approx(scorer.score(x), rel=1e-12)


@each_method
def test_fitting_and_scoring_leave_the_input_alone(name: str) -> None:
    train, x = record(60, seed=1), record(20, seed=2)
    before = [a.copy() for a in (train.features, train.logits, x.features, x.logits)]
    fitted(name, train).score(x)
    for old, new in zip(before, (train.features, train.logits, x.features, x.logits), strict=True):
        assert np.array_equal(old, new)


@each_method
def test_saved_and_loaded_scores_the_same_bits(
    name: str, train: Outputs, x: Outputs, tmp_path
) -> None:
    scorer = fitted(name, train)
    path = tmp_path / "detector.safetensors"
    scorer.save(path)
    again = load_scorer(path)
    assert again.detector == scorer.detector
    assert np.array_equal(again.score(x), scorer.score(x))
    assert again.report() == scorer.report()
    second = tmp_path / "again.safetensors"
    again.save(second)
    assert second.read_bytes() == path.read_bytes()


@each_method
def test_saved_and_loaded_scores_the_same_bits_in_many_dimensions(name: str, tmp_path) -> None:
    """Wide enough that BLAS rounds by the memory order of its operands."""
    train, x = record(300, seed=1, dims=64), record(200, seed=2, dims=64)
    scorer = fitted(name, train)
    scorer.save(tmp_path / "detector.safetensors")
    assert np.array_equal(load_scorer(tmp_path / "detector.safetensors").score(x), scorer.score(x))


@each_method
def test_no_rows_no_scores(name: str, train: Outputs, x: Outputs) -> None:
    scores = fitted(name, train).score(x.rows(slice(0, 0)))
    assert scores.shape == (0,)
    assert scores.dtype == np.float64


@each_method
@pytest.mark.parametrize("classes", [2, 60])
def test_few_and_more_classes(name: str, classes: int) -> None:
    train = record(2 * classes + 20, seed=1, classes=classes)
    x = record(7, seed=2, classes=classes)
    assert fitted(name, train).score(x) == pytest.approx(TWINS[name](x, train), rel=1e-9, abs=1e-11)


FEW_VALUES = {"vote_entropy", "logit_signature", "nac", "cfood"}
"""Scores that are counts, or 0 for every row."""


@each_method
def test_a_thousand_classes(name: str) -> None:
    train, x = record(2100, seed=1, classes=1000), record(7, seed=2, classes=1000)
    scorer = fitted(name, train)
    scores = scorer.score(x)
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 7 or name in FEW_VALUES
    assert scorer.score(x.rows(slice(3, 4))) == pytest.approx(scores[3:4], rel=1e-9)


@each_method
def test_one_feature(name: str) -> None:
    if name in ("mahalanobis_pp", "relative_mahalanobis_pp", "corp", "pca", "ssd"):
        # a number divided by its length is 1: nothing varies
        with pytest.raises(InputError, match="covariance is zero"):
            fitted(name, record(40, seed=1, dims=1))
        return
    train, x = record(40, seed=1, dims=1), record(9, seed=2, dims=1)
    # an angle of 0 or pi is known to half the digits only
    rel, abs_ = (0.0, 1e-7) if name == "ora" else (1e-9, 1e-12)
    assert fitted(name, train).score(x) == pytest.approx(TWINS[name](x, train), rel=rel, abs=abs_)


@each_method
def test_duplicate_rows_and_a_constant_feature(name: str) -> None:
    train, x = record(80, seed=1), record(20, seed=2)
    again = np.r_[0:80, 0:40]
    weight = np.c_[train.head.weight, np.zeros(CLASSES)]
    head = Head(weight, train.head.bias)

    def widened(r: Outputs, rows: np.ndarray) -> Outputs:
        features = np.c_[r.features[rows], np.full(len(rows), 0.5)]
        return replace(r.rows(rows), features=features, head=head, logits=None)

    train, x = widened(train, again), widened(x, np.arange(20))
    got = fitted(name, train).score(x)
    assert got == pytest.approx(TWINS[name](x, train), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", [n for n in NAMES if "labels" in ROWS[n].train])
def test_a_class_without_training_rows_is_named(name: str, train: Outputs) -> None:
    rows = train.rows(np.flatnonzero(train.labels != 3))
    if name == "softmax_centroid":  # rows predicted as the class stand for it
        assert fitted(name, rows).centroids.shape == (CLASSES, CLASSES)
        return
    with pytest.raises(InputError, match="class 3 has no row"):
        fitted(name, rows)


@each_method
def test_a_bad_row_is_named(name: str, train: Outputs, x: Outputs) -> None:
    scorer = fitted(name, train)
    for part in [p for p in ROWS[name].needs if p not in ("head", "token_ids")]:
        middle = (0,) if part == "token_logits" else ()
        for value in (np.nan, np.inf):
            array = getattr(x, part).copy()
            array[..., 17, *middle, 2] = value
            array[..., 40, *middle, 0] = value
            where = "member 0: logits" if part == "members" else part
            with pytest.raises(InputError, match=rf"{where}: row 17 holds"):
                scorer.score(replace(x, **{part: array}))


@each_method
def test_wrong_dimensions_are_refused(name: str, train: Outputs) -> None:
    if not ROWS[name].fits:
        return
    scorer = fitted(name, train)
    if "features" in ROWS[name].needs:
        with pytest.raises(InputError, match="fitted on 8"):
            scorer.score(record(5, seed=0, dims=DIMS + 1))
    if "logits" in ROWS[name].needs and scorer.classes:
        with pytest.raises(InputError, match="fitted on 5 classes"):
            scorer.score(record(5, seed=0, classes=CLASSES + 1))


@each_method
def test_missing_parts_are_named(name: str, train: Outputs) -> None:
    scorer = fitted(name, train)
    with pytest.raises(InputError, match=f"{name} needs"):
        scorer.score(Outputs(labels=[0, 1]))
    if ROWS[name].fits:
        with pytest.raises(InputError, match="training outputs"):
            fit_method(make_detector(name), None)
        with pytest.raises(InputError, match="zero rows"):
            fitted(name, train.rows(slice(0, 0)))


def permuted_classes(r: Outputs, order: np.ndarray) -> Outputs:
    head = Head(r.head.weight[order], r.head.bias[order])
    labels = np.argsort(order)[r.labels]
    return Outputs(
        logits=r.logits[:, order],
        features=r.features,
        labels=labels,
        head=head,
        members=r.members[..., order],
    )


@pytest.mark.parametrize("name", having("class_permutation"))
def test_class_permutation(name: str, train: Outputs, x: Outputs) -> None:
    order = np.random.default_rng(3).permutation(CLASSES)
    got = fitted(name, permuted_classes(train, order)).score(permuted_classes(x, order))
    assert got == pytest.approx(fitted(name, train).score(x), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(
    "name", [n for n in having("class_permutation") if ROWS[n].needs == ("logits",)]
)
def test_class_permutation_of_masked_rows(name: str, train: Outputs, x: Outputs) -> None:
    order = np.random.default_rng(3).permutation(CLASSES)
    masked = with_masked_classes(x)
    moved = Outputs(logits=masked.logits[:, order])
    got = fitted(name, permuted_classes(train, order)).score(moved)
    assert got == pytest.approx(fitted(name, train).score(masked), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("name", having("logit_shift"))
def test_logit_shift(name: str, train: Outputs, x: Outputs) -> None:
    shifted = replace(x, logits=x.logits + np.arange(len(x))[:, None])
    scorer = fitted(name, train)
    assert scorer.score(shifted) == pytest.approx(scorer.score(x), rel=1e-9, abs=1e-11)


def mapped(r: Outputs, matrix: np.ndarray, shift: np.ndarray | float = 0.0) -> Outputs:
    """Features f @ matrix + shift, with the head that gives the same logits."""
    weight = np.linalg.solve(matrix, r.head.weight.T).T
    head = Head(weight, r.head.bias - np.broadcast_to(shift, DIMS) @ weight.T)
    return Outputs(
        logits=r.logits, features=r.features @ matrix + shift, labels=r.labels, head=head
    )


@pytest.mark.parametrize("name", having("feature_rotation"))
def test_feature_rotation(name: str, train: Outputs, x: Outputs) -> None:
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(DIMS, DIMS)))[0]
    got = fitted(name, mapped(train, rotation)).score(mapped(x, rotation))
    assert got == pytest.approx(fitted(name, train).score(x), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", having("feature_affine"))
def test_feature_affine(name: str, train: Outputs, x: Outputs) -> None:
    rng = np.random.default_rng(5)
    matrix, shift = rng.normal(size=(DIMS, DIMS)), rng.normal(size=DIMS)
    got = fitted(name, mapped(train, matrix, shift)).score(mapped(x, matrix, shift))
    assert got == pytest.approx(fitted(name, train).score(x), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", having("feature_scale"))
def test_feature_scale(name: str, train: Outputs, x: Outputs) -> None:
    scales = np.geomspace(0.01, 100, len(x))[:, None]
    scorer = fitted(name, train)
    got = scorer.score(replace(x, features=x.features * scales))
    assert got == pytest.approx(scorer.score(x), rel=1e-9, abs=1e-12)


def test_scoring_together_equals_scoring_alone(train: Outputs, x: Outputs) -> None:
    scorers = {name: fitted(name, train) for name in NAMES}
    together = score_together(x, scorers)
    assert list(together) == NAMES
    for name, scorer in scorers.items():
        assert np.array_equal(together[name], scorer.score(x))


@each_method
def test_detectors_and_scorers_are_frozen(name: str, train: Outputs) -> None:
    for thing in (make_detector(name), fitted(name, train)):
        field = dataclasses.fields(thing)[0].name if dataclasses.fields(thing) else "anything"
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(thing, field, 1)


@each_method
def test_docstrings_say_what_a_user_needs(name: str) -> None:
    text = ROWS[name].detector.__doc__
    assert "larger = more" in text
    assert ">>>" in text
    assert ROWS[name].reference
    for parameter in ROWS[name].parameters:
        assert f"    {parameter.name} : " in text


COMPOSITIONS = [
    "react+gen",
    "ash_s+gen",
    "scale+label_non_uniformity",
    "dice+kl_matching",
    "vra+msp",
]


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_scores_what_the_shaping_says(name: str, train: Outputs, x: Outputs) -> None:
    """Shape by hand, then score with the base method's twin."""
    shaping, base = name.split("+")
    first = make_detector(shaping).fitted(train)
    got = fitted(name, train).score(x)
    expected = TWINS[base](first.apply(x), first.apply(train))
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_composition_is_a_method_like_any_other(train: Outputs, x: Outputs, tmp_path) -> None:
    detector = make_detector("react+gen", {"percentile": "80", "gamma": "0.5"})
    row = find_method("react+gen")
    assert (row.name, row.needs, row.train) == (
        "react+gen",
        ("features", "head"),
        ("features", "head"),
    )
    assert [p.name for p in row.parameters] == ["percentile", "gamma", "top"]
    scorer = fit_method(detector, train)
    scorer.save(tmp_path / "composed.safetensors")
    again = load_scorer(tmp_path / "composed.safetensors")
    assert again.detector == detector
    assert np.array_equal(again.score(x), scorer.score(x))
    assert fitted("react+energy", train).score(x) == pytest.approx(
        fitted("react", train).score(x), rel=1e-15
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("energy+react", "energy is no shaping; before a \\+ stands one of"),
        ("react+knn", "knn cannot follow a shaping"),
        ("react+energi", "did you mean energy"),
        ("reakt+energy", "did you mean react"),
    ],
)
def test_compositions_that_make_no_sense(name: str, words: str) -> None:
    with pytest.raises(ToolkitError, match=words) as caught:
        make_detector(name)
    assert caught.value.exit_status == 2
