"""A threshold for each predicted class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.decision.guarantees import rows_needed
from ood_toolkit.decision.threshold import Threshold
from ood_toolkit.decision.verdict import Verdict, predicted_classes
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["ClassThresholds"]


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """Accept a row when its score reaches the threshold of the class predicted for it.

    Of the in-distribution rows predicted as each class, the same share is then accepted; one
    threshold for all classes rejects hard classes more often than easy ones.

    Parameters
    ----------
    thresholds : tuple of Threshold
        One for each class.

    Examples
    --------
    >>> import numpy as np
    >>> scores, predicted = np.arange(40.0), np.arange(40) % 2
    >>> found = ClassThresholds.at_tpr(scores, predicted, 2, tpr=0.9)
    >>> found.accept(np.array([4.0, 4.0]), np.array([0, 1]))
    array([ True, False])
    """

    thresholds: tuple[Threshold, ...]

    @classmethod
    def at_tpr(
        cls,
        id_scores: Array,
        predictions: Array,
        classes: int,
        tpr: float = 0.95,
        delta: float | None = None,
    ) -> ClassThresholds:
        """Set each class's threshold on the in-distribution rows predicted as it.

        Parameters
        ----------
        id_scores : (N,) array of float
            Scores of in-distribution rows.
        predictions : (N,) array of int
            Their predicted classes, 0 ... classes - 1.
        classes : int
            How many there are.
        tpr : float
            As of `Threshold.at_tpr`.
        delta : float, optional
            With it, each class's threshold is `Threshold.guaranteed`, for each class by
            itself.

        Raises
        ------
        BadParameter
            If `tpr` or `delta` is out of range.
        InputError
            If the lengths differ, or naming the first class with too few rows.
        """
        scores, predicted = np.asarray(id_scores), np.asarray(predictions)
        if scores.shape != predicted.shape:
            raise InputError(
                f"{scores.size} scores but {predicted.size} predictions; each row needs both"
            )
        least = 1 if delta is None else rows_needed(tpr, delta)
        found = []
        for c in range(classes):
            own = scores[predicted == c]
            if own.size < least:
                raise InputError(
                    f"class {c}: {own.size} in-distribution rows are predicted as it, its "
                    f"threshold takes {least}"
                )
            found.append(
                Threshold.at_tpr(own, tpr)
                if delta is None
                else Threshold.guaranteed(own, tpr, delta)
            )
        return cls(tuple(found))

    def accept(self, scores: Array, predictions: Array, /) -> Array:
        """Whether each score reaches its class's threshold.  (N,), (N,) -> (N,) bool."""
        values = np.array([threshold.value for threshold in self.thresholds])
        return np.asarray(np.asarray(scores) >= values[np.asarray(predictions)])

    def p_value(self, scores: Array, predictions: Array, /) -> Array:
        """Conformal p-value of each score among the rows of its class.  -> (N,) float64."""
        given, predicted = np.asarray(scores, dtype=np.float64), np.asarray(predictions)
        found = np.empty(given.shape)
        for c, threshold in enumerate(self.thresholds):
            own = predicted == c
            found[own] = threshold.p_value(given[own])
        return found

    @property
    def id_scores(self) -> Array:
        """The scores they were set on, class by class.  (N,) float64."""
        return np.concatenate([threshold.id_scores for threshold in self.thresholds])

    def verdict(self, x: Outputs, scores: Array, scorer: Scorer, /) -> Verdict:
        """Judge rows by their scores and the classes that the largest logits say."""
        predicted = predicted_classes(x)
        if x.classes != len(self.thresholds):
            raise InputError(
                located(x, f"{x.classes} classes, but there are {len(self.thresholds)} thresholds")
            )
        limits = np.array([threshold.value for threshold in self.thresholds])[predicted]
        return Verdict(self.accept(scores, predicted), self.p_value(scores, predicted), limits)

    def why(self, score: float, limit: float, /) -> str:
        """The score and the threshold of the class."""
        return f"score {score:.6g} is below the threshold {limit:.6g} of the predicted class"

    def facts(self) -> dict[str, Any]:
        """JSON-ready description, without the scores."""
        first = self.thresholds[0]
        return {
            "rule": "class",
            "values": [threshold.value for threshold in self.thresholds],
            "tpr": first.tpr,
            "rows": sum(int(threshold.id_scores.size) for threshold in self.thresholds),
            **({} if first.delta is None else {"guarantee": True, "delta": first.delta}),
        }

    def arrays(self) -> Mapping[str, Array]:
        """The scores they were set on, and the class of each."""
        sizes = [threshold.id_scores.size for threshold in self.thresholds]
        return {
            "id_scores": self.id_scores,
            "id_predictions": np.repeat(np.arange(len(sizes)), sizes),
        }
