"""Thresholds that bound how often an accepted prediction is wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.decision.guarantees import check_delta, rows_needed
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.metrics.inputs import as_confidences
from ood_toolkit.outputs import Array

__all__ = ["RiskThreshold", "expected_error_threshold", "selective_risk_threshold"]

STEPS = 200
"""Ranks that are tried, evenly from the surest rows to all."""
TOLERATED = 3
"""Errors that the first test, of the surest rows, lets pass, where there are rows enough."""


class RiskThreshold(NamedTuple):
    """A threshold on a confidence, and what it did on the rows it was set on.

    Attributes
    ----------
    value : float
        The smallest confidence that is accepted; infinite where nothing may be.
    coverage : float
        Share of the rows that it accepts.
    risk : float
        Share of the accepted rows that are wrong; NaN where it accepts none.
    """

    value: float
    coverage: float
    risk: float


def selective_risk_threshold(
    confidence: Any, correct: Any, risk: float, delta: float = 0.05
) -> RiskThreshold:
    """The lowest threshold whose accepted predictions are wrong at most so often.

    P(share of accepted new rows that are wrong > risk) <= delta, over the draw of the rows:
    thresholds are tested from the surest rows down, each by the exact binomial tail of the
    errors among the rows it accepts, until one is not significant (learn then test, in fixed
    sequence).

    Parameters
    ----------
    confidence : (N,) array of float
        Larger = surer.
    correct : (N,) array of bool
        Whether the prediction is right.
    risk : float
        In (0, 1).
    delta : float
        In (0, 1).

    Returns
    -------
    RiskThreshold
        With infinite value where not even the surest rows pass.

    Raises
    ------
    BadParameter
        If `risk` or `delta` is out of range.
    InputError
        If the lengths differ, a confidence is NaN, or there are too few rows; the message
        says how many it takes.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan & Lei, "Learn then Test", 2021, arXiv 2110.01052;
    Geifman & El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sure = rng.uniform(size=2000)
    >>> found = selective_risk_threshold(sure, rng.uniform(size=2000) < sure, risk=0.2)
    >>> bool(found.risk < 0.2), 0.3 < found.coverage < 0.4
    (True, True)
    """
    from scipy.stats import binom

    ordered, errors = _accepted_errors(confidence, correct, risk)
    check_delta(delta)
    rows = len(ordered)
    least = rows_needed(1.0 - risk, delta)
    if rows < least:
        raise InputError(
            f"{rows} labelled rows cannot show a risk of {risk:g} with confidence "
            f"{1 - delta:g}; it takes {least}"
        )
    # ranks are fixed before a label is seen; the first is one that some errors do not fail
    sizes = np.arange(least, rows + 1)
    first = next(
        int(sizes[passing[0]])
        for errors_allowed in range(TOLERATED, -1, -1)
        if (passing := np.flatnonzero(binom.cdf(errors_allowed, sizes, risk) <= delta)).size
    )
    ranks = np.unique(np.linspace(first, rows, min(STEPS, rows - first + 1)).astype(np.int64))
    accepted = np.searchsorted(-ordered, -ordered[ranks - 1], side="right")
    p_values = binom.cdf(errors[accepted - 1], accepted, risk)
    failed = np.flatnonzero(p_values > delta)
    passed = accepted[: failed[0]] if failed.size else accepted
    return _found(ordered, errors, int(passed[-1]) if passed.size else 0)


def expected_error_threshold(confidence: Any, correct: Any, risk: float) -> RiskThreshold:
    """The lowest threshold at which few rows are both accepted and wrong, on average.

    E[share of all new rows that are accepted and wrong] <= risk, over the draw of the rows
    and of a new one (conformal risk control); the share is of all rows, not of the accepted.

    Parameters
    ----------
    confidence : (N,) array of float
        Larger = surer.
    correct : (N,) array of bool
        Whether the prediction is right.
    risk : float
        In (0, 1).

    Returns
    -------
    RiskThreshold
        With infinite value where nothing may be accepted.

    Raises
    ------
    BadParameter
        If `risk` is out of range.
    InputError
        If the lengths differ, a confidence is NaN, or fewer than 1/risk - 1 rows are given.

    References
    ----------
    Angelopoulos, Bates, Fisch, Lei & Schuster, "Conformal Risk Control", ICLR 2024.

    Examples
    --------
    >>> found = expected_error_threshold(np.arange(99.0), np.arange(99) >= 20, risk=0.1)
    >>> found.value, round(found.coverage, 3)
    (11.0, 0.889)
    """
    ordered, errors = _accepted_errors(confidence, correct, risk)
    rows = len(ordered)
    if 1.0 / (rows + 1) > risk:
        raise InputError(
            f"{rows} labelled rows cannot hold an error rate of {risk:g}; it takes "
            f"{int(np.ceil(1.0 / risk)) - 1}"
        )
    # whole groups of ties; scores may be infinite, so they are compared, not subtracted
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), rows - 1)
    within = ends[(errors[ends] + 1.0) / (rows + 1.0) <= risk]
    return _found(ordered, errors, int(within[-1]) + 1 if within.size else 0)


def _accepted_errors(confidence: Any, correct: Any, risk: float) -> tuple[Array, Array]:
    """Confidences from the largest down, and the errors among the first 1, 2, ... N."""
    if not 0.0 < risk < 1.0:
        raise BadParameter(f"risk must lie in (0, 1), got {risk}")
    scores, right = as_confidences(confidence, correct)
    order = np.argsort(-scores, kind="stable")
    return scores[order].astype(np.float64), np.cumsum(~right[order])


def _found(ordered: Array, errors: Array, accepted: int) -> RiskThreshold:
    if accepted == 0:
        return RiskThreshold(np.inf, 0.0, np.nan)
    return RiskThreshold(
        float(ordered[accepted - 1]),
        accepted / len(ordered),
        float(errors[accepted - 1]) / accepted,
    )
