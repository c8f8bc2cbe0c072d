"""A rule for each row: accept the prediction, hand it to a person, or reject the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import located, probability_chunks
from ood_toolkit.decision.threshold import Threshold
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer, Transform

__all__ = ["ACTIONS", "Decisions", "Policy"]

ACTIONS = ("accept", "defer", "reject")
"""Trust the prediction; ask a person; do not use it, the input is from elsewhere."""


@dataclass(frozen=True)
class Decisions:
    """What a policy says of N rows.

    Attributes
    ----------
    action : (N,) array of str
        One of `ACTIONS`.
    prediction : (N,) array of int64
        The class with the largest probability, after calibration.
    probability : (N,) array of float64
        Its probability, after calibration.
    score : (N,) array of float64
        Of the detector; larger = more in-distribution.
    p_value : (N,) array of float64
        Share of in-distribution rows that look at least as strange.
    reason : tuple of str
        Why a row is not accepted; empty where it is.
    """

    action: Array
    prediction: Array
    probability: Array
    score: Array
    p_value: Array
    reason: tuple[str, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One JSON-ready record a row."""
        for i, reason in enumerate(self.reason):
            yield {
                "index": i,
                "action": str(self.action[i]),
                "prediction": int(self.prediction[i]),
                "probability": float(self.probability[i]),
                "score": float(self.score[i]),
                "p_value": float(self.p_value[i]),
                "reason": reason,
            }


@dataclass(frozen=True)
class Policy:
    """Reject what looks out-of-distribution, defer what is unsure, accept the rest.

    Parameters
    ----------
    scorer : Scorer
        A fitted detector, which judges the outputs as they come.
    threshold : Threshold
        On its score: rows below it are rejected.
    calibrator : Transform, optional
        Applied before probabilities are read.
    confidence : float
        In [0, 1]: rows whose largest probability lies below it are deferred; 0 defers none.
        `selective_risk_threshold` finds the one that keeps a risk.

    Examples
    --------
    >>> import ood_toolkit as ood
    >>> digits = ood.load_benchmark("digits")
    >>> scorer = ood.RelativeMahalanobis().fit(digits.train)
    >>> threshold = ood.Threshold.guaranteed(scorer.score(digits.id_val), tpr=0.95)
    >>> calibrator = ood.Temperature().fit(digits.id_val)
    >>> policy = Policy(scorer, threshold, calibrator, confidence=0.8)
    >>> decisions = policy.decide(digits.id)
    >>> {str(name): round(share, 2) for name, share in policy.shares(decisions).items()}
    {'accept': 0.89, 'defer': 0.08, 'reject': 0.04}
    """

    scorer: Scorer
    threshold: Threshold
    calibrator: Transform | None = None
    confidence: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise BadParameter(f"confidence must lie in [0, 1], got {self.confidence}")

    def decide(self, x: Outputs) -> Decisions:
        """Judge each row.

        Parameters
        ----------
        x : Outputs
            With logits and whatever else the scorer and the calibrator need.

        Returns
        -------
        Decisions
            A rejected row is not also deferred.

        Raises
        ------
        InputError
            If logits are missing, or the scorer or the calibrator cannot use a row.
        """
        if x.logits is None:
            raise InputError(located(x, "a policy needs logits"))
        score = self.scorer.score(x)
        belongs, p_value = self.threshold.accept(score), self.threshold.p_value(score)
        calibrated = self.calibrator.apply(x) if self.calibrator is not None else x
        prediction, probability = np.empty(len(x), dtype=np.int64), np.empty(len(x))
        for part, p in probability_chunks(calibrated):
            prediction[part], probability[part] = p.argmax(axis=1), p.max(axis=1)
        sure = probability >= self.confidence
        action = np.where(belongs, np.where(sure, "accept", "defer"), "reject")
        return Decisions(
            action,
            prediction,
            probability,
            score,
            p_value,
            tuple(self._reasons(action, probability, score)),
        )

    def _reasons(self, action: Array, probability: Array, score: Array) -> Iterator[str]:
        for said, p, s in zip(action.tolist(), probability, score, strict=True):
            if said == "reject":
                yield f"score {s:.6g} is below the threshold {self.threshold.value:.6g}"
            elif said == "defer":
                yield f"probability {p:.4g} is below {self.confidence:g}"
            else:
                yield ""

    @staticmethod
    def shares(decisions: Decisions) -> dict[str, float]:
        """Share of the rows that each action is taken on; 0 without rows."""
        rows = max(len(decisions.action), 1)
        return {name: float((decisions.action == name).sum()) / rows for name in ACTIONS}
