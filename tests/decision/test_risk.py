"""Thresholds at a selective risk, batches and conformal sets: counting and simulation."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from ood_toolkit.decision import (
    Threshold,
    benjamini_hochberg,
    expected_error_threshold,
    selective_risk_threshold,
)
from ood_toolkit.errors import BadParameter, InputError
from tests.decision.bands import REPETITIONS, not_above_band
from tests.reference.known import fixture

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
    for low, high in ((1.0, np.inf), (-np.inf, 1.0)):
        infinite = np.repeat([high, low], 200)
        for call in (selective_risk_threshold, expected_error_threshold):
            assert call(infinite, correct, risk=0.1).value == high


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


def exact_flags(p: list[Fraction], level: Fraction) -> list[bool]:
    """The procedure in fractions: all up to the last that is not above its line."""
    ordered = sorted(p)
    below = [v for k, v in enumerate(ordered, start=1) if v * len(p) <= level * k]
    return [v <= below[-1] for v in p] if below else [False] * len(p)


@given(
    st.lists(st.integers(0, 10**6), max_size=30),
    st.sampled_from(["0.01", "0.1", "0.5"]),
)
def test_benjamini_and_hochberg_s_procedure(millionths: list[int], level: str) -> None:
    """Also where a p-value stands on its line, as millionths and these levels often do."""
    found = benjamini_hochberg([v / 10**6 for v in millionths], float(level))
    assert found.tolist() == exact_flags([Fraction(v, 10**6) for v in millionths], Fraction(level))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.1, 0.5]))
def test_the_flags_are_those_of_the_adjusted_p_values(p: list[float], level: float) -> None:
    assert np.array_equal(
        benjamini_hochberg(p, level), false_discovery_control(p) <= level * (1 + 1e-15)
    )


@pytest.mark.parametrize("level", ["0.05", "0.1", "0.15", "0.2", "0.3"])
def test_p_values_on_their_line_are_flagged(level: str) -> None:
    """Conformal p-values k / (m + 1) stand there exactly; n of them, of which k are small."""
    for n in range(1, 60):
        for k in range(1, n + 1):
            line = Fraction(level) * k / n
            p = [line] * k + [Fraction(1)] * (n - k)
            assert exact_flags(p, Fraction(level)).count(True) == k
            found = benjamini_hochberg([float(v) for v in p], float(level))
            assert found.tolist() == [True] * k + [False] * (n - k)
            adjusted = false_discovery_control([float(v) for v in p])
            assert np.array_equal(found, adjusted <= float(level) * (1 + 1e-15))
            # and just above it none is
            above = [float(line) * (1 + 1e-14)] * k + [1.0] * (n - k)
            assert not benjamini_hochberg(above, float(level)).any()


def test_far_rows_of_a_small_reference_are_flagged() -> None:
    """The least p-value of 19 rows is 1/20: at level 0.05 every far row, or none."""
    threshold = Threshold.at_tpr(np.arange(1.0, 20.0))
    for n in range(1, 200):
        assert benjamini_hochberg(threshold.p_value(np.full(n, -99.0)), 0.05).all()


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
