"""A threshold on a score, set on in-distribution data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.decision.guarantees import guaranteed_rank
from ood_toolkit.decision.verdict import Verdict
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.metrics.inputs import least_count
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["Threshold", "ascending", "conformal_p_values"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Accept a row when its score is at least `value`.

    Parameters
    ----------
    value : float
        The smallest score that is accepted.
    tpr : float
        Share of the in-distribution scores that had to be accepted.
    id_scores : (N,) array of float64
        The in-distribution scores it was set on, ascending.
    delta : float or None
        Probability with which its guarantee may fail; None without a guarantee.

    Examples
    --------
    >>> import numpy as np
    >>> threshold = Threshold.at_tpr(np.arange(1.0, 21.0), tpr=0.95)
    >>> threshold.value
    2.0
    >>> threshold.accept(np.array([1.5, 2.0]))
    array([False,  True])
    >>> threshold.p_value(np.array([0.0, 20.0])).round(3)
    array([0.048, 1.   ])
    """

    value: float
    tpr: float
    id_scores: Array
    delta: float | None = None

    @classmethod
    def at_tpr(cls, id_scores: Array, tpr: float = 0.95) -> Threshold:
        """The ceil(tpr N)-th largest in-distribution score.

        Raises
        ------
        BadParameter
            If `tpr` is not in (0, 1].
        InputError
            If there are no scores, or one is NaN.
        """
        if not 0.0 < tpr <= 1.0:
            raise BadParameter(f"tpr must lie in (0, 1], got {tpr}")
        ordered = ascending(id_scores)
        accepted = least_count(tpr, ordered.size)
        return cls(float(ordered[ordered.size - accepted]), tpr, ordered)

    @classmethod
    def guaranteed(cls, id_scores: Array, tpr: float = 0.95, delta: float = 0.05) -> Threshold:
        """The largest threshold that accepts `tpr` of new rows with confidence 1 - `delta`.

        For in-distribution rows drawn independently, P(rate of acceptance >= tpr) >= 1 - delta
        over the draw of the scores; exact for scores without ties, else on the safe side.

        Raises
        ------
        BadParameter
            If `tpr` or `delta` is not in (0, 1).
        InputError
            If a score is NaN, or there are too few; the message says how many it takes.

        Examples
        --------
        >>> import numpy as np
        >>> Threshold.guaranteed(np.arange(1000.0), tpr=0.95, delta=0.05).value
        38.0
        """
        rank = guaranteed_rank(int(np.size(id_scores)), tpr, delta)
        ordered = ascending(id_scores)
        return cls(float(ordered[rank - 1]), tpr, ordered, delta)

    def accept(self, scores: Array, /) -> Array:
        """Whether each score reaches the threshold.  (N,) -> (N,) bool."""
        return np.asarray(np.asarray(scores) >= self.value)

    def p_value(self, scores: Array, /) -> Array:
        """Conformal p-value of each score under "this row is in-distribution".

        (1 + number of in-distribution scores <= score) / (N + 1), in (0, 1]; for
        exchangeable in-distribution rows P(p <= t) <= t; NaN for NaN.  (N,) -> (N,) float64.
        """
        return conformal_p_values(self.id_scores, scores)

    def verdict(self, x: Outputs, scores: Array, scorer: Scorer, /) -> Verdict:
        """Judge rows by their scores."""
        accept = self.accept(scores)
        return Verdict(accept, self.p_value(scores), np.full(len(accept), self.value))

    def why(self, score: float, limit: float, /) -> str:
        """The score and the threshold."""
        return f"score {score:.6g} is below the threshold {limit:.6g}"

    def arrays(self) -> Mapping[str, Array]:
        """The scores it was set on."""
        return {"id_scores": self.id_scores}

    def facts(self) -> dict[str, Any]:
        """JSON-ready description, without the scores."""
        facts = {"value": self.value, "tpr": self.tpr, "rows": int(self.id_scores.size)}
        return facts if self.delta is None else {**facts, "guarantee": True, "delta": self.delta}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], id_scores: Array) -> Threshold:
        """The threshold that `facts` and the scores describe."""
        delta = facts.get("delta")
        return cls(
            float(facts["value"]),
            float(facts["tpr"]),
            id_scores,
            None if delta is None else float(delta),
        )


def conformal_p_values(id_scores: Array, scores: Array) -> Array:
    """(1 + number of the ascending `id_scores` <= score) / (N + 1); NaN for NaN."""
    values = np.asarray(scores, dtype=np.float64)
    at_most = np.searchsorted(id_scores, values, side="right")
    return np.where(np.isnan(values), np.nan, (1.0 + at_most) / (id_scores.size + 1.0))


def ascending(id_scores: Array) -> Array:
    """The scores in ascending order; `InputError` where there are none, or one is NaN."""
    ordered: Array = np.sort(np.asarray(id_scores, dtype=np.float64))
    if ordered.size == 0 or np.isnan(ordered[-1]):
        raise InputError("a threshold needs in-distribution scores, none of them NaN")
    return ordered
