"""Conformal sets: known rows, plain sums, simulation, and the choice of a penalty."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, kstest

from ood_toolkit import Outputs
from ood_toolkit.decision import (
    PENALTIES,
    ConformalSets,
    conformal_quantile,
    nonconformity,
    tuned_sets,
)
from ood_toolkit.decision.row_chance import row_chance
from ood_toolkit.errors import BadParameter, InputError, ToolkitWarning
from tests.calibration.cases import overconfident, softmax
from tests.decision.bands import REPETITIONS, inside_band
from tests.reference.known import assert_digits, fixture

KNOWN = fixture("known_answers")


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


@pytest.mark.parametrize(("score", "usual"), [("raps", 0.01), ("saps", 0.2)])
def test_the_penalty_is_the_usual_one_of_the_score(score: Any, usual: float) -> None:
    x = overconfident(200, seed=27, classes=8)
    found = ConformalSets(score=score, rank_free=2).scores(x, 0)
    expected = ConformalSets(score=score, rank_free=2, penalty=usual).scores(x, 0)
    assert np.array_equal(found, expected)


def test_too_few_rows_put_every_class_in_the_set() -> None:
    x = overconfident(18, seed=24)
    with pytest.warns(ToolkitWarning, match=r"every set holds every class; it takes 19$"):
        fitted = ConformalSets(0.05).fit(x)
    assert fitted.sets(x).all()
    enough = ConformalSets(0.05).fit(overconfident(19, seed=24))
    assert np.isfinite(enough.quantiles).all()
    with pytest.warns(ToolkitWarning, match=r"class \d has too few rows for alpha 0.05"):
        ConformalSets(0.05, by_class=True).fit(overconfident(60, seed=24))


def test_probabilities_are_no_logits() -> None:
    x = overconfident(40, seed=26)
    with pytest.warns(ToolkitWarning, match="look like probabilities; take the log"):
        ConformalSets(0.2).fit(Outputs(logits=softmax(x.logits), labels=x.labels))


def test_wrong_requests_for_sets() -> None:
    x = overconfident(30, seed=25)
    for options in ({"alpha": 0.0}, {"alpha": 1.0}, {"score": "best"}, {"penalty": -1.0},
                    {"penalty": math.inf}, {"penalty": math.nan},
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


# Choosing the penalty


def test_the_penalty_is_the_one_with_the_smallest_sets() -> None:
    """The whole choice again with plain loops."""
    x = overconfident(200, seed=31, classes=6)
    rule = ConformalSets(0.2, "raps", seed=5)
    found = tuned_sets(rule, x)
    order = np.random.default_rng(5).permutation(200)
    part, rest = x.rows(order[:60]), x.rows(order[60:])
    p = softmax(part.logits)
    ranks = sorted(
        sum(v > row[label] for v in row) + 1 for row, label in zip(p, part.labels, strict=True)
    )
    rank_free = ranks[math.ceil(0.8 * 59)]
    assert found.rule.rank_free == rank_free
    sizes = []
    u = row_chance(np.asarray(part.logits), 5)
    for penalty in PENALTIES["raps", "size"]:
        scores = [nonconformity(p[i : i + 1], "raps", u[i : i + 1], penalty=penalty,
                                rank_free=rank_free)[0] for i in range(60)]  # fmt: skip
        held = sorted(s[label] for s, label in zip(scores, part.labels, strict=True))
        quantile = held[math.ceil(61 * 0.8) - 1]
        sizes.append(sum(int((s <= quantile).sum()) for s in scores) / 60)
    assert found.rule.penalty == PENALTIES["raps", "size"][sizes.index(min(sizes))]
    # the quantile is that of the other rows alone
    assert found.quantiles[0] == found.rule.fit(rest).quantiles[0]


def test_rows_that_choose_are_not_rows_that_calibrate() -> None:
    """Labels of the rows that are set aside change the choice, and not the quantile."""
    x = overconfident(100, seed=32)
    order = np.random.default_rng(0).permutation(100)
    labels = np.array(x.labels)
    labels[order[:30]] = (labels[order[:30]] + 1) % 4
    rule = ConformalSets(0.2, "saps")
    first, second = tuned_sets(rule, x), tuned_sets(rule, replace(x, labels=labels))
    chosen = replace(rule, penalty=first.rule.penalty)
    assert first.quantiles[0] == chosen.fit(x.rows(order[30:])).quantiles[0]
    chosen = replace(rule, penalty=second.rule.penalty)
    assert second.quantiles[0] == chosen.fit(x.rows(order[30:])).quantiles[0]


def test_adaptive_sets_cover_alike_in_every_stratum() -> None:
    x = overconfident(600, seed=33, classes=8)
    rule = ConformalSets(0.1, "raps")
    found = tuned_sets(rule, x, by="adaptiveness")
    part = x.rows(np.random.default_rng(0).permutation(600)[:180])
    worst = []
    for penalty in PENALTIES["raps", "adaptiveness"]:
        tried = replace(found.rule, penalty=penalty)
        scores = tried.scores(part, 0)
        own = scores[np.arange(180), part.labels]
        sets = scores <= conformal_quantile(own, 0.1)
        by_stratum: dict[int, list[bool]] = {}
        for i in range(180):
            size = int(sets[i].sum())
            limits = [(0, 1), (2, 3), (4, 6), (7, 10), (11, 100)]
            stratum = next(n for n, (low, high) in enumerate(limits) if low <= size <= high)
            by_stratum.setdefault(stratum, []).append(bool(sets[i, part.labels[i]]))
        worst.append(max(abs(sum(h) / len(h) - 0.9) for h in by_stratum.values()))
    assert found.rule.penalty == PENALTIES["raps", "adaptiveness"][worst.index(min(worst))]


@pytest.mark.parametrize("score", ["raps", "saps"])
def test_coverage_stands_after_the_choice(score: Any) -> None:
    n, alpha, repetitions = 90, 0.2, 200
    x = overconfident(6000, seed=34, factor=1.5)
    rng = np.random.default_rng(20_250_717)
    covered = []
    for i in range(repetitions):
        order = rng.permutation(len(x))
        fitted = tuned_sets(ConformalSets(alpha, score, seed=2 * i), x.rows(order[:n]))
        covered.append(fitted.report(x.rows(order[n : n + 1500])).coverage)
    rest = n - round(0.3 * n)
    promised = math.ceil((rest + 1) * (1 - alpha)) / (rest + 1)
    error = np.std(covered) / math.sqrt(repetitions)
    assert abs(np.mean(covered) - promised) < 3 * error + 0.003


def test_wrong_requests_for_a_choice() -> None:
    x = overconfident(30, seed=35)
    with pytest.raises(BadParameter, match="only raps and saps have a penalty"):
        tuned_sets(ConformalSets(), x)
    for share in (0.0, 1.0, np.nan):
        with pytest.raises(BadParameter, match="share must lie in"):
            tuned_sets(ConformalSets(score="raps"), x, share=share)
    with pytest.raises(BadParameter, match="by is size or adaptiveness"):
        tuned_sets(ConformalSets(score="raps"), x, by="speed")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"1 labelled rows cannot be split at 0\.3"):
        tuned_sets(ConformalSets(score="raps"), x.rows(slice(1)))
    with pytest.raises(InputError, match="need logits and labels"):
        tuned_sets(ConformalSets(score="raps"), Outputs(logits=x.logits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_whose_probability_is_zero_are_ranked_by_their_logits(dtype: type) -> None:
    """A masked class comes last, a likelier one first, whatever their index."""
    z = np.array([[-np.inf, 0.0, -900.0, -800.0, 5.0]], dtype)
    x = Outputs(logits=z)
    for score, penalty in (("raps", 0.01), ("saps", 0.2)):
        rule = ConformalSets(score=score, randomized=False, rank_free=1)  # type: ignore[arg-type]
        found = rule.scores(x, 0)[0]
        np.testing.assert_array_equal(np.argsort(found), [4, 1, 3, 2, 0])
        assert np.diff(np.sort(found)[1:]).min() > 0.9 * penalty
