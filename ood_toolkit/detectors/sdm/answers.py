"""What the estimator says about rows: records of plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ood_toolkit.outputs import Array

__all__ = ["Exemplar", "SDMExplanation", "Reliability", "SDMPrediction"]


@dataclass(frozen=True, slots=True)
class SDMPrediction:
    """What an `SDMScorer` says about N rows.

    Attributes
    ----------
    prediction : (N,) int64 array
        Predicted class, the first of equal logits.
    similarity : (N,) int64 array
        q: nearest support rows that agree, without a gap; at most the cap.
    nearest : (N,) float64 array
        Distance to the nearest support row.
    breaker : (N,) int64 array
        Support row that ends the run; -1 where the cap or the support does.
    distance_quantile : (N,) float64 array
        d in [0, 1]; larger = nearer than most calibration rows of every class.
    limiting_class : (N,) int64 array
        The class whose calibration distances give d.
    probability : (N,) float64 array
        Activation of the predicted class.
    probabilities : (N, C) float64 array
        Activations of all classes.
    rescaled_similarity : (N,) float64 array
        q' in [0, q].
    accept : (N,) bool array
        Whether the row lies in the high-reliability region.
    margin : (N,) float64 array
        Activation of the predicted class less that class's threshold; NaN where every row is
        rejected.
    effective_sample_size : (N, C) int64 array
        Calibration rows of each class that are at most as similar.
    distance_lower, distance_upper : (N,) float64 arrays
        Band around d for that sample size.
    probability_lower, probability_upper : (N,) float64 arrays
        Activation of the predicted class at the ends of the band.
    accept_lower : (N,) bool array
        Whether the row is still accepted at the lower end; the stricter decision.
    score : (N,) float64 array
        As `SDMScorer.score`.
    """

    prediction: Array
    similarity: Array
    nearest: Array
    breaker: Array
    distance_quantile: Array
    limiting_class: Array
    probability: Array
    probabilities: Array
    rescaled_similarity: Array
    accept: Array
    margin: Array
    effective_sample_size: Array
    distance_lower: Array
    distance_upper: Array
    probability_lower: Array
    probability_upper: Array
    accept_lower: Array
    score: Array


@dataclass(frozen=True, slots=True)
class Reliability:
    """Accuracy among the accepted calibration rows.

    Attributes
    ----------
    alpha : float
        The level.
    rows, accepted, predicted : (C,) int64 arrays
        Calibration rows of each true class, those of them that are accepted, and accepted rows
        predicted as each class.
    class_accuracy, predicted_accuracy : (C,) float64 arrays
        Share of right predictions among accepted rows of each true class, and of each predicted
        class; NaN where there are none.
    class_band, predicted_band : (C,) float64 arrays
        Half-width of the band around these shares at level alpha.
    """

    alpha: float
    rows: Array
    accepted: Array
    predicted: Array
    class_accuracy: Array
    predicted_accuracy: Array
    class_band: Array
    predicted_band: Array


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A support row near the row that is explained.

    Attributes
    ----------
    row : int
        Its number in the support.
    rank : int
        1 for the nearest.
    distance : float
        Euclidean, in the support's coordinates.
    label, prediction : int
        Its class, -1 if unlabelled and -99 if known to be of none; what was predicted.
    agrees : bool
        Whether it was predicted right, as the class of the explained row.
    why : str
        Why it does not agree; empty where it does.
    """

    row: int
    rank: int
    distance: float
    label: int
    prediction: int
    agrees: bool
    why: str


@dataclass(frozen=True, slots=True)
class SDMExplanation:
    """Why a row is accepted or rejected, by example.

    Attributes
    ----------
    row : int
        Its number in the record.
    prediction : int
        Predicted class.
    accept, accept_lower : bool
        Decision, and decision at the lower end of the band.
    reason : str
        One sentence.
    facts : dict
        The quantities of `SDMPrediction` for this row, and the thresholds they are held to.
    exemplars : tuple of Exemplar
        The nearest support rows, and behind them the one that ends the run.
    """

    row: int
    prediction: int
    accept: bool
    accept_lower: bool
    reason: str
    facts: dict[str, Any]
    exemplars: tuple[Exemplar, ...]
