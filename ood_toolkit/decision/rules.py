"""Rules of acceptance beside thresholds at a rate: at a risk, and methods' own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ood_toolkit.decision.per_class import ClassThresholds
from ood_toolkit.decision.risk import expected_error_threshold, selective_risk_threshold
from ood_toolkit.decision.threshold import Threshold, ascending, conformal_p_values
from ood_toolkit.decision.verdict import Rule, Verdict
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["MethodRule", "RiskRule", "rule_from"]


@dataclass(frozen=True, slots=True)
class RiskRule:
    """Accept a row when its score is so high that accepted predictions are seldom wrong.

    Parameters
    ----------
    value : float
        The smallest score that is accepted; infinite where none may be.
    risk : float
        What is promised.
    delta : float or None
        How often the promise on the accepted rows may fail (`selective_risk_threshold`);
        None where it is kept on average, of all rows (`expected_error_threshold`).
    coverage : float
        Share of the rows it was set on that it accepts.
    scores : (N,) array of float64
        Of the labelled rows it was set on, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> right = np.arange(200) >= 30
    >>> rule = RiskRule.selective(np.arange(200.0), right, risk=0.1, delta=0.1)
    >>> rule.value, rule.coverage
    (18.0, 0.91)
    """

    value: float
    risk: float
    delta: float | None
    coverage: float
    scores: Array

    @classmethod
    def selective(cls, scores: Array, correct: Array, risk: float, delta: float = 0.05) -> RiskRule:
        """As `selective_risk_threshold`, with the scores as confidence."""
        found = selective_risk_threshold(scores, correct, risk, delta)
        return cls(found.value, risk, delta, found.coverage, ascending(scores))

    @classmethod
    def expected(cls, scores: Array, correct: Array, risk: float) -> RiskRule:
        """As `expected_error_threshold`, with the scores as confidence."""
        found = expected_error_threshold(scores, correct, risk)
        return cls(found.value, risk, None, found.coverage, ascending(scores))

    @property
    def id_scores(self) -> Array:
        """The scores it was set on."""
        return self.scores

    def verdict(self, x: Outputs, scores: Array, scorer: Scorer, /) -> Verdict:
        """Judge rows by their scores."""
        accept = np.asarray(scores >= self.value)
        p_value = conformal_p_values(self.scores, scores)
        return Verdict(accept, p_value, np.full(len(accept), self.value))

    def why(self, score: float, limit: float, /) -> str:
        """The score and the limit."""
        return f"score {score:.6g} is below {limit:.6g}, where the risk is {self.risk:g}"

    def facts(self) -> dict[str, Any]:
        """JSON-ready description, without the scores."""
        return {
            "rule": "expected_error" if self.delta is None else "selective_risk",
            "value": self.value,
            "risk": self.risk,
            **({} if self.delta is None else {"delta": self.delta}),
            "coverage": self.coverage,
            "rows": int(self.scores.size),
        }

    def arrays(self) -> Mapping[str, Array]:
        """The scores it was set on."""
        return {"id_scores": self.scores}


@runtime_checkable
class Accepting(Scorer, Protocol):
    """A scorer with a rule of its own."""

    rejection: str

    def accept(self, x: Outputs, /) -> Array:
        """(N,) bool."""
        ...


@dataclass(frozen=True, slots=True)
class MethodRule:
    """Accept what the scorer's own rule accepts: SDM's region, a class's safety distance.

    Parameters
    ----------
    share : float
        Of the in-distribution rows it was looked at with, how many it accepts.
    words : str
        Why a row is not accepted.
    scores : (N,) array of float64
        Of these rows, ascending; p-values are taken among them.

    Examples
    --------
    >>> from ood_toolkit import SoftmaxCentroid, load_benchmark
    >>> digits = load_benchmark("digits")
    >>> scorer = SoftmaxCentroid().fit(digits.train)
    >>> rule = MethodRule.of(scorer, digits.id_val)
    >>> rule.words
    "as far from the predicted class's centroid as a known error, or farther"
    """

    share: float
    words: str
    scores: Array

    @classmethod
    def of(cls, scorer: Scorer, id_val: Outputs) -> MethodRule:
        """The rule of a scorer, and p-values among held-out in-distribution rows.

        Raises
        ------
        InputError
            If the scorer has no rule of its own, or there are no rows.
        """
        if not isinstance(scorer, Accepting):
            name = getattr(scorer, "name", type(scorer).__name__)
            raise InputError(
                f"{name} has no rule of its own, as sdm and softmax_centroid have; set a "
                "threshold at a rate instead"
            )
        scores = ascending(scorer.score(id_val))
        return cls(float(scorer.accept(id_val).mean()), scorer.rejection, scores)

    @property
    def id_scores(self) -> Array:
        """The scores it was looked at with."""
        return self.scores

    def verdict(self, x: Outputs, scores: Array, scorer: Scorer, /) -> Verdict:
        """Judge rows by the scorer's own rule."""
        assert isinstance(scorer, Accepting)
        p_value = conformal_p_values(self.scores, scores)
        return Verdict(scorer.accept(x), p_value, np.full(len(p_value), np.nan))

    def why(self, score: float, limit: float, /) -> str:
        """The method's own words."""
        return self.words

    def facts(self) -> dict[str, Any]:
        """JSON-ready description, without the scores."""
        return {
            "rule": "method",
            "rejects": self.words,
            "coverage": self.share,
            "rows": int(self.scores.size),
        }

    def arrays(self) -> Mapping[str, Array]:
        """The scores it was looked at with."""
        return {"id_scores": self.scores}


def rule_from(
    facts: Mapping[str, Any], id_scores: Array, id_predictions: Array | None = None
) -> Rule:
    """The rule that `facts` and the ascending scores describe.

    Parameters
    ----------
    facts : mapping
        As `Rule.facts` gives them, and a detector file's `threshold` holds.
    id_scores : (N,) array of float64
        Ascending.
    id_predictions : (N,) array of int64, optional
        Class predicted for each of those rows; of thresholds by class.

    Raises
    ------
    InputError
        If there is no such rule, or the classes of its rows are missing.
    """
    name = facts.get("rule", "tpr")
    delta = None if facts.get("delta") is None else float(facts["delta"])
    if name == "tpr":
        return Threshold.from_facts(facts, id_scores)
    if name == "class":
        if id_predictions is None or id_predictions.size != id_scores.size:
            raise InputError("thresholds by class need the class of each row behind them")
        own = [id_scores[id_predictions == c] for c in range(len(facts["values"]))]
        return ClassThresholds(
            tuple(
                Threshold(float(value), float(facts["tpr"]), scores, delta)
                for value, scores in zip(facts["values"], own, strict=True)
            )
        )
    if name in ("selective_risk", "expected_error"):
        return RiskRule(
            float(facts["value"]), float(facts["risk"]), delta, float(facts["coverage"]), id_scores
        )
    if name == "method":
        return MethodRule(float(facts["coverage"]), str(facts["rejects"]), id_scores)
    raise InputError(f"no rule is called {name!r}; a later toolkit may have written it")
