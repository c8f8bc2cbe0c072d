"""Selective classification: what a classifier gets wrong on the rows it is surest of.

Rows are accepted from the largest confidence down.  Where confidences tie, the order of the
tied rows is arbitrary: `ties="expected"` gives the mean over all orders, `ties="stable"`
takes rows in the order given, as published code does.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.metrics.inputs import (
    as_confidences,
    check_choice,
    check_share,
    least_count,
    undefined,
)
from ood_toolkit.metrics.ranking import Ranking

__all__ = [
    "RiskCoverage",
    "augrc",
    "aurc",
    "coverage_at_risk",
    "e_aurc",
    "risk_at_coverage",
    "risk_coverage",
]

Array = npt.NDArray[np.float64]


class RiskCoverage(NamedTuple):
    """Points of a risk-coverage curve: (N,) arrays.

    Attributes
    ----------
    coverage : (N,) array of float64
        Share of rows accepted: 1/N, 2/N, ... 1.
    risk : (N,) array of float64
        Share of the accepted rows that are wrong.
    """

    coverage: Array
    risk: Array


def risk_coverage(confidence: Any, correct: Any, ties: str = "expected") -> RiskCoverage:
    """Risk at each coverage k / N.

    Parameters
    ----------
    confidence : (N,) array of float
        Larger = surer.
    correct : (N,) array of bool
        Whether the prediction is right.
    ties : {"expected", "stable"}
        Mean over all orders of tied rows, or the order given.

    Returns
    -------
    RiskCoverage
        (N,) coverages and risks; smaller risk is better.

    Raises
    ------
    InputError
        If an array is not one-dimensional or holds NaN, or the lengths differ.
    UnknownName
        If there is no such way to break ties.

    Examples
    --------
    >>> risk_coverage([0.9, 0.8, 0.7], [True, False, True]).risk
    array([0.        , 0.5       , 0.33333333])
    """
    errors = _errors_accepted(confidence, correct, ties)
    accepted = np.arange(1, errors.size + 1)
    return RiskCoverage(accepted / max(errors.size, 1), errors / accepted)


def aurc(confidence: Any, correct: Any, ties: str = "expected") -> float:
    """Area under the risk-coverage curve: mean of the risk over all coverages k / N.

    Parameters
    ----------
    confidence, correct, ties
        As of `risk_coverage`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    References
    ----------
    Geifman, Uziel & El-Yaniv, ICLR 2019.

    Examples
    --------
    >>> aurc([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    0.14583333333333331
    """
    risk = risk_coverage(confidence, correct, ties).risk
    return float(risk.mean()) if risk.size else undefined("AURC", "there are no rows")


def e_aurc(confidence: Any, correct: Any, ties: str = "expected", optimum: str = "exact") -> float:
    """Excess AURC: AURC minus that of a confidence that puts every error last.

    Parameters
    ----------
    confidence, correct, ties
        As of `risk_coverage`.
    optimum : {"exact", "approximate"}
        The least AURC with as many errors, or r + (1 - r) ln(1 - r), which it approaches
        for many rows with error rate r (the original's).

    Returns
    -------
    float
        Smaller is better, 0 for a perfect order; NaN, with a warning, without rows.

    References
    ----------
    Geifman, Uziel & El-Yaniv, ICLR 2019.

    Examples
    --------
    >>> e_aurc([0.9, 0.8, 0.7, 0.6], [True, True, True, False])
    0.0
    """
    check_choice("optimum", optimum, ("exact", "approximate"))
    errors = _errors_accepted(confidence, correct, ties)
    n = errors.size
    if n == 0:
        return undefined("E-AURC", "there are no rows")
    accepted = np.arange(1, n + 1)
    wrong = round(float(errors[-1]))
    if optimum == "exact":
        return float(np.mean((errors - np.maximum(accepted - (n - wrong), 0)) / accepted))
    rate = wrong / n
    least = rate + (1.0 - rate) * math.log1p(-rate) if wrong < n else 1.0
    return float(np.mean(errors / accepted)) - least


def augrc(confidence: Any, correct: Any, ties: str = "expected") -> float:
    """Area under the generalised risk-coverage curve: mean over k of errors accepted / N.

    Parameters
    ----------
    confidence, correct, ties
        As of `risk_coverage`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    References
    ----------
    Traub, Bungert, Lueth, Baumgartner, Maier-Hein, Maier-Hein & Jaeger, NeurIPS 2024.

    Examples
    --------
    >>> augrc([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    0.125
    """
    errors = _errors_accepted(confidence, correct, ties)
    if errors.size == 0:
        return undefined("AUGRC", "there are no rows")
    return float(errors.mean()) / errors.size


def risk_at_coverage(
    confidence: Any, correct: Any, coverage: float, ties: str = "expected"
) -> float:
    """Risk of the surest rows: as few as make up `coverage`.

    Parameters
    ----------
    confidence, correct, ties
        As of `risk_coverage`.
    coverage : float
        In (0, 1].

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Examples
    --------
    >>> risk_at_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.75)
    0.3333333333333333
    """
    share = check_share("coverage", coverage)
    risk = risk_coverage(confidence, correct, ties).risk
    if risk.size == 0:
        return undefined("risk at coverage", "there are no rows")
    return float(risk[least_count(share, risk.size) - 1])


def coverage_at_risk(confidence: Any, correct: Any, risk: float, ties: str = "expected") -> float:
    """Largest coverage at which the risk is at most `risk`; 0 where there is none.

    Parameters
    ----------
    confidence, correct, ties
        As of `risk_coverage`.
    risk : float
        In [0, 1].

    Returns
    -------
    float
        In [0, 1], larger is better; NaN, with a warning, without rows.

    Examples
    --------
    >>> coverage_at_risk([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.3)
    1.0
    """
    share = check_share("risk", risk, zero=True)
    curve = risk_coverage(confidence, correct, ties)
    if curve.risk.size == 0:
        return undefined("coverage at risk", "there are no rows")
    within = np.flatnonzero(curve.risk <= share)
    return float(curve.coverage[within[-1]]) if within.size else 0.0


def _errors_accepted(confidence: Any, correct: Any, ties: str) -> Array:
    """Wrong predictions among the 1, 2, ... N surest rows, or their expected number."""
    check_choice("way to break ties", ties, ("expected", "stable"))
    scores, right = as_confidences(confidence, correct)
    if ties == "stable":
        return np.cumsum(~right[np.argsort(-scores, kind="stable")]).astype(np.float64)
    ranking = Ranking.of(scores[right], scores[~right])
    wrong = ranking.ood_at_or_above.astype(np.int64)
    # Within a tie group any row is as likely as another to come next, so the expected
    # number of errors grows along a straight line.
    accepted = ranking.id_at_or_above + wrong
    return np.interp(np.arange(1, scores.size + 1), accepted, wrong)
