"""Error detection: right against wrong predictions of one classifier on labelled rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.metrics.inputs import as_confidences, check_choice, undefined
from ood_toolkit.metrics.ranking import AUPR_ESTIMATORS, Ranking

__all__ = ["ErrorDetection", "error_detection"]


class ErrorDetection(NamedTuple):
    """How well confidence tells right from wrong predictions.

    Attributes
    ----------
    auroc : float
        P(right prediction's confidence > wrong one's) + P(equal) / 2.
    aupr_success, aupr_error : float
        Area under precision and recall with right (wrong) predictions positive.
    mean_confidence_wrong : float
        Mean confidence of the wrong predictions.
    error_rate : float
        Share of wrong predictions.
    """

    auroc: float
    aupr_success: float
    aupr_error: float
    mean_confidence_wrong: float
    error_rate: float


def error_detection(confidence: Any, correct: Any, estimator: str = "step") -> ErrorDetection:
    """Right against wrong predictions, told apart by confidence.

    Parameters
    ----------
    confidence : (N,) array of float
        Larger = surer.
    correct : (N,) array of bool
        Whether the prediction is right.
    estimator : {"step", "trapezoid"}
        Of the areas under precision and recall.

    Returns
    -------
    ErrorDetection
        NaN, with a warning, where every prediction is right, or every one wrong.

    Raises
    ------
    InputError
        If an array is not one-dimensional or holds NaN, or the lengths differ.

    References
    ----------
    Hendrycks & Gimpel, ICLR 2017.

    Examples
    --------
    >>> error_detection([0.9, 0.8, 0.7, 0.6], [True, True, False, True]).auroc
    0.6666666666666666
    """
    scores, right = as_confidences(confidence, correct)
    check_choice("AUPR estimator", estimator, AUPR_ESTIMATORS)
    wrong = scores[~right].astype(np.float64)
    mean_wrong = float(wrong.mean()) if wrong.size else math.nan
    rate = wrong.size / scores.size if scores.size else math.nan
    if wrong.size in (0, scores.size):
        lacking = "right" if wrong.size else "wrong"
        nan = undefined("error detection", f"there are no {lacking} predictions")
        return ErrorDetection(nan, nan, nan, mean_wrong, rate)
    ranking = Ranking.of(scores[right], scores[~right])
    areas = ranking.aupr_in(estimator), ranking.aupr_out(estimator)
    return ErrorDetection(ranking.auroc(), *areas, mean_wrong, rate)
