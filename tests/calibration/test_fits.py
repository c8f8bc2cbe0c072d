"""What each calibrator fits, against outside libraries or a search of its stated objective."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from ood_toolkit import (
    BBQ,
    DAC,
    SPC,
    AdaptiveTemperature,
    AutoCalibration,
    BetaCalibration,
    DirichletCalibration,
    EnsembleTemperature,
    HistogramBinning,
    IsotonicCalibration,
    MatrixScaling,
    Outputs,
    SplineCalibration,
    Temperature,
    TemperedPerSample,
    VectorScaling,
)
from ood_toolkit.calibration.binning import bin_evidence
from ood_toolkit.calibration.folds import stratified_folds
from ood_toolkit.calibration.per_row import inverse_temperature
from ood_toolkit.calibration.self_consistency import corrected_probabilities, self_inconsistency
from ood_toolkit.errors import InputError, ToolkitWarning
from tests.calibration.cases import overconfident, softmax
from tests.reference.known import assert_digits, fixture

KNOWN = fixture("known_answers")


def nll(z: Any, labels: Any) -> float:
    return float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(z)), labels]))


def descended(objective: Any, start: Any) -> Any:
    """The least value that a search without our gradients finds."""
    return minimize(objective, start, jac="3-point", method="BFGS", options={"gtol": 1e-8})


# Vector, matrix, Dirichlet


def test_vector_is_the_least_likelihood() -> None:
    x = overconfident(200, seed=21, classes=3)
    fitted = VectorScaling().fit(x)

    def objective(t: Any) -> float:
        return nll(x.logits * t[:3] + t[3:], x.labels)

    found = descended(objective, np.array([0.3] * 3 + [0.0] * 3))
    ours = objective(np.concatenate([fitted.scale, fitted.shift]))
    assert ours <= found.fun + 1e-12
    np.testing.assert_allclose(fitted.scale, found.x[:3], atol=1e-4)
    np.testing.assert_allclose(fitted.shift, found.x[3:] - found.x[3:].mean(), atol=1e-4)
    assert fitted.shift.sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("made", "inputs"),
    [
        (MatrixScaling(off_diagonal=0.0), lambda z: z),
        (DirichletCalibration(off_diagonal=0.0), lambda z: scipy_log_softmax(z, axis=1)),
    ],
    ids=["matrix", "dirichlet"],
)
def test_without_regularisation_it_is_logistic_regression(made: Any, inputs: Any) -> None:
    x = overconfident(400, seed=22)
    reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=20_000)
    reference.fit(inputs(x.logits), x.labels)
    expected = reference.predict_proba(inputs(x.logits))
    np.testing.assert_allclose(softmax(made.fit(x).apply(x).logits), expected, atol=2e-5)


@pytest.mark.parametrize("intercept", ["same", 0.01])
@pytest.mark.parametrize("made", [MatrixScaling, DirichletCalibration])
def test_the_regularised_objective_is_least(made: Any, intercept: Any) -> None:
    x = overconfident(80, seed=23, classes=3)
    strength = 0.3
    fitted = made(off_diagonal=strength, intercept=intercept).fit(x)
    inputs = scipy_log_softmax(x.logits, axis=1) if made is DirichletCalibration else x.logits
    on_shift = strength if intercept == "same" else intercept

    def objective(t: Any) -> float:
        weight, shift = t[:9].reshape(3, 3), t[9:]
        off = sum(weight[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
        loss = nll(inputs @ weight.T + shift, x.labels)
        return float(loss + strength / 6 * off + on_shift / 3 * (shift**2).sum())

    found = descended(objective, np.concatenate([0.3 * np.eye(3).ravel(), np.zeros(3)]))
    ours = np.concatenate([fitted.weight.ravel(), fitted.shift])
    assert objective(ours) <= found.fun + 1e-11
    np.testing.assert_allclose(ours, found.x, atol=1e-3)


def test_auto_takes_the_strength_with_the_least_loss_left_out() -> None:
    x = overconfident(80, seed=24, classes=3)
    assert x.labels is not None
    losses = {}
    for strength in (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3):
        total = 0.0
        for left_out in stratified_folds(x.labels, 5):
            fitted = MatrixScaling(off_diagonal=strength).fit(x.rows(~left_out))
            held = x.rows(left_out)
            total += nll(fitted.apply(held).logits, held.labels) * left_out.sum()
        losses[strength] = total
    chosen = MatrixScaling().fit(x).strength
    assert losses[chosen] == pytest.approx(min(losses.values()), rel=1e-5)


def test_strong_regularisation_leaves_a_diagonal() -> None:
    fitted = MatrixScaling(off_diagonal=1e9).fit(overconfident(200, seed=25))
    assert np.abs(fitted.weight - np.diag(np.diag(fitted.weight))).max() < 1e-6
    assert np.abs(fitted.shift).max() < 1e-6


# One class against the others


def test_beta_is_logistic_regression_on_both_logarithms() -> None:
    x = overconfident(600, seed=26, classes=3, factor=1.5)
    fitted = BetaCalibration().fit(x)
    p = softmax(x.logits)
    free = 0
    for c in range(3):
        regressors = np.column_stack([np.log(p[:, c]), -np.log1p(-p[:, c])])
        reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
        reference.fit(regressors, x.labels == c)
        a, b = reference.coef_[0]
        if min(a, b) > 0:
            free += 1
            expected = [a, b, reference.intercept_[0]]
            np.testing.assert_allclose(fitted.coefficients[c], expected, rtol=1e-3)
    assert free >= 2


def beta_sample(a: float, b: float, c: float, rows: int, seed: int) -> Outputs:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.01, 0.99, rows)
    q = 1 / (1 + np.exp(-(a * np.log(p) - b * np.log(1 - p) + c)))
    labels = (rng.random(rows) < q).astype(np.int64)
    return Outputs(logits=np.log(np.stack([1 - p, p], axis=1)), labels=labels)


def test_beta_recovers_what_made_the_labels() -> None:
    for seed, true in enumerate(([0.7, 1.8, 0.4], [1.0, 1.0, 0.0])):
        x = beta_sample(*true, 20_000, seed)
        found = BetaCalibration().fit(x).coefficients
        p = softmax(x.logits)[:, 1]
        design = np.column_stack([np.log(p), -np.log1p(-p), np.ones_like(p)])
        q = 1 / (1 + np.exp(-design @ true))
        # the standard errors that the likelihood's curvature promises
        errors = np.sqrt(np.diag(np.linalg.inv(design.T @ (design * (q * (1 - q))[:, None]))))
        assert (np.abs(found[1] - true) < 4 * errors).all()
        # two classes are each other's mirror image
        np.testing.assert_allclose(found[0], [found[1, 1], found[1, 0], -found[1, 2]], atol=1e-4)


def test_beta_variants_tie_their_coefficients() -> None:
    x = beta_sample(0.7, 1.8, 0.4, 5000, 2)
    am = BetaCalibration(variant="am").fit(x).coefficients
    assert np.array_equal(am[:, 0], am[:, 1])
    ab = BetaCalibration(variant="ab").fit(x).coefficients
    np.testing.assert_allclose(ab[:, 2], (ab[:, 0] - ab[:, 1]) * math.log(2))
    at_half = Outputs(logits=np.zeros((1, 2)))
    new = BetaCalibration(variant="ab").fit(x).apply(at_half).logits
    np.testing.assert_allclose(softmax(new), [[0.5, 0.5]])


def test_beta_keeps_its_coefficients_above_zero() -> None:
    fitted = BetaCalibration().fit(beta_sample(-0.5, 1.0, 0.0, 20_000, 3))
    a, b, c = fitted.coefficients[1]
    assert a == 0.0
    # with a = 0, what is left is fitted by itself
    x = beta_sample(-0.5, 1.0, 0.0, 20_000, 3)
    p = softmax(x.logits)[:, 1]
    reference = LogisticRegression(C=np.inf, tol=1e-12).fit(-np.log1p(-p)[:, None], x.labels)
    np.testing.assert_allclose([b, c], [reference.coef_[0, 0], reference.intercept_[0]], rtol=1e-3)


class Frozen(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that says what it is given."""

    def fit(self, X: Any, y: Any) -> Frozen:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return X

    def predict(self, X: Any) -> Any:
        return X.argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 5])
def test_isotonic_is_scikit_learn_s(classes: int) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    x = overconfident(400, seed=27, classes=classes)
    test = overconfident(200, seed=28, classes=classes)
    frozen = FrozenEstimator(Frozen().fit(softmax(x.logits), x.labels))
    reference = CalibratedClassifierCV(frozen, method="isotonic").fit(softmax(x.logits), x.labels)
    expected = reference.predict_proba(softmax(test.logits))
    found = softmax(IsotonicCalibration().fit(x).apply(test).logits)
    np.testing.assert_allclose(found, expected, atol=2e-8)


def test_isotonic_over_all_classes_keeps_their_order() -> None:
    x, test = overconfident(300, seed=29), overconfident(500, seed=30)
    new = IsotonicCalibration(mode="multi_class").fit(x).apply(test).logits
    order = np.argsort(test.logits, axis=1)
    assert (np.diff(np.take_along_axis(new, order, axis=1), axis=1) > 0).all()


def test_histogram_counts_its_bins() -> None:
    x = overconfident(150, seed=31, classes=3)
    fitted = HistogramBinning(bins=7).fit(x)
    p = softmax(x.logits)
    for c in range(3):
        for k in range(7):
            inside = [i for i in range(150) if k / 7 < p[i, c] <= (k + 1) / 7]
            hits = [x.labels[i] == c for i in inside]
            expected = sum(hits) / len(hits) if hits else (2 * k + 1) / 14
            assert fitted.values[fitted.begins[c] + k] == pytest.approx(expected, abs=1e-12)


def test_evidence_of_binnings_is_the_known_one() -> None:
    p, y = np.array(KNOWN["bbq"]["p"]), np.array(KNOWN["bbq"]["y"])
    for edges, key in (([0.0, 1.0], "ls_1bin"), ([0.0, 0.5, 1.0], "ls_2bin")):
        inside = [(low < p) & (p <= high) for low, high in itertools.pairwise(edges)]
        rows = np.array([m.sum() for m in inside])
        hits = np.array([y[m].sum() for m in inside])
        assert_digits(bin_evidence(rows, hits, np.array(edges)), KNOWN["bbq"][key])


def test_bbq_averages_the_binnings() -> None:
    """All binnings of one class, by plain counting, at every validation row."""
    x = overconfident(90, seed=32, classes=2)
    p = softmax(x.logits)[:, 1]
    y = [bool(label == 1) for label in x.labels]
    ordered = sorted(p)
    models = []
    root = 90 ** (1 / 3)
    for count in range(max(1, int(root / 10)), min(math.ceil(90 / 5), math.ceil(10 * root)) + 1):
        cuts = [round(k * 90 / count) for k in range(1, count)]
        inner = [(ordered[c - 1] + ordered[c]) / 2 for c in cuts]
        edges = [0.0, *inner, 1.0]
        score, means = 0.0, []
        for low, high in itertools.pairwise(edges):
            hits = [y[i] for i in range(90) if low < p[i] <= high]
            n, m = len(hits), sum(hits)
            weight = 2 / count
            a = weight * (low + high) / 2
            b = weight - a
            lg = math.lgamma
            score += lg(weight) - lg(n + weight) + lg(m + a) - lg(a) + lg(n - m + b) - lg(b)
            means.append(m / n if n else (low + high) / 2)
        models.append((edges, means, score))
    top = max(score for *_, score in models)
    total = sum(math.exp(score - top) for *_, score in models)
    fitted = BBQ().fit(x)
    places = fitted.edges[fitted.begins[1] + 1 :]
    values = fitted.values[fitted.begins[1] :]
    for q in p:
        expected = 0.0
        for edges, means, score in models:
            k = next(j for j in range(len(means)) if q <= edges[j + 1])
            expected += math.exp(score - top) / total * means[k]
        found = values[np.searchsorted(places, q, side="left") - 1]
        assert found == pytest.approx(expected, abs=1e-12)


# The top label


def test_spline_is_the_least_squares_natural_spline() -> None:
    """In another basis of the same splines: 1, t and Hastie's truncated cubes."""
    x = overconfident(250, seed=33)
    fitted = SplineCalibration().fit(x)
    p = softmax(x.logits)
    order = np.argsort(p.max(axis=1), kind="stable")
    right = (p.argmax(axis=1) == x.labels)[order]
    t = np.arange(1, 251) / 250
    knots = np.linspace(0, 1, 6)

    def cube(s: Any, k: int, slope: bool) -> Any:
        def part(at: float) -> Any:
            over = np.maximum(s - at, 0)
            return 3 * over**2 if slope else over**3

        return (part(knots[k]) - part(knots[-1])) / (knots[-1] - knots[k])

    def basis(s: Any, slope: bool) -> Any:
        cubes = [cube(s, k, slope) - cube(s, 4, slope) for k in range(4)]
        first = [np.zeros_like(s), np.ones_like(s)] if slope else [np.ones_like(s), s]
        return np.stack([*first, *cubes], axis=1)

    weights = np.linalg.lstsq(basis(t, False), np.cumsum(right) / 250, rcond=None)[0]
    expected = np.clip(basis(t, True) @ weights, 1 / 500, 1 - 1 / 500)
    np.testing.assert_allclose(fitted.places, np.sort(p.max(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(fitted.values, expected, atol=1e-9)


def test_spline_leaves_the_proportions_of_the_others() -> None:
    x = overconfident(250, seed=34)
    old = softmax(x.logits)
    new = softmax(SplineCalibration().fit(x).apply(x).logits)
    best = old.argmax(axis=1)
    for i in range(len(old)):
        others = [c for c in range(4) if c != best[i]]
        ratio = new[i, others] / old[i, others]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


# Mixtures and temperatures of rows


@pytest.mark.parametrize("loss", ["nll", "brier"])
def test_ets_weights_are_the_best_of_the_simplex(loss: Any) -> None:
    rng = np.random.default_rng(5)
    x = overconfident(400, seed=35)
    noisy = np.where(rng.random(400) < 0.15, rng.integers(0, 4, 400), x.labels)
    x = replace(x, labels=noisy)
    fitted = EnsembleTemperature(loss=loss).fit(x)
    assert fitted.temperature == Temperature().fit(x).temperature
    parts = [softmax(x.logits / fitted.temperature), softmax(x.logits), np.full((400, 4), 0.25)]
    hot = np.eye(4)[noisy]

    def objective(w: Any) -> float:
        p = sum(a * part for a, part in zip(w, parts, strict=True))
        if loss == "nll":
            return float(-np.log((p * hot).sum(axis=1)).mean())
        return float(((p - hot) ** 2).sum(axis=1).mean())

    grid = [(a / 100, b / 100, 1 - (a + b) / 100) for a in range(101) for b in range(101 - a)]
    best = min(objective(w) for w in grid)
    ours = objective(fitted.weights)
    assert best - 1e-3 < ours <= best + 1e-12
    assert fitted.weights.sum() == pytest.approx(1.0)
    assert (fitted.weights >= 0).all()


def test_dac_distances_and_weights() -> None:
    train, x = overconfident(60, seed=36), overconfident(200, seed=37)
    fitted = DAC(k=3).fit(x, train)
    assert fitted.layers == ("early",)
    columns = []
    for name in ("features", "early"):
        bank, query = (r.features if name == "features" else r.layers["early"] for r in (train, x))
        bank = bank / np.linalg.norm(bank, axis=1)[:, None]
        query = query / np.linalg.norm(query, axis=1)[:, None]
        found, _ = NearestNeighbors(n_neighbors=3).fit(bank).kneighbors(query)
        columns.append(found[:, -1])
    design = np.column_stack([np.ones(200), *columns])
    np.testing.assert_allclose(fitted.temperatures(x), design @ fitted.weights, rtol=1e-9)

    def objective(w: Any) -> float:
        return nll(x.logits / np.maximum(design @ w, 1e-20)[:, None], x.labels)

    bounds = [(-100, 100), (0, 1e4), (0, 1e4)]
    found = minimize(objective, np.ones(3), bounds=bounds, method="Nelder-Mead",
                     options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 800})  # fmt: skip
    assert objective(fitted.weights) <= found.fun + 1e-9
    assert (fitted.weights[1:] >= 0).all()


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1.0, 30.0, 1e4])
def test_dac_is_no_worse_than_one_temperature(factor: float) -> None:
    """Whatever the scale of the logits; a search from 1 would be lost on most of them."""
    train, x = overconfident(60, seed=36), overconfident(200, seed=37, factor=1.0)
    x = replace(x, logits=factor * x.logits)
    single = nll(Temperature().fit(x).apply(x).logits, x.labels)
    assert nll(DAC(k=3).fit(x, train).apply(x).logits, x.labels) <= single + 1e-12


def test_dac_needs_training_features() -> None:
    x = overconfident(30, seed=38)
    with pytest.raises(InputError, match="dac needs training outputs with features"):
        DAC(k=2).fit(x)
    with pytest.warns(ToolkitWarning, match="k = 50 is more than the 30 training rows"):
        fitted = DAC().fit(x, x)
    with pytest.raises(InputError, match="dac needs layers/early"):
        fitted.apply(replace(x, layers={}))


def test_adaptive_temperature_of_the_known_rows() -> None:
    poly = KNOWN["adaptive_temp_poly"]
    entropies = np.array([float(h) for h in poly])
    expected = [max(v, 1.0) for v in poly.values()]
    np.testing.assert_allclose(inverse_temperature(entropies), expected, atol=1e-11)
    for name in ("unif10", "A", "peaked", "ten"):
        known = KNOWN[f"adaptive_temp_{name}"]
        x = Outputs(logits=np.array([known["z"]]))
        p = softmax(AdaptiveTemperature().fit().apply(x).logits)[0]
        assert_digits(p, known["out"])


def test_adaptive_temperature_never_adds_entropy() -> None:
    z = np.random.default_rng(0).normal(size=(500, 20)) * np.linspace(0.01, 8, 500)[:, None]

    def entropy(logits: Any) -> Any:
        return -(softmax(logits) * scipy_log_softmax(logits, axis=1)).sum(axis=1)

    after = AdaptiveTemperature().fit().apply(Outputs(logits=z)).logits
    assert (entropy(after) <= entropy(z) + 1e-12).all()


@pytest.mark.parametrize("key", ["0.1", "0.5", "1.0"])
def test_temperature_per_sample_of_the_known_row(key: str) -> None:
    known = KNOWN[f"tempnet_opt_rho{key}"]
    x = Outputs(logits=np.array([known["z"]], dtype=np.float64))
    fitted = TemperedPerSample(divergence=float(key)).fit()
    assert_digits(fitted.temperatures(x), known["tau"])
    # in proportion to the logits
    np.testing.assert_allclose(
        fitted.temperatures(Outputs(logits=7 * x.logits)), 7 * fitted.temperatures(x), rtol=1e-12
    )


def test_temperature_per_sample_solves_its_equation() -> None:
    z = np.random.default_rng(3).normal(size=(40, 6)) * 4

    def excess(log_t: float, row: Any) -> float:
        q = softmax((row / math.exp(log_t))[None])[0]
        return float(math.log(6) + (q * np.log(np.maximum(q, 1e-300))).sum() - 0.8)

    expected = [math.exp(brentq(excess, -10, 10, args=(row,), xtol=1e-14)) for row in z]
    found = TemperedPerSample(divergence=0.8).fit().temperatures(Outputs(logits=z))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_temperature_per_sample_of_rows_that_cannot_reach_it() -> None:
    x = Outputs(logits=np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 0.0]]))
    found = TemperedPerSample(divergence=1.0).fit().temperatures(x)
    np.testing.assert_allclose(found, [1e-6, 2e-6], rtol=1e-9)
    assert np.isfinite(TemperedPerSample(divergence=1.0).fit().apply(x).logits).all()


def test_the_divergence_has_the_least_loss() -> None:
    x = overconfident(200, seed=39)
    fitted = TemperedPerSample().fit(x)
    ours = nll(fitted.apply(x).logits, x.labels)
    for divergence in np.linspace(0.02, 1.38, 60):
        other = TemperedPerSample(divergence=float(divergence)).fit().apply(x).logits
        assert ours <= nll(other, x.labels) + 1e-9


# Self-consistency


def test_self_inconsistency_of_the_known_row() -> None:
    known = KNOWN["spc_cls"]
    p, mar = np.array([known["p"]]), np.array([known["mar"]])
    assert_digits(self_inconsistency(p, mar), known["sds"])
    np.testing.assert_allclose(2 * p * (1 - p), [known["ideal"]], atol=1e-12)
    assert self_inconsistency(p, np.array([known["ideal"]])) == pytest.approx(0.0, abs=1e-12)


def test_corrections_of_ideal_heads_give_the_true_probability() -> None:
    rng = np.random.default_rng(0)
    p, true = (softmax(rng.normal(size=(50, 4))) for _ in range(2))
    up, down = true * (1 - p), (1 - true) * p
    np.testing.assert_allclose(corrected_probabilities(p, up + down, up, down), true, atol=1e-12)
    # heads that contradict each other are not believed
    assert np.array_equal(corrected_probabilities(p, up + down + 0.06, up, down), p)


def test_the_heads_learn_the_errors() -> None:
    x = overconfident(2000, seed=40, dims=3, classes=3)
    fitted = SPC(hidden=32, epochs=60, learning_rate=0.01).fit(x)
    test = overconfident(2000, seed=41, dims=3, classes=3)
    before, after = nll(test.logits, test.labels), nll(fitted.apply(test).logits, test.labels)
    assert after < before - 0.05
    scores = fitted.score(test)
    assert (scores <= 0).all()
    far = replace(test, features=20 * test.features)
    assert np.median(fitted.score(far)) < np.median(scores) - 0.1


def test_the_same_seed_gives_the_same_heads() -> None:
    x = overconfident(60, seed=42)
    made = SPC(hidden=4, epochs=3, seed=5)
    assert np.array_equal(made.fit(x).first, made.fit(x).first)
    assert not np.array_equal(made.fit(x).first, SPC(hidden=4, epochs=3).fit(x).first)


# The choice


def test_auto_takes_the_simplest_that_is_as_good() -> None:
    x = overconfident(300, seed=43)
    names = ("temperature", "vector", "histogram")
    fitted = AutoCalibration(candidates=names, folds=4).fit(x)
    makers: dict[str, Any] = {
        "temperature": Temperature(), "vector": VectorScaling(), "histogram": HistogramBinning(),
    }  # fmt: skip
    losses = {}
    for name in names:
        rows = np.empty(300)
        for left_out in stratified_folds(x.labels, 4):
            held = x.rows(left_out)
            z = makers[name].fit(x.rows(~left_out)).apply(held).logits
            rows[left_out] = logsumexp(z, axis=1) - z[np.arange(len(z)), held.labels]
        losses[name] = rows
    assert dict(fitted.losses) == pytest.approx({n: v.mean() for n, v in losses.items()})
    best = min(losses.values(), key=lambda v: v.mean())
    good = [
        n for n in names
        if (losses[n] - best).mean() <= (losses[n] - best).std(ddof=1) / math.sqrt(300)
    ]  # fmt: skip
    assert fitted.chosen.name == good[0] == "temperature"
    assert fitted.report()["keeps_prediction"] is True


def test_auto_takes_more_where_more_is_needed() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(2000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(true)])
    x = Outputs(logits=true + np.array([2.0, 0.0, -2.0]), labels=labels)
    assert AutoCalibration().fit(x).chosen.name == "vector"


def test_auto_says_which_candidate_it_left_out() -> None:
    x = overconfident(100, seed=44)
    rare = np.where(x.labels == 3, 0, x.labels)
    rare[0] = 3  # one row: a fold without it has none
    x = replace(x, labels=rare)
    with pytest.warns(ToolkitWarning, match="auto leaves out vector: class 3 has no row"):
        fitted = AutoCalibration(candidates=("temperature", "vector")).fit(x)
    assert [name for name, _ in fitted.losses] == ["temperature"]
    with (
        pytest.warns(ToolkitWarning, match="auto leaves out vector"),
        pytest.raises(InputError, match="no candidate could be fitted"),
    ):
        AutoCalibration(candidates=("vector",)).fit(x)
    with pytest.raises(InputError, match="as many rows as folds"):
        AutoCalibration().fit(x.rows(slice(3)))


def test_folds_deal_out_each_class() -> None:
    labels = np.repeat([0, 1, 2, 3], [50, 7, 1, 12])
    folds = list(stratified_folds(labels, 5))
    assert np.array_equal(np.sum(folds, axis=0), np.ones(70))
    for c, count in enumerate((50, 7, 1, 12)):
        each = [int((fold & (labels == c)).sum()) for fold in folds]
        assert sum(each) == count
        assert max(each) - min(each) <= 1
    assert max(int(fold.sum()) for fold in folds) <= 15
