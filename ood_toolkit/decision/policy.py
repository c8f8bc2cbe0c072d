"""A rule for each row: accept the prediction, hand it to a person, or reject the input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ood_toolkit.chunks import located, predicted_chunks
from ood_toolkit.decision.one_classifier import parts_of_policy, refuse_other_classifiers
from ood_toolkit.decision.risk import selective_risk_threshold
from ood_toolkit.decision.verdict import Rule, Verdict, known_labels
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.given import expect_outputs
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
        Of the first detector; larger = more in-distribution.
    p_value : (N,) array of float64
        Share of in-distribution rows that look at least as strange to it.
    reason : tuple of str
        Why a row is not accepted; empty where it is.
    scores : mapping of str to (N,) array of float64
        Of each detector by name.
    verdicts : mapping of str to Verdict
        Of each detector by name.
    """

    action: Array
    prediction: Array
    probability: Array
    score: Array
    p_value: Array
    reason: tuple[str, ...]
    scores: Mapping[str, Array] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

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
    """Reject inputs that look out-of-distribution, defer uncertain predictions, accept the rest.

    Parameters
    ----------
    scorer : Scorer
        A fitted detector, applied to the outputs before calibration.
    threshold : Threshold, ClassThresholds, RiskRule or MethodRule
        Which rows are accepted; the others are rejected.
    calibrator : Transform, optional
        Applied before probabilities are read.
    confidence : float
        In [0, 1]: rows whose largest probability lies below it are deferred; 0 defers none.
        `keeping_risk` finds one that keeps a risk.
    others : tuple of (scorer, rule)
        Further detectors; a row that any of them rejects is rejected.

    Raises
    ------
    BadParameter
        If `confidence` is out of range, or a detector is there twice.
    InputError
        If two parts were fitted on another number of classes or feature columns.

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
    threshold: Rule
    calibrator: Transform | None = None
    confidence: float = 0.0
    others: tuple[tuple[Scorer, Rule], ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0:
            raise BadParameter(f"confidence must lie in [0, 1], got {self.confidence}")
        names = [name for name, _, _ in self._checks()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadParameter(f"{twice} is in the policy twice; each detector may be there once")
        checks = [(*check, "") for check in self._checks()]
        refuse_other_classifiers(parts_of_policy(checks, self.calibrator))

    @property
    def scorers(self) -> dict[str, Scorer]:
        """Every detector by name, the first one first."""
        return {name: scorer for name, scorer, _ in self._checks()}

    @property
    def rules(self) -> dict[str, Rule]:
        """The rule of each detector, by its name."""
        return {name: rule for name, _, rule in self._checks()}

    def _checks(self) -> Iterator[tuple[str, Scorer, Rule]]:
        for scorer, rule in ((self.scorer, self.threshold), *self.others):
            yield str(getattr(scorer, "name", type(scorer).__name__)), scorer, rule

    def keeping_risk(self, x: Outputs, risk: float, delta: float = 0.05) -> Policy:
        """The same policy with the confidence at which accepted predictions are seldom wrong.

        P(share of accepted new rows that are wrong > risk) <= delta, if the rows were used
        for nothing else: neither the detectors, their thresholds nor the calibrator.

        Parameters
        ----------
        x : Outputs
            Labelled in-distribution rows.
        risk, delta : float
            In (0, 1); as of `selective_risk_threshold`.

        Returns
        -------
        Policy
            With the least `confidence` that keeps the risk.

        Raises
        ------
        BadParameter
            If `risk` or `delta` is out of range.
        InputError
            If labels are missing, there are too few rows, or no confidence will do.
        """
        labels = known_labels(x)
        found = replace(self, confidence=0.0).decide(x)
        accepted = found.action == "accept"
        correct = (found.prediction == labels)[accepted]
        best = selective_risk_threshold(found.probability[accepted], correct, risk, delta)
        if best.coverage == 0.0:
            raise InputError(
                located(
                    x,
                    f"at no confidence can a risk of {risk:g} be shown on the {accepted.sum()} "
                    "rows that the detectors accept; allow a larger one, or give more rows",
                )
            )
        return replace(self, confidence=best.value)

    def decide(self, x: Outputs, scores: Mapping[str, Array] | None = None) -> Decisions:
        """Judge each row.

        Parameters
        ----------
        x : Outputs
            With logits and whatever else the scorers and the calibrator need.
        scores : mapping of str to (N,) array of float64, optional
            By name, where the scorers have scored `x` already.

        Returns
        -------
        Decisions
            A rejected row is not also deferred.

        Raises
        ------
        InputError
            If logits are missing, or a scorer or the calibrator cannot use a row.
        """
        expect_outputs(x)
        if x.logits is None:
            raise InputError(located(x, "a policy needs logits"))
        if scores is None:
            scores = {name: scorer.score(x) for name, scorer in self.scorers.items()}
        verdicts = {name: r.verdict(x, scores[name], s) for name, s, r in self._checks()}
        belongs = np.logical_and.reduce([verdict.accept for verdict in verdicts.values()])
        calibrated = self.calibrator.apply(x) if self.calibrator is not None else x
        prediction, probability = np.empty(len(x), dtype=np.int64), np.empty(len(x))
        for part, p, predicted in predicted_chunks(calibrated):
            prediction[part], probability[part] = predicted, p.max(axis=1)
        sure = probability >= self.confidence
        action = np.where(belongs, np.where(sure, "accept", "defer"), "reject")
        first = next(iter(verdicts))
        return Decisions(
            action,
            prediction,
            probability,
            scores[first],
            verdicts[first].p_value,
            tuple(self._reasons(action, probability, scores, verdicts)),
            scores,
            verdicts,
        )

    def _reasons(
        self,
        action: Array,
        probability: Array,
        scores: Mapping[str, Array],
        verdicts: Mapping[str, Verdict],
    ) -> Iterator[str]:
        rules = self.rules
        for i, said in enumerate(action.tolist()):
            if said == "reject":
                yield "; ".join(
                    (f"{name}: " if len(rules) > 1 else "")
                    + rule.why(float(scores[name][i]), float(verdicts[name].limit[i]))
                    for name, rule in rules.items()
                    if not verdicts[name].accept[i]
                )
            elif said == "defer":
                yield f"probability {probability[i]:.4g} is below {self.confidence:g}"
            else:
                yield ""

    @staticmethod
    def shares(decisions: Decisions) -> dict[str, float]:
        """Share of the rows that each action is taken on; 0 without rows."""
        rows = max(len(decisions.action), 1)
        return {name: float((decisions.action == name).sum()) / rows for name in ACTIONS}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to one `.safetensors` file that `load_policy` reads back."""
        from ood_toolkit.decision.policy_parts import write_policy

        checks = [(scorer, rule) for _, scorer, rule in self._checks()]
        write_policy(path, checks, self.calibrator, self.confidence)
