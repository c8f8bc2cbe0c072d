"""Risk-coverage metrics against every order of tied rows, loops and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from tests.metrics.score_strategies import compiled
from tests.reference import metrics_reference as slow
from tests.reference.known import fixture

CLOSE = 1e-12
ROWS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.5, 0.9, -0.0, 0.0, math.inf]), st.booleans()),
    min_size=1,
    max_size=6,
)


@compiled
@given(ROWS)
def test_expected_is_the_mean_over_all_orders(rows):
    confidence, correct = map(list, zip(*rows, strict=True))
    errors = slow.expected_errors(confidence, correct)
    n, risks = len(rows), slow.risks(errors)
    curve = metrics.risk_coverage(confidence, correct)
    np.testing.assert_allclose(curve.risk, risks, atol=CLOSE)
    np.testing.assert_allclose(curve.coverage, [(k + 1) / n for k in range(n)], rtol=1e-15)
    assert metrics.aurc(confidence, correct) == pytest.approx(sum(risks) / n, abs=CLOSE)
    expected = sum(errors) / n / n
    assert metrics.augrc(confidence, correct) == pytest.approx(expected, abs=CLOSE)


@compiled
@given(ROWS)
def test_stable_takes_the_order_given(rows):
    confidence, correct = map(list, zip(*rows, strict=True))
    risks = slow.risks(slow.stable_errors(confidence, correct))
    curve = metrics.risk_coverage(confidence, correct, ties="stable")
    np.testing.assert_allclose(curve.risk, risks, atol=CLOSE)


@compiled
@given(ROWS, st.sampled_from([0.01, 1 / 3, 0.5, 0.95, 1.0]))
def test_points_of_the_curve(rows, share):
    confidence, correct = map(list, zip(*rows, strict=True))
    n, risks = len(rows), slow.risks(slow.expected_errors(confidence, correct))
    k = next(k for k in range(1, n + 1) if k / n >= share)
    found = metrics.risk_at_coverage(confidence, correct, share)
    assert found == pytest.approx(risks[k - 1], abs=CLOSE)
    found = metrics.coverage_at_risk(confidence, correct, share)
    clear = [k for k in range(1, n + 1) if abs(risks[k - 1] - share) > CLOSE]
    if len(clear) == n:  # else rounding decides
        assert found == max((k / n for k in clear if risks[k - 1] <= share), default=0.0)


@compiled
@given(ROWS)
def test_excess_is_over_the_best_order(rows):
    confidence, correct = map(list, zip(*rows, strict=True))
    n, wrong = len(rows), sum(not c for c in correct)
    best = sum(slow.risks(slow.errors_accepted(sorted(correct, reverse=True)))) / n
    excess = metrics.e_aurc(confidence, correct)
    assert excess == pytest.approx(metrics.aurc(confidence, correct) - best, abs=CLOSE)
    assert excess >= -CLOSE
    rate = wrong / n
    about = rate + (1 - rate) * math.log(1 - rate) if rate < 1 else 1.0
    found = metrics.e_aurc(confidence, correct, optimum="approximate")
    assert found == pytest.approx(metrics.aurc(confidence, correct) - about, abs=CLOSE)


def test_known_answers():
    known = fixture("known_answers")["aurc"]
    pair = known["conf"], 1 - np.array(known["err"])
    np.testing.assert_allclose(
        metrics.risk_coverage(*pair).risk, known["risk_at_coverage"], atol=1e-12
    )
    for found, expected in (
        (metrics.aurc(*pair), known["aurc"]),
        (metrics.e_aurc(*pair, optimum="approximate"), known["e_aurc_approx"]),
        (metrics.e_aurc(*pair), known["e_aurc_exact"]),
        (metrics.aurc(*pair) - metrics.e_aurc(*pair), known["opt_exact"]),
    ):
        assert found == pytest.approx(expected, abs=1e-12)


def test_augrc_is_linear_in_auroc():
    # Traub et al. 2024: AUGRC = (1 - AUROC) a (1 - a) + (1 - a)^2 / 2 in the limit of many rows;
    # with N rows the mean over k adds (1 - a) / 2N.
    rng = np.random.default_rng(5)
    correct = rng.random(2_000) < 0.8
    confidence = np.round(rng.normal(correct, 1.0), 1)
    a, n = correct.mean(), correct.size
    auroc = metrics.error_detection(confidence, correct).auroc
    expected = (1 - auroc) * a * (1 - a) + (1 - a) ** 2 / 2 + (1 - a) / (2 * n)
    assert metrics.augrc(confidence, correct) == pytest.approx(expected, abs=1e-12)


def test_row_order_matters_only_where_asked():
    confidence, correct = [0.5, 0.5, 0.5], [True, True, False]
    back = correct[::-1]
    assert metrics.aurc(confidence, correct) == metrics.aurc(confidence, back)
    assert metrics.aurc(confidence, correct, "stable") < metrics.aurc(confidence, back, "stable")


def test_error_detection():
    confidence = [0.9, 0.8, 0.8, 0.6, 0.3]
    correct = [True, True, False, True, False]
    found = metrics.error_detection(confidence, correct)
    right, wrong = [0.9, 0.8, 0.6], [0.8, 0.3]
    assert found.auroc == pytest.approx(slow.auroc(right, wrong))
    assert found.aupr_success == pytest.approx(slow.average_precision(right, wrong))
    below = slow.negated(wrong), slow.negated(right)
    assert found.aupr_error == pytest.approx(slow.average_precision(*below))
    lines = metrics.error_detection(confidence, correct, estimator="trapezoid")
    assert lines.aupr_error == pytest.approx(slow.trapezoid_precision(*below))
    assert found.mean_confidence_wrong == pytest.approx(0.55)
    assert found.error_rate == 0.4


@pytest.mark.parametrize("outcome", [True, False])
def test_one_sided_outcomes(outcome):
    with pytest.warns(ToolkitWarning, match=f"there are no {'wrong' if outcome else 'right'}") as w:
        found = metrics.error_detection([0.2, 0.7], [outcome, outcome])
    assert len(w) == 1
    assert all(map(math.isnan, (found.auroc, found.aupr_success, found.aupr_error)))
    assert found.error_rate == 1.0 - outcome
    assert math.isnan(found.mean_confidence_wrong) == outcome
    assert metrics.aurc([0.2, 0.7], [outcome, outcome]) == 1.0 - outcome
    assert metrics.e_aurc([0.2, 0.7], [outcome, outcome], optimum="approximate") == 0.0


def test_no_rows_and_wrong_input():
    for call in (
        metrics.aurc,
        metrics.e_aurc,
        metrics.augrc,
        lambda *pair: metrics.risk_at_coverage(*pair, 0.5),
        lambda *pair: metrics.coverage_at_risk(*pair, 0.5),
    ):
        with pytest.warns(ToolkitWarning, match="there are no rows"):
            assert math.isnan(call([], []))
    assert metrics.risk_coverage([], []).risk.size == 0
    with pytest.raises(InputError, match=r"confidence\[1\] is NaN"):
        metrics.aurc([0.5, math.nan], [True, False])
    with pytest.raises(InputError, match="correct has 1 rows"):
        metrics.aurc([0.5, 0.6], [True])
    with pytest.raises(InputError, match="coverage is 0"):
        metrics.risk_at_coverage([0.5], [True], 0)
    with pytest.raises(UnknownName, match="did you mean 'stable'"):
        metrics.aurc([0.5], [True], ties="stabel")
    with pytest.raises(UnknownName, match="did you mean 'approximate'"):
        metrics.e_aurc([0.5], [True], optimum="approx")
