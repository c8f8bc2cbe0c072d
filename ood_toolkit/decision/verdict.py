"""What every rule of acceptance says of rows, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ood_toolkit.chunks import checked_statistics, located
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["Rule", "Verdict", "known_labels", "predicted_classes", "right_predictions"]


class Verdict(NamedTuple):
    """What a rule says of N rows.

    Attributes
    ----------
    accept : (N,) array of bool
    p_value : (N,) array of float64
        Of "this row is in-distribution".
    limit : (N,) array of float64
        The smallest score that would have been accepted; NaN where the rule is no limit of
        the score.
    """

    accept: Array
    p_value: Array
    limit: Array


class Rule(Protocol):
    """Says which rows to accept, and can be stored beside the scorer whose scores it reads."""

    @property
    def id_scores(self) -> Array:
        """(N,) scores of the in-distribution rows it was set on."""
        ...

    def verdict(self, x: Outputs, scores: Array, scorer: Scorer, /) -> Verdict:
        """Judge the rows of `x`, whose scores by `scorer` are known already."""
        ...

    def why(self, score: float, limit: float, /) -> str:
        """Why a row is not accepted, in words."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON-ready description, without the scores."""
        ...

    def arrays(self) -> Mapping[str, Array]:
        """What is stored beside the facts: `id_scores` and, by class, `id_predictions`."""
        ...


def predicted_classes(x: Outputs) -> Array:
    """(N,) int64 classes of the largest logit; `InputError` without logits."""
    if x.logits is None:
        raise InputError(located(x, "thresholds by class need logits, which say the class"))
    return checked_statistics(x, (PREDICTION,))[PREDICTION]


def known_labels(x: Outputs) -> Array:
    """(N,) labels, all known.

    Raises
    ------
    InputError
        If logits or labels are missing, or naming the first row whose label is unknown.
    """
    if x.logits is None or x.labels is None:
        raise InputError(located(x, "a bound on wrong predictions needs logits and labels"))
    if (x.labels < 0).any():
        row = int((x.labels < 0).argmax())
        raise InputError(
            located(x, f"labels: row {row} is {x.labels[row]} (unknown); use labelled rows")
        )
    return x.labels


def right_predictions(x: Outputs) -> Array:
    """Whether each row's largest logit is that of its label; as `known_labels`.  (N,) bool."""
    labels = known_labels(x)
    return np.asarray(predicted_classes(x) == labels)
