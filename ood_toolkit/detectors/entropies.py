"""Entropies of the softmax of one row; nothing is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.base import LogitDetector
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    TAIL,
    RowStatistics,
    Statistic,
    excess,
    generalized_entropy,
)
from ood_toolkit.outputs import Array
from ood_toolkit.parameters import require

__all__ = ["GEN", "Entropy", "KLFromUniform", "Renyi"]

SHIFT_AND_PERMUTATION = "logit_shift class_permutation"


@method(
    "msp_kl",
    family="logits",
    needs="logits",
    reference="Hendrycks & Gimpel, ICLR 2017",
    laws=SHIFT_AND_PERMUTATION,
)
@dataclass(frozen=True)
class KLFromUniform(LogitDetector):
    """KL divergence of the softmax from uniform, the baseline paper's second score.

    S = ln C - H(p), in nats, in [0, ln C]; larger = more in-distribution.  C counts the
    unmasked classes of the row.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where `entropy` does, and better where rows differ in their number of classes, which ln C
    allows for; fails where unfamiliar rows are predicted with confidence.

    References
    ----------
    Hendrycks & Gimpel, ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import KLFromUniform, Outputs
    >>> KLFromUniform().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([0.2519])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """Entropy and the number of unmasked classes."""
        return (ENTROPY, CLASSES)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Ln C - H."""
        classes = rows[CLASSES]
        if (classes == classes[:1]).all():  # as where nothing is masked: one logarithm will do
            classes = classes[:1]
        return np.asarray(np.log(classes) - rows[ENTROPY])


@method(
    "entropy",
    family="logits",
    needs="logits",
    reference="Shannon 1948",
    laws=SHIFT_AND_PERMUTATION,
)
@dataclass(frozen=True)
class Entropy(LogitDetector):
    """Negative Shannon entropy of the softmax.

    S = -H(p) = sum p ln p, in nats, in [-ln C, 0]; larger = more in-distribution.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where doubt is spread over several classes, all of which count; fails where the small
    probabilities of very many classes add up in familiar rows too, and where the softmax is
    confident about unfamiliar ones.

    References
    ----------
    Shannon, "A Mathematical Theory of Communication", 1948.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Entropy, Outputs
    >>> Entropy().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([-0.8467])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """The entropy."""
        return (ENTROPY,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """-H."""
        return -rows[ENTROPY]


@method(
    "renyi",
    family="logits",
    needs="logits",
    reference="Rényi 1961",
    laws=SHIFT_AND_PERMUTATION,
    grid={"order": (0.1, 0.25, 0.5, 1, 2, 5, 10, math.inf)},
    infinite="order",
)
@dataclass(frozen=True)
class Renyi(LogitDetector):
    """Negative Rényi entropy of the softmax, of any order.

    S = -H_a(p) = -ln(sum p^a) / (1 - a), in nats, in [-ln C, 0]; larger = more
    in-distribution.  Order 1 is Shannon's entropy, infinity is -ln max p.

    Parameters
    ----------
    order : float
        a > 0; `inf` is allowed.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where the order fits the doubt: below 1 small probabilities weigh more, above 1 the
    largest; fails where unfamiliar rows are predicted with confidence, which no order undoes.

    References
    ----------
    Rényi, "On Measures of Entropy and Information", 1961.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, Renyi
    >>> Renyi(order=2).fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([-0.6876])
    """

    order: float = 2.0

    def __post_init__(self) -> None:
        require(self.order > 0, f"renyi.order must be positive, got {self.order}")

    def statistics(self) -> tuple[Statistic, ...]:
        """What log-sum-exp adds to its largest term at 1 and 1/a, or the limits' statistics."""
        if self.order == 1.0:
            return (ENTROPY,)
        if math.isinf(self.order):
            return (TAIL,)
        if self.order == 2.0:
            return (IMPURITY,)
        return (excess(1.0), excess(1.0 / self.order))

    def combine(self, rows: RowStatistics, /) -> Array:
        """Ln sum p^a = lse(a z) - a lse(z), in which a max z cancels."""
        if self.order == 1.0:
            return -rows[ENTROPY]
        if math.isinf(self.order):
            return np.asarray(np.log1p(-rows[TAIL]))
        if self.order == 2.0:
            return np.asarray(np.log1p(-rows[IMPURITY]))
        log_power_sum = rows[excess(1.0 / self.order)] - self.order * rows[excess(1.0)]
        return np.asarray(-log_power_sum / (1.0 - self.order))


@method(
    "gen",
    family="logits",
    needs="logits",
    reference="Liu et al., CVPR 2023",
    laws=SHIFT_AND_PERMUTATION,
    grid={"gamma": (0.01, 0.1, 0.5, 1, 2, 5, 10), "top": (10, 50, 100, 200, 500, 1000)},
)
@dataclass(frozen=True)
class GEN(LogitDetector):
    """Generalised entropy of the largest probabilities, sensitive to small ones.

    S = -sum over the `top` largest p of p^gamma (1 - p)^gamma, in (-inf, 0]; larger = more
    in-distribution.

    Parameters
    ----------
    gamma : float
        Exponent in (0, inf); the paper's 0.1.
    top : int
        How many probabilities count; all where the classifier has fewer classes.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where familiar and unfamiliar rows differ in their small probabilities, which a small
    gamma magnifies; fails where these are noise, as in the tail of many classes, unless `top` cuts
    the tail off.

    References
    ----------
    Liu, Lochman & Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
    Detection", CVPR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import GEN, Outputs
    >>> GEN().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([-2.4904])
    """

    gamma: float = 0.1
    top: int = 100

    def __post_init__(self) -> None:
        require(
            0 < self.gamma < math.inf, f"gen.gamma must be positive and finite, got {self.gamma}"
        )
        require(self.top >= 1, f"gen.top must be at least 1, got {self.top}")

    def statistics(self) -> tuple[Statistic, ...]:
        """The sum itself."""
        return (generalized_entropy(self.gamma, self.top),)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Minus the sum."""
        return -rows[generalized_entropy(self.gamma, self.top)]
