"""Scores from the largest softmax probabilities of one row; nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.detectors.base import LogitDetector
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.kernels.statistics import (
    IMPURITY,
    LEAD,
    TAIL,
    RowStatistics,
    Statistic,
)
from ood_toolkit.outputs import Array

__all__ = ["MSP", "Gini", "Margin"]

SHIFT_AND_PERMUTATION = "logit_shift class_permutation"


@method(
    "msp",
    family="logits",
    needs="logits",
    reference="Hendrycks & Gimpel, ICLR 2017",
    laws=SHIFT_AND_PERMUTATION,
)
@dataclass(frozen=True)
class MSP(LogitDetector):
    """Maximum softmax probability: the classifier's confidence in its prediction.

    S = max p, in [1/C, 1]; larger = more in-distribution.  Logits (N, C) of any float type;
    computed in float64, where two confident rows tie only beyond a gap of about 36 nats
    (`logit_margin` and `energy` never tie there).

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where the classifier errs, since wrong predictions tend to be less probable ones; fails
    where the network is sure of what it never saw, for along a ray away from the data the softmax
    almost always ends at one class.

    References
    ----------
    Hendrycks & Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks", ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MSP, Outputs
    >>> MSP().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([0.659])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """Only the mass beside the prediction."""
        return (TAIL,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """1 - tail."""
        return rows.probability()


@method(
    "margin",
    family="logits",
    needs="logits",
    reference="Scheffer et al., IDA 2001",
    laws=SHIFT_AND_PERMUTATION,
)
@dataclass(frozen=True)
class Margin(LogitDetector):
    """Difference of the two largest softmax probabilities.

    S = p_(1) - p_(2), in [0, 1]; larger = more in-distribution.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where two classes compete, as near their common boundary; fails where most rows are
    confident, since differences then crowd below 1, and where an unfamiliar row has one favourite.

    References
    ----------
    Scheffer, Decomain & Wrobel, "Active Hidden Markov Models for Information Extraction",
    IDA 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Margin, Outputs
    >>> Margin().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([0.4166])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """The difference itself, which cancels no digits when the two are close."""
        return (LEAD,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Itself."""
        return rows[LEAD]


@method(
    "gini",
    family="logits",
    needs="logits",
    reference="Granese et al., NeurIPS 2021 (DOCTOR)",
    laws=SHIFT_AND_PERMUTATION,
    grid={"variant": ("alpha", "beta")},
)
@dataclass(frozen=True)
class Gini(LogitDetector):
    """DOCTOR: odds that a label drawn from the softmax, or the predicted one, is wrong.

    alpha: S = -(1 - g) / g with g = sum p^2; beta: S = -(1 - max p) / max p, a monotone
    function of `msp`.  In [1 - C, 0], where logits shorter than float64 may leave 1 - C by
    float32's rounding; larger = more in-distribution.

    Parameters
    ----------
    variant : "alpha" or "beta"
        Which of the paper's two scores.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where doubt shows in the few largest probabilities together; fails where a wrong or
    unfamiliar row is predicted with confidence, and beta cannot rank otherwise than `msp`.

    References
    ----------
    Granese et al., "DOCTOR: A Simple Method for Detecting Misclassification Errors",
    NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Gini, Outputs
    >>> Gini().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([-0.989])
    """

    variant: Literal["alpha", "beta"] = "alpha"

    def statistics(self) -> tuple[Statistic, ...]:
        """Impurity or tail mass, both exact where the row is confident."""
        return (IMPURITY,) if self.variant == "alpha" else (TAIL,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Minus the odds."""
        wrong = rows[IMPURITY] if self.variant == "alpha" else rows[TAIL]
        return np.asarray(-wrong / (1.0 - wrong))
