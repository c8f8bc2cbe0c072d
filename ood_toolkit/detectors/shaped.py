"""Scores after activation shaping: a transform, then any scorer."""

from __future__ import annotations

from dataclasses import dataclass

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.detectors.logit_values import Energy
from ood_toolkit.detectors.parameters import require
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer, Transform
from ood_toolkit.shaping import Clip

__all__ = ["After", "ReAct"]


@dataclass(frozen=True)
class After(FittedScorer):
    """Apply a fitted transform, then score with a fitted scorer.

    Attributes
    ----------
    transform : Transform
        Changes the outputs.
    scorer : Scorer
        Judges the changed outputs.
    """

    transform: Transform
    scorer: Scorer

    def _score(self, x: Outputs) -> Array:
        return self.scorer.score(self.transform.apply(x))


@method(
    "react",
    family="features + head",
    needs="features head",
    train="features head",
    reference="Sun et al., NeurIPS 2021",
    laws="class_permutation",
)
@dataclass(frozen=True)
class ReAct:
    """Energy of the logits recomputed from clipped features.

    S = lse(W min(f, c) + b), unbounded; larger = more in-distribution.  c is a percentile
    of all activations of the training features.

    Parameters
    ----------
    percentile : float
        In [0, 100].

    References
    ----------
    Sun, Guo & Li, "ReAct: Out-of-distribution Detection With Rectified Activations",
    NeurIPS 2021.  The authors take the percentile on validation features; here it is taken
    on the features the method is fitted on.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, ReAct
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = ReAct(percentile=90).fit(Outputs(features=f, head=head))
    >>> scorer.score(Outputs(features=np.array([[0.0, 0.0, 4.0]]), head=head)).round(4)
    array([1.3289])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        require(
            0.0 <= self.percentile <= 100.0,
            f"react.percentile must lie in [0, 100], got {self.percentile}",
        )

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> After:
        """Learn the limit of the activations."""
        if train is None or train.features is None:
            raise InputError("react needs training outputs with features")
        warn_if_head_disagrees("react", train)
        clip = Clip(self.percentile).fit(train)
        return After(self, train.classes, train.features.shape[1], clip, Energy().fit())
