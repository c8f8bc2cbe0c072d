"""Sparsemax, sparse softmax and stablemax, and the residuals of a regression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_toolkit import Outputs, Sparsemax, SparseSoftmax, Stablemax
from ood_toolkit.calibration import residual_consistency, residual_interval
from ood_toolkit.calibration.links import sparse_softmax_rows, sparsemax_rows, stablemax_rows
from ood_toolkit.errors import InputError
from tests.reference.known import assert_digits, fixture

KNOWN = fixture("known_answers")
ROWS = st.lists(st.floats(-30, 30), min_size=2, max_size=8)


@pytest.mark.parametrize("key", [k for k in KNOWN if k.startswith("sparsemax_")])
def test_sparsemax_of_the_known_rows(key: str) -> None:
    z = np.array([[float(v) for v in key.removeprefix("sparsemax_").strip("[]").split(",")]])
    assert_digits(sparsemax_rows(z), KNOWN[key]["p"])
    support = Sparsemax().fit().support(Outputs(logits=z))
    assert support.tolist() == [sum(v > 0 for v in KNOWN[key]["p"])]


def test_sparse_softmax_of_the_known_row() -> None:
    known = KNOWN["sparse_softmax_k2"]
    assert_digits(sparse_softmax_rows(np.array([known["z"]]), 2), known["p"])
    assert SparseSoftmax(k=2).fit().support(Outputs(logits=np.array([known["z"]]))).tolist() == [2]


def test_stablemax_of_the_known_row() -> None:
    known = KNOWN["stablemax"]
    assert_digits(stablemax_rows(np.array([known["x"]])), known["p"])


def test_of_logits_that_tie_the_first_stay() -> None:
    p = sparse_softmax_rows(np.array([[0.0, 1.0, 1.0, 1.0]]), 2)
    assert p.tolist() == [[0.0, 0.5, 0.5, 0.0]]


@given(ROWS, st.floats(-1e3, 1e3))
def test_sparsemax_is_the_nearest_point_of_the_simplex(row: list[float], shift: float) -> None:
    z = np.array([row])
    (p,) = sparsemax_rows(z)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    # the condition of the projection: z - p is one constant on the support, smaller off it
    kept = p > 0
    slack = z[0] - p
    assert np.ptp(slack[kept]) < 1e-9
    assert (slack[~kept] <= slack[kept].min() + 1e-9).all()
    np.testing.assert_allclose(sparsemax_rows(z + shift)[0], p, atol=1e-9)
    np.testing.assert_allclose(sparsemax_rows(p[None])[0], p, atol=1e-12)


@given(ROWS)
def test_stablemax_keeps_the_order(row: list[float]) -> None:
    z = np.array([sorted(row)])
    p = stablemax_rows(z)[0]
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(p) >= -1e-15).all()


def test_a_lead_of_one_takes_all() -> None:
    assert sparsemax_rows(np.array([[3.0, 2.0, -1e300]])).tolist() == [[1.0, 0.0, 0.0]]


def test_links_compose_with_scores() -> None:
    """Msp after sparsemax is its largest share."""
    from ood_toolkit import MSP

    x = Outputs(logits=np.array([[1.0, 0.8, 0.1], [5.0, 1.0, 0.1], [1.0, 1.0, 1.0]]))
    scores = MSP().fit().score(Sparsemax().fit().apply(x))
    np.testing.assert_allclose(scores, [0.6, 1.0, 1 / 3])
    for made in (SparseSoftmax(k=2), Stablemax()):
        link = made.fit()
        expected = made.probabilities(x.logits).max(axis=1)
        np.testing.assert_allclose(MSP().fit().score(link.apply(x)), expected)


def test_residuals_of_the_known_cases() -> None:
    for key in ("spc_reg", "spc_reg_centred"):
        known = KNOWN[key]
        found = residual_consistency(known["resid"])
        assert found.up == pytest.approx(known["mar_up"], abs=1e-11)
        assert found.down == pytest.approx(known["mar_down"], abs=1e-11)
        assert found.absolute == pytest.approx(known["mar"], abs=1e-11)
        assert found.inconsistency == pytest.approx(known["sds"], abs=1e-11)
        harmonic = 2 * found.up * found.down / (found.up + found.down)
        assert harmonic == pytest.approx(known["harmonic"], abs=1e-11)
    centred = residual_consistency(KNOWN["spc_reg_centred"]["resid"])
    assert (centred.widen_up, centred.widen_down) == pytest.approx((1.0, 1.0))


def test_widening_factors_are_the_stated_ones() -> None:
    found = residual_consistency([3.0, 1.0, -1.0, -2.0, 2.0])
    mar, up, down = 1.8, 2.0, 1.5
    assert found.widen_up == pytest.approx(max(1, mar * down / ((2 * down - mar) * up)))
    assert found.widen_down == pytest.approx(max(1, mar * up / ((2 * up - mar) * down)))


def test_residuals_on_one_side_say_nothing() -> None:
    found = residual_consistency([1.0, 2.0])
    assert (found.one_sided, found.inconsistency, found.down) == (True, 0.0, 0.0)
    lower, upper = residual_interval([0.0], [1.0, 2.0], level=0.5)
    assert (lower[0], upper[0]) == (0.0, 1.5)


def test_an_interval_covers_what_it_should() -> None:
    rng = np.random.default_rng(0)
    held_out, new = rng.exponential(size=4000) - 1.0, rng.exponential(size=4000) - 1.0
    lower, upper = residual_interval(np.zeros(4000), held_out, level=0.9)
    # a tenth of each side is beyond its quantile, and more of it where a side was widened
    assert np.mean((lower <= new) & (new <= upper)) > 0.88


@pytest.mark.parametrize("bad", [[], [[1.0]], [np.nan], [1.0, np.inf]])
def test_residuals_that_cannot_be_used(bad: list[float]) -> None:
    with pytest.raises(InputError, match="residuals"):
        residual_consistency(bad)
    with pytest.raises(InputError, match="level is 1"):
        residual_interval([0.0], [1.0], level=1.0)
