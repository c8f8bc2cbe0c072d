"""Thresholds at a selective risk, batches and conformal sets: counting and simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, false_discovery_control, kstest

from ood_toolkit import Outputs
from ood_toolkit.decision import (
    ConformalSets,
    Threshold,
    benjamini_hochberg,
    conformal_quantile,
    expected_error_threshold,
    nonconformity,
    selective_risk_threshold,
)
from ood_toolkit.errors import BadParameter, InputError
from tests.calibration.cases import overconfident, softmax
from tests.decision.bands import REPETITIONS, inside_band, not_above_band
from tests.reference.known import assert_digits, fixture

KNOWN = fixture("known_answers")


def rows_of(rng: Any, rows: int) -> tuple[Any, Any]:
    """Confidence u in [0, 1]; right with probability 1/2 + u/2: the risk above t is (1-t)/4."""
    confidence = rng.random(rows)
    return confidence, rng.random(rows) < 0.5 + 0.5 * confidence


# Selective risk


def test_the_selective_risk_is_kept_as_promised() -> None:
    rng = np.random.default_rng(20_250_711)
    failed, coverage = 0, []
    for _ in range(REPETITIONS):
        found = selective_risk_threshold(*rows_of(rng, 400), risk=0.15, delta=0.1)
        coverage.append(found.coverage)
        failed += found.value < np.inf and (1 - found.value) / 4 > 0.15
    assert not_above_band(failed, 0.1)
    # the best threshold accepts 60 %; a test that accepts nothing keeps any promise
    assert np.mean(coverage) > 0.3


def test_thresholds_are_tested_from_the_surest_down() -> None:
    rng = np.random.default_rng(3)
    confidence, correct = rows_of(rng, 150)
    found = selective_risk_threshold(confidence, correct, risk=0.2, delta=0.1)
    order = np.argsort(-confidence)

    def tail(errors: int, k: int) -> float:
        return sum(math.comb(k, e) * 0.2**e * 0.8 ** (k - e) for e in range(errors + 1))

    first = next(k for k in range(1, 151) if tail(3, k) <= 0.1)
    last = 0
    for k in range(first, 151):
        if tail(int((~correct[order[:k]]).sum()), k) > 0.1:
            break
        last = k
    assert last > first
    assert found.coverage == last / 150
    assert found.value == confidence[order[last - 1]]
    assert found.risk == (~correct[order[:last]]).mean()


def test_nothing_may_be_accepted() -> None:
    found = selective_risk_threshold(np.arange(100.0), np.zeros(100, dtype=bool), risk=0.1)
    assert (found.value, found.coverage) == (np.inf, 0.0)
    assert np.isnan(found.risk)
    found = expected_error_threshold(np.arange(100.0), np.zeros(100, dtype=bool), risk=0.01)
    assert found.value == np.inf


def test_everything_may_be_accepted() -> None:
    found = selective_risk_threshold(np.arange(100.0), np.ones(100, dtype=bool), risk=0.1)
    assert (found.value, found.coverage, found.risk) == (0.0, 1.0, 0.0)


def test_ties_are_accepted_together() -> None:
    confidence = np.repeat([2.0, 1.0], 200)
    correct = np.repeat([True, False], 200)
    found = selective_risk_threshold(confidence, correct, risk=0.1)
    assert (found.value, found.coverage) == (2.0, 0.5)
    assert expected_error_threshold(confidence, correct, risk=0.1).value == 2.0


def test_the_expected_error_is_kept_as_promised() -> None:
    """E[accepted and wrong] over 2,000 draws, each judged by its true value."""
    rng = np.random.default_rng(20_250_712)
    lost = []
    for _ in range(REPETITIONS):
        value = expected_error_threshold(*rows_of(rng, 100), risk=0.1).value
        t = min(value, 1.0)
        lost.append((1 - t) ** 2 / 4)  # P(u >= t) times the risk above t
    error = np.std(lost) / math.sqrt(REPETITIONS)
    assert np.mean(lost) <= 0.1 + 2.58 * error
    assert np.mean(lost) > 0.08


@pytest.mark.parametrize("call", [selective_risk_threshold, expected_error_threshold])
def test_wrong_requests_for_a_risk(call: Any) -> None:
    for risk in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(BadParameter, match="risk must lie in"):
            call([1.0], [True], risk)
    with pytest.raises(InputError, match=r"confidence\[1\] is NaN"):
        call([1.0, np.nan], [True, True], 0.5)
    with pytest.raises(InputError, match=r"8 labelled rows cannot .* it takes (59|19)"):
        call(np.arange(8.0), np.ones(8, dtype=bool), 0.05)
    with pytest.raises(InputError, match="correct has 1 rows"):
        call([1.0, 2.0], [True], 0.5)


# Batches


@given(st.lists(st.floats(0, 1), max_size=30), st.sampled_from([0.01, 0.1, 0.5]))
def test_benjamini_and_hochberg_s_procedure(p: list[float], level: float) -> None:
    found = benjamini_hochberg(p, level)
    if p:
        assert np.array_equal(found, false_discovery_control(p) <= level) or any(
            abs(a - level) < 1e-12 for a in false_discovery_control(p)
        )
    assert found.shape == (len(p),)


def test_few_of_the_flagged_are_in_distribution() -> None:
    """Conformal p-values of one reference sample are not independent; the promise holds."""
    rng = np.random.default_rng(20_250_713)
    shares, power = [], []
    for _ in range(REPETITIONS):
        threshold = Threshold.at_tpr(rng.normal(size=200))
        scores = np.concatenate([rng.normal(size=40), rng.normal(-4.0, size=10)])
        flagged = benjamini_hochberg(threshold.p_value(scores), 0.2)
        shares.append(flagged[:40].sum() / max(flagged.sum(), 1))
        power.append(flagged[40:].mean())
    error = np.std(shares) / math.sqrt(REPETITIONS)
    assert np.mean(shares) <= 0.2 * 40 / 50 + 2.58 * error
    assert np.mean(power) > 0.5


@pytest.mark.parametrize("bad", [[1.1], [-0.1], [0.5, np.nan], [[0.5]]])
def test_what_is_no_p_value(bad: Any) -> None:
    with pytest.raises(InputError, match="p_values"):
        benjamini_hochberg(bad)
    with pytest.raises(BadParameter, match="level must lie in"):
        benjamini_hochberg([0.5], 0.0)


# p-values


def test_conformal_p_values_are_super_uniform() -> None:
    rng = np.random.default_rng(20_250_714)
    draws = rng.normal(size=(REPETITIONS, 31)).round(1)  # with ties
    p = np.array([Threshold.at_tpr(row[:-1]).p_value(row[-1:])[0] for row in draws])
    for level in (0.05, 0.1, 0.2, 0.5, 0.9):
        assert not_above_band(int((p <= level).sum()), level)


# Conformal sets


def test_scores_of_the_known_row() -> None:
    known = KNOWN["conformal_scores"]
    p, u = np.array([known["p"]]), np.array([known["U"]])
    assert_digits(nonconformity(p, "lac", u), known["lac"])
    assert_digits(nonconformity(p, "aps", u), known["aps"])
    assert_digits(nonconformity(p, "raps", u, penalty=0.01, rank_free=2), known["raps_l0p01_k2"])
    assert_digits(nonconformity(p, "saps", u, penalty=0.2), known["saps_l0p2"])
    assert_digits(nonconformity(p, "aps", 0 * u), known["aps_nonrandom"])


def test_known_quantiles() -> None:
    for key, expected in KNOWN["conformal_quantile"].items():
        alpha = float(key.removeprefix("n9_alpha"))
        assert conformal_quantile(np.arange(1, 10) / 10, alpha) == float(expected)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=8), st.floats(0, 1))
def test_scores_equal_the_plain_sums(weights: list[float], u: float) -> None:
    p = np.array([weights]) / sum(weights)
    order = sorted(range(len(weights)), key=lambda c: (-p[0, c], c))
    for score in ("aps", "raps", "saps"):
        found = nonconformity(p, score, np.array([u]), penalty=0.3, rank_free=1)[0]
        for rank, c in enumerate(order, start=1):
            before = math.fsum(p[0, other] for other in order[: rank - 1])
            expected = before + (1 - u) * p[0, c]
            if score == "raps":
                expected += 0.3 * max(0, rank - 1)
            if score == "saps":
                top = p[0, order[0]]
                expected = u * top if rank == 1 else top + 0.3 * (rank - 2 + u)
            assert found[c] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.1), (60, 0.2), (500, 0.05)])
def test_the_quantile_covers_as_its_beta_law_says(n: int, alpha: float) -> None:
    """Of uniform scores the quantile is the coverage: 2,000 draws against the law."""
    rng = np.random.default_rng(20_250_716)
    covered = [conformal_quantile(rng.random(n), alpha) for _ in range(REPETITIONS)]
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    law = beta(rank, n + 1 - rank)
    assert kstest(covered, law.cdf).pvalue > 0.01
    for level in (0.01, 0.05, 0.5, 0.95):
        assert inside_band(int((np.array(covered) <= law.ppf(level)).sum()), level)


@pytest.mark.parametrize("score", ["lac", "aps", "raps", "saps"])
def test_coverage_follows_its_beta_law(score: Any) -> None:
    """Coverage given the calibration rows is Beta(n + 1 - l, l), l = floor((n + 1) alpha)."""
    n, alpha, repetitions = 60, 0.2, 150
    rng = np.random.default_rng(20_250_715)
    x = overconfident(6000, seed=20, factor=1.5)
    outside, covered = 0, []
    low, high = beta.ppf([0.05, 0.95], n + 1 - int((n + 1) * alpha), int((n + 1) * alpha))
    for i in range(repetitions):
        order = rng.permutation(len(x))
        made = ConformalSets(alpha, score, penalty=0.1, rank_free=1, seed=2 * i)
        fitted = made.fit(x.rows(order[:n]))
        coverage = fitted.report(x.rows(order[n : n + 1500])).coverage
        covered.append(coverage)
        # the coverage itself is seen up to the noise of 1,500 rows
        outside += not low - 0.015 <= coverage <= high + 0.015
    assert outside <= binom.ppf(0.995, repetitions, 0.1)
    error = np.std(covered) / math.sqrt(repetitions)
    promised = math.ceil((n + 1) * (1 - alpha)) / (n + 1)
    assert abs(np.mean(covered) - promised) < 3 * error + 0.003


def test_by_class_each_class_is_covered() -> None:
    x = overconfident(12_000, seed=21)
    half = np.arange(12_000) < 6000
    fitted = ConformalSets(0.1, by_class=True).fit(x.rows(half))
    together = ConformalSets(0.1).fit(x.rows(half))
    assert fitted.quantiles.shape == (4,)
    test = x.rows(~half)
    by_class = fitted.report(test).coverage_by_class
    rows = np.bincount(test.labels)
    assert (np.abs(by_class - 0.9) < 4 * np.sqrt(0.09 / rows)).all()
    assert np.abs(together.report(test).coverage_by_class - 0.9).max() > 0.02


def test_the_report_counts() -> None:
    x = overconfident(300, seed=22)
    fitted = ConformalSets(0.2, "aps").fit(x)
    sets = fitted.sets(x)
    report = fitted.report(x)
    size = [int(row.sum()) for row in sets]
    held = [bool(sets[i, label]) for i, label in enumerate(x.labels)]
    assert report.coverage == sum(held) / 300
    assert report.size == sum(size) / 300
    assert report.singletons == size.count(1) / 300
    single = [h for h, s in zip(held, size, strict=True) if s == 1]
    assert report.singleton_accuracy == pytest.approx(sum(single) / len(single))
    assert report.empty == size.count(0) / 300


def test_without_chance_sets_are_those_of_the_definition() -> None:
    x = overconfident(200, seed=23)
    fitted = ConformalSets(0.2, "aps", randomized=False).fit(x)
    p = softmax(x.logits)
    scores = []
    for row, label in zip(p, x.labels, strict=True):
        scores.append(sum(v for v in row if v > row[label]) + row[label])
    quantile = sorted(scores)[math.ceil(201 * 0.8) - 1]
    assert fitted.quantiles[0] == pytest.approx(quantile)
    for row, found in zip(p, fitted.sets(x), strict=True):
        expected = [sum(v for v in row if v > q) + q <= quantile + 1e-12 for q in row]
        assert found.tolist() == expected


def test_too_few_rows_put_every_class_in_the_set() -> None:
    x = overconfident(8, seed=24)
    assert ConformalSets(0.05).fit(x).sets(x).all()


def test_wrong_requests_for_sets() -> None:
    x = overconfident(30, seed=25)
    for options in ({"alpha": 0.0}, {"alpha": 1.0}, {"score": "best"}, {"penalty": -1.0},
                    {"rank_free": -1}, {"seed": -1}):  # fmt: skip
        with pytest.raises(BadParameter):
            ConformalSets(**options)  # type: ignore[arg-type]
    with pytest.raises(BadParameter, match="alpha"):
        conformal_quantile([1.0], 1.0)
    assert x.labels is not None
    with pytest.raises(InputError, match="class 2 has no row"):
        ConformalSets(by_class=True).fit(x.rows(x.labels != 2))
    with pytest.raises(InputError, match="need logits and labels"):
        ConformalSets().fit(Outputs(logits=x.logits))
    with pytest.raises(InputError, match="there are none"):
        ConformalSets().fit(x.rows(slice(0)))
    with pytest.raises(InputError, match="labels: row 0 is -1"):
        ConformalSets().fit(Outputs(logits=x.logits, labels=-np.ones(30, dtype=int)))
    fitted = ConformalSets().fit(x)
    with pytest.raises(InputError, match="5 classes, but the sets were fitted on 4"):
        fitted.sets(overconfident(3, seed=1, classes=5))
    with pytest.raises(InputError, match="prediction sets need logits"):
        fitted.sets(Outputs(features=x.features))
