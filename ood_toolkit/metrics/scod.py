"""Selective classification with outliers: wrong predictions and strangers are both to be rejected.

Rows of both sets are accepted together from the largest score down.  A wrong prediction that is
accepted costs 1, an out-of-distribution row that is accepted costs `cost`, and the risk is the
cost over the rows accepted.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.inputs import (
    as_confidences,
    as_scores,
    check_share,
    least_count,
    undefined,
)

__all__ = ["ScodCurve", "scod_augrc", "scod_aurc", "scod_curve", "scod_risk_at_coverage"]

Array = npt.NDArray[np.float64]


class ScodCurve(NamedTuple):
    """What is accepted, and at what risk, from the largest score down: (N + M,) arrays.

    Attributes
    ----------
    coverage : (N + M,) array of float64
        Share of all rows accepted: 1/(N+M), 2/(N+M), ... 1.
    risk : (N + M,) array of float64
        (wrong predictions accepted + cost x out-of-distribution rows accepted) / rows accepted.
    id_coverage, ood_coverage : (N + M,) arrays of float64
        Share of each set accepted.
    """

    coverage: Array
    risk: Array
    id_coverage: Array
    ood_coverage: Array


def scod_curve(confidence: Any, correct: Any, ood_scores: Any, cost: float = 1.0) -> ScodCurve:
    """Risk at each coverage, where outliers are to be rejected beside wrong predictions.

    Both sets count as many rows as they have: give as many out-of-distribution rows as there
    will be among the inputs, or weigh them by `cost`.

    Parameters
    ----------
    confidence : (N,) array of float
        Scores of in-distribution rows; larger = surer.
    correct : (N,) array of bool
        Whether their predictions are right.
    ood_scores : (M,) array of float
        Scores of out-of-distribution rows, on the same scale.
    cost : float
        Of accepting an out-of-distribution row, in wrong predictions; at least 0.

    Returns
    -------
    ScodCurve
        Of tied rows the mean over all orders.

    Raises
    ------
    InputError
        If an array is not one-dimensional or holds NaN, the lengths differ, or `cost` is
        negative or not finite.

    References
    ----------
    Xia & Bouganis, "Augmenting Softmax Information for Selective Classification with
    Out-of-Distribution Data", ACCV 2022; Narasimhan, Menon, Jitkrittum & Kumar, "Plugin
    Estimators for Selective Classification with Out-of-Distribution Detection", ICLR 2024.

    Examples
    --------
    >>> curve = scod_curve([0.9, 0.7, 0.5], [True, False, True], [0.8, 0.3])
    >>> curve.risk.round(3)
    array([0.   , 0.5  , 0.667, 0.5  , 0.6  ])
    """
    paid, own, strange = _accepted(confidence, correct, ood_scores, cost)
    rows = paid.size
    accepted = np.arange(1, rows + 1)
    return ScodCurve(
        accepted / max(rows, 1),
        paid / accepted,
        own / max(own[-1] if rows else 1.0, 1.0),
        strange / max(strange[-1] if rows else 1.0, 1.0),
    )


def scod_aurc(confidence: Any, correct: Any, ood_scores: Any, cost: float = 1.0) -> float:
    """Area under the curve of `scod_curve`: mean of the risk over all coverages.

    Parameters
    ----------
    confidence, correct, ood_scores, cost
        As of `scod_curve`.

    Returns
    -------
    float
        Smaller is better; the AURC where there are no out-of-distribution rows; NaN, with a
        warning, without rows.

    Examples
    --------
    >>> round(scod_aurc([0.9, 0.7, 0.5], [True, False, True], [0.8, 0.3], cost=2.0), 6)
    0.75
    """
    risk = scod_curve(confidence, correct, ood_scores, cost).risk
    return float(risk.mean()) if risk.size else undefined("SCOD AURC", "there are no rows")


def scod_augrc(confidence: Any, correct: Any, ood_scores: Any, cost: float = 1.0) -> float:
    """Mean over all coverages of the cost over all rows, accepted or not.

    Parameters
    ----------
    confidence, correct, ood_scores, cost
        As of `scod_curve`.

    Returns
    -------
    float
        Smaller is better; the AUGRC where there are no out-of-distribution rows; NaN, with a
        warning, without rows.

    References
    ----------
    Traub, Bungert, Lueth, Baumgartner, Maier-Hein, Maier-Hein & Jaeger, NeurIPS 2024.

    Examples
    --------
    >>> round(scod_augrc([0.9, 0.7, 0.5], [True, False, True], [0.8, 0.3]), 6)
    0.32
    """
    paid, _, _ = _accepted(confidence, correct, ood_scores, cost)
    if paid.size == 0:
        return undefined("SCOD AUGRC", "there are no rows")
    return float(paid.mean()) / paid.size


def scod_risk_at_coverage(
    confidence: Any, correct: Any, ood_scores: Any, coverage: float, cost: float = 1.0
) -> float:
    """Risk of the rows with the largest scores: as few as make up `coverage` of all rows.

    Parameters
    ----------
    confidence, correct, ood_scores, cost
        As of `scod_curve`.
    coverage : float
        In (0, 1], of the rows of both sets.

    Returns
    -------
    float
        Smaller is better; NaN, with a warning, without rows.

    Examples
    --------
    >>> scod_risk_at_coverage([0.9, 0.7, 0.5], [True, False, True], [0.8, 0.3], 0.4)
    0.5
    """
    share = check_share("coverage", coverage)
    risk = scod_curve(confidence, correct, ood_scores, cost).risk
    if risk.size == 0:
        return undefined("SCOD risk at coverage", "there are no rows")
    return float(risk[least_count(share, risk.size) - 1])


def _accepted(
    confidence: Any, correct: Any, ood_scores: Any, cost: float
) -> tuple[Array, Array, Array]:
    """Cost, in-distribution rows and outliers among the first 1, 2, ... N + M rows."""
    if not (cost >= 0.0 and math.isfinite(cost)):
        raise InputError(f"cost is {cost}; it must be a number of at least 0")
    inside, right = as_confidences(confidence, correct)
    outside = as_scores("ood_scores", ood_scores)
    bad = np.flatnonzero(np.isnan(outside))
    if bad.size:
        raise InputError(f"ood_scores[{bad[0]}] is NaN; a score must be a number")
    scores = np.concatenate([inside.astype(np.float64), outside.astype(np.float64)])
    strange = np.arange(scores.size) >= inside.size
    paid = np.concatenate([(~right).astype(np.float64), np.full(outside.size, float(cost))])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), scores.size - 1)
    ends = ends[ends >= 0]
    # within a group of ties any row is as likely as another to come next
    at = np.arange(1, scores.size + 1)
    totals = (np.cumsum(values[order]) for values in (paid, ~strange, strange))
    found = [np.interp(at, np.append(0, ends + 1), np.append(0.0, t[ends])) for t in totals]
    return found[0], found[1], found[2]
