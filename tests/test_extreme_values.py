"""Finite values at the ends of their range: the right number, or one clear refusal, never NaN."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit import bounded
from ood_toolkit.detectors import make_detector, registered
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.planner import FEW_ROWS, fit_method, score_together
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.numbers import first_nan
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    LARGEST,
    LEAD,
    NONUNIFORMITY,
    SECOND,
    TAIL,
    excess,
    generalized_entropy,
    kl_to_prior,
    log_sum_exp,
)
from ood_toolkit.models.logit_judge import LogitJudge
from tests.cases import mostly_right
from tests.cli.running import save, tool
from tests.reference import TWINS
from tests.test_catalogue import VARIANTS

LOADING = importlib.import_module("ood_toolkit.io.load")
ROWS = {row.name: row for row in registered()}
TOO_LARGE = "values too large for"

# numpy says so where a sum overflows on its way to an infinite score or to a refusal
pytestmark = pytest.mark.filterwarnings(
    "ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning"
)


def fitted(name: str, train: ood.Outputs, **parameters: object) -> FittedScorer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_method(make_detector(name, parameters), train)


def scaled(x: ood.Outputs, factor: float, rows: slice = slice(None)) -> ood.Outputs:
    """With the features of some rows times a factor, and the logits that follow."""
    features = x.features.copy()
    features[rows] *= factor
    return replace(x, features=features, logits=None)


@pytest.fixture(scope="module")
def train() -> ood.Outputs:
    return mostly_right(300, seed=1)


@pytest.fixture(scope="module")
def x() -> ood.Outputs:
    return mostly_right(100, seed=2, spread=0.3)


def test_the_first_nan_is_found() -> None:
    assert first_nan(np.array([])) == -1
    for few in (1, 100):
        assert first_nan(np.array([np.inf, -np.inf, 0.0] * few)) == -1
        assert first_nan(np.array([np.inf, -np.inf, np.nan] * few)) == 2
    values = np.zeros(100_000)
    values[[40_000, 70_000]] = np.nan
    assert first_nan(values) == 40_000


EXTREMES = {
    "float64": (1.7e308, 1e300, 5e-324, 0.0),
    "float32": (3.4e38, 1e30, 1e-45, 0.0),
    "float16": (65504.0, 1e4, 6e-8, 0.0),
}


@pytest.mark.parametrize("dtype", EXTREMES)
@pytest.mark.parametrize("classes", [2, 3, 17])
def test_no_statistic_of_a_good_row_is_nan(dtype: str, classes: int) -> None:
    """The planner does not look for NaN in a score that is a statistic."""
    rng = np.random.default_rng(0)
    ends = np.array([*EXTREMES[dtype], *(-v for v in EXTREMES[dtype])])
    z = rng.choice(ends, size=(500, classes)).astype(dtype)
    z[::7, 1:] = -np.inf
    wanted = [TAIL, ENTROPY, IMPURITY, NONUNIFORMITY, LEAD, LARGEST, SECOND, CLASSES]
    wanted += [log_sum_exp(), log_sum_exp(1e-3), log_sum_exp(1e3), excess(), excess(1e-3)]
    wanted += [generalized_entropy(0.1, 2), kl_to_prior([1.0 / classes] * classes)]
    rows = row_statistics(z, wanted)
    assert rows.first_bad == -1
    for statistic in wanted:
        assert not np.isnan(rows[statistic]).any(), statistic


@pytest.mark.parametrize("name", ["gmm", "kde", "relative_mahalanobis", "neco"])
@pytest.mark.parametrize("rows", [20, 100])
def test_features_that_overflow_on_the_way_are_refused(
    name: str, rows: int, train: ood.Outputs, x: ood.Outputs
) -> None:
    scorer = fitted(name, train)
    far = scaled(x, 1e300, slice(13, 15)).rows(slice(0, rows))
    parts = " and ".join(p for p in ROWS[name].needs if p != "head")
    words = rf"^{parts}: row 13 holds {TOO_LARGE} {name}, whose score of it would be NaN;"
    with pytest.raises(InputError, match=words):
        scorer.score(far)
    with pytest.raises(InputError, match=words):
        ood.score(far, [scorer, "msp"])
    ordinary = scorer.score(x.rows(slice(0, 13)))
    assert np.array_equal(scorer.score(far.rows(slice(0, 13))), ordinary)


@pytest.mark.parametrize("classes", [2, 3, 17])
def test_logits_that_overflow_in_openmax_are_refused(classes: int) -> None:
    scorer = fitted("openmax", mostly_right(300, seed=1, classes=classes))
    z = np.zeros((9, classes))
    z[4] = 1.7e308
    with pytest.raises(InputError, match=f"^logits: row 4 holds {TOO_LARGE} openmax"):
        scorer.score(ood.Outputs(logits=z))


def test_every_way_to_a_score_of_row_statistics_asks_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One row, a few, many in windows, and a guard's own pass."""

    def strange(self: object, rows: object) -> np.ndarray:
        return np.where(rows[LARGEST] > 6.0, np.nan, rows[LARGEST])

    monkeypatch.setattr(ood.LogitMargin, "combine", strange)
    z = np.tile(np.arange(4.0), (3 * FEW_ROWS, 1))
    z[50:52, 2] = 7.0
    few, many = ood.Outputs(logits=z[:FEW_ROWS]), ood.Outputs(logits=z)
    scorer = ood.LogitMargin().fit()
    words = f"^logits: row 50 holds {TOO_LARGE} logit_margin"
    for x in (few, many):
        for score in (
            lambda x: ood.score(x, "logit_margin"),
            lambda x: ood.score(x, ["msp", "logit_margin"]),
            lambda x: score_together(x, {"a": ood.MSP().fit(), "b": scorer}),
            scorer.score,
            lambda x: LogitJudge(scorer, 0.0)(x.logits),
        ):
            with pytest.raises(InputError, match=words):
                score(x)
    assert len(ood.score(many, "msp")["msp"]) == len(z)


def test_a_row_behind_a_shaping_is_named_by_its_place_in_the_record(
    monkeypatch: pytest.MonkeyPatch, train: ood.Outputs, x: ood.Outputs
) -> None:
    composed = importlib.import_module("ood_toolkit.detectors.composed")
    monkeypatch.setattr(composed, "CHUNK", 8)
    monkeypatch.setattr(composed, "LOGITS", 1)
    scorer = fitted("react+max_logit", train)
    strange = scorer.score(x)[50]
    monkeypatch.setattr(
        ood.MaxLogit,
        "combine",
        lambda self, rows: np.where(rows[LARGEST] == strange, np.nan, rows[LARGEST]),
    )
    with pytest.raises(InputError, match=f"^features: row 50 holds {TOO_LARGE} react.max_logit"):
        scorer.score(x)


@pytest.mark.parametrize("streamed", [False, True])
def test_score_and_its_exit_status(
    streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: ood.Outputs
) -> None:
    x = scaled(mostly_right(3000, seed=2), 1e300, slice(2500, 2502))
    files = [tmp_path / "train.npz", tmp_path / "x.npz"]
    for path, record in zip(files, (train, x), strict=True):
        save(path, features=record.features, labels=record.labels)
    options: tuple[str, ...] = ()
    if streamed:
        monkeypatch.setattr(LOADING, "streamed_from", lambda memory: 0)
        monkeypatch.setattr(bounded, "BLOCK_BYTES", 1)
        options = ("--memory", "4GiB")
    out = tmp_path / "out.csv"
    run = tool("score", files[1], "-m", "kde,knn", "--train", files[0], "-o", out, *options)
    assert run.status == 3
    assert run.error.startswith(f"{files[1]}: features: row 2500 holds {TOO_LARGE} kde")
    assert not out.exists()


DECOMPOSED = (
    "class_incremental",
    "gmm",
    "hvcm_blocks",
    "kde",
    "mahalanobis",
    "marginal_mahalanobis",
    "neco",
    "relative_mahalanobis",
    "residual",
    "vim",
)


@pytest.mark.parametrize("name", DECOMPOSED)
def test_training_features_whose_squares_overflow_are_refused(
    name: str, train: ood.Outputs
) -> None:
    for parameters in ({}, *(p for method, p in VARIANTS if method == name)):
        if parameters.get("base") == "prototype" or "bandwidth" in parameters:
            continue
        with pytest.raises(InputError, match=f"{name}: the training features are too large"):
            fitted(name, scaled(train, 1e160), **parameters)


@pytest.mark.parametrize("rule", ["ledoit_wolf", "oas"])
def test_so_are_those_whose_fourth_powers_do_under_shrinkage(rule: str, train: ood.Outputs) -> None:
    with pytest.raises(InputError, match="mahalanobis: the training features are too large"):
        fitted("mahalanobis", scaled(train, 1e100), covariance=rule)


@pytest.mark.parametrize("name", ["openmax", "standardized_max_logit", "vim"])
def test_training_logits_whose_sums_overflow_are_refused(name: str, train: ood.Outputs) -> None:
    huge = replace(train, logits=np.where(train.logits > 0, 1.7e308, -1.7e308))
    with pytest.raises(InputError, match=f"{name}: the training logits are too large"):
        fitted(name, huge)


def test_a_head_whose_products_overflow_is_refused(train: ood.Outputs) -> None:
    head = ood.Head(train.head.weight * 1e200, train.head.bias)
    with pytest.raises(InputError, match="weiper: the training features or the head are too"):
        fitted("weiper", ood.Outputs(features=train.features, head=head, labels=train.labels))


def test_kde_needs_distances_whose_squares_are_not_zero(train: ood.Outputs) -> None:
    with pytest.raises(InputError, match="underflow to 0; choose a bandwidth"):
        fitted("kde", scaled(train, 1e-300))


def hard_logits(classes: int) -> dict[str, np.ndarray]:
    """Rows at the ends of what float64 holds, and rows that differ by less than 1e-16."""
    rng = np.random.default_rng(classes)
    z = 3 * rng.normal(size=(12, classes))
    masked = 1e300 * z
    masked[::2, 0] = -np.inf
    return {
        "huge": 1e300 * z,
        "largest": np.where(z > 0, 1.7e308, -1.7e308),
        "tiny": 1e-300 * z,
        "subnormal": np.round(z) * 5e-324,
        "masked": masked,
        "far from zero": z + 1e13,
        "float32": (1e-40 * z).astype(np.float32),
    }


EXACT = ("inhibited_softmax", "standardized_logit", "softmax_centroid")


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("classes", [2, 3, 17])
def test_hard_logits_score_as_their_twin_says(name: str, classes: int) -> None:
    train = mostly_right(300, seed=1, classes=classes)
    scorer = fitted(name, train)
    for what, z in hard_logits(classes).items():
        expected = TWINS[name](ood.Outputs(logits=z.astype(np.float64)), train)
        short = z.dtype == np.float32 and name == "inhibited_softmax"
        got = scorer.score(ood.Outputs(logits=z))
        rel, abs_ = (1e-6, 1e-7) if short else (1e-10, 1e-13)
        assert got == pytest.approx(expected, rel=rel, abs=abs_), what


def test_inhibited_softmax_keeps_within_its_range() -> None:
    for level in (1e13, 1e20, 1.7e308):
        z = np.array([[level, level, 0.0]])
        assert ood.score(z, "inhibited_softmax")["inhibited_softmax"] == pytest.approx([0.5])
    rng = np.random.default_rng(0)
    for dtype, ends in EXTREMES.items():
        z = rng.choice([*ends, *(-v for v in ends)], size=(2000, 3)).astype(dtype)
        for a in (-5.0, 1.0, 1e300, -1e300):
            scores = ood.InhibitedSoftmax(a=a).fit().score(ood.Outputs(logits=z))
            assert scores.min() >= 0.0
            assert scores.max() <= 1.0


@pytest.mark.parametrize("variant", ["alpha", "beta"])
def test_gini_is_at_least_1_less_c_but_for_the_rounding_of_the_type(variant: str) -> None:
    z = np.array([[1.0, 1, 1], [65504, 65504, 65504], [0, 0, 0], [-65504, -65504, -65504]])
    for dtype, room in ((np.float64, 4e-16), (np.float32, 4e-7), (np.float16, 4e-7)):
        scores = ood.Gini(variant=variant).fit().score(ood.Outputs(logits=z.astype(dtype)))
        assert scores.min() >= -2.0 * (1.0 + room)
        assert scores.max() <= 0.0


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1.7e308, 5e-324, 2.0**-40, 3.0])
def test_standardized_logit_does_not_change_with_scale(factor: float) -> None:
    z = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, -np.inf]])
    scores = ood.score(z * factor, "standardized_logit")["standardized_logit"]
    assert scores == pytest.approx([np.sqrt(2.0), np.sqrt(0.5), 0.0, 1.0], rel=1e-15)


def nearly_flat(rows: int, classes: int, seed: int) -> np.ndarray:
    """Logits whose softmax is 1/C to the last bit, in which every class is the largest."""
    return 1e-300 * np.random.default_rng(seed).normal(size=(rows, classes))


def test_predictions_are_those_of_the_logits_not_of_rounded_probabilities() -> None:
    z = nearly_flat(200, 4, 0)
    x = ood.Outputs(logits=z, labels=z.argmax(axis=1))
    templates = ood.KLMatching().fit(x).templates
    assert templates == pytest.approx(np.full((4, 4), 0.25))  # none is left one-hot
    centroid = ood.SoftmaxCentroid().fit(x)
    assert np.isinf(centroid.limit).all()  # every row is right
    assert centroid.accept(x).all()
    members = np.stack([nearly_flat(50, 4, seed) for seed in range(3)])
    votes = ood.VoteEntropy().fit().score(ood.Outputs(members=members))
    one_hot = np.eye(4)[members.argmax(axis=2)]
    assert votes == pytest.approx(ood.VoteEntropy().fit().score(ood.Outputs(members=9 * one_hot)))


def test_a_policy_predicts_as_the_logits_do() -> None:
    x = ood.Outputs(logits=nearly_flat(60, 4, 1))
    scorer = ood.MSP().fit()
    policy = ood.Policy(scorer, ood.Threshold.at_tpr(scorer.score(x), 0.9), confidence=0.1)
    assert np.array_equal(policy.decide(x).prediction, x.logits.argmax(axis=1))


def test_a_spline_is_fitted_on_the_predictions_of_the_logits() -> None:
    z = nearly_flat(200, 4, 2)
    right = ood.Outputs(logits=z, labels=z.argmax(axis=1))
    fitted_spline = ood.SplineCalibration().fit(right)
    assert fitted_spline.values.min() > 0.9


@pytest.mark.parametrize("name", ["knn", "ssd", "mahalanobis_pp"])
@pytest.mark.parametrize("power", [-900, -600, 600, 900])
def test_directions_do_not_depend_on_the_size_of_features(
    name: str, power: int, train: ood.Outputs, x: ood.Outputs
) -> None:
    """Squares of such features vanish or overflow; their directions are those of the others."""
    expected = fitted(name, train).score(x)
    scorer = fitted(name, scaled(train, 2.0**power))
    assert np.array_equal(scorer.score(scaled(x, 2.0**power)), expected)
