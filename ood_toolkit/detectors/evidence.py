"""Alternatives to the softmax's confidence, from the logits of one row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import checked_statistics, probability_chunks, scored_logits
from ood_toolkit.detectors.base import FittedScorer, LogitDetector
from ood_toolkit.detectors.catalogue import PSEUDO_OUTLIERS, method
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import (
    LARGEST,
    RowStatistics,
    Statistic,
    excess,
    kl_to_prior,
)
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = [
    "Evidential",
    "EvidentialScorer",
    "InformationGain",
    "InformationGainScorer",
    "InhibitedSoftmax",
    "StandardizedLogit",
    "StandardizedLogitScorer",
]

LEAST_SPREAD, MOST_SPREAD = 1e-100, 1e100
"""Rows whose logits deviate by less or more are scaled before anything is squared."""


@method(
    "evidential",
    family="logits",
    needs="logits",
    reference="Sensoy et al., NeurIPS 2018",
    laws="class_permutation",
)
@dataclass(frozen=True)
class Evidential:
    """Negative vacuity of the Dirichlet distribution with evidence max(z, 0).

    S = -C / sum (max(z, 0) + 1), in [-1, 0); larger = more in-distribution.  Meant for
    networks trained with evidence; on others it sums the positive logits.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N + C) memory; a pass of its own.

    Works where the network was trained to give evidence, or where outliers have few positive
    logits; fails where cross-entropy left the level of the logits free, for a constant added to all
    of them changes the score.

    References
    ----------
    Sensoy, Kaplan & Kandemir, "Evidential Deep Learning to Quantify Classification
    Uncertainty", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Evidential, Outputs
    >>> Evidential().fit().score(Outputs(logits=np.array([[3.0, -1.0]])))
    array([-0.4])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return EvidentialScorer(self, 0, 0)


@dataclass(frozen=True)
class EvidentialScorer(FittedScorer):
    """Scorer of `Evidential`."""

    def _score(self, x: Outputs) -> Array:
        def judge(z: Array, part: slice) -> Array:
            classes = (z > -np.inf).sum(axis=1)
            return np.asarray(-classes / (np.maximum(z, 0.0).sum(axis=1) + classes))

        return scored_logits(x, judge)


@method(
    "standardized_logit",
    family="logits",
    needs="logits",
    reference="de Brébisson & Vincent 2016, arXiv 1604.08859",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class StandardizedLogit:
    """The largest logit in standard deviations of the row's own logits.

    S = (max z - mean z) / std z over the classes, in [0, sqrt(C - 1)]; larger = more
    in-distribution.  It does not change when logits are shifted or scaled by a positive
    number.  A row of equal logits scores 0.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N + C) memory; a pass of its own.

    Works where one logit stands out from many alike, whatever their common scale; fails where that
    scale is the signal, and with few classes: of two, the score of every untied row is 1.

    References
    ----------
    The quantity of de Brébisson & Vincent, "The Z-loss: a shift and scale invariant
    classification loss", 2016, arXiv 1604.08859.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, StandardizedLogit
    >>> StandardizedLogit().fit().score(Outputs(logits=np.array([[2.0, 1.0, 0.1]]))).round(4)
    array([1.2457])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return StandardizedLogitScorer(self, 0, 0)


@dataclass(frozen=True)
class StandardizedLogitScorer(FittedScorer):
    """Scorer of `StandardizedLogit`."""

    def _score(self, x: Outputs) -> Array:
        def judge(z: Array, part: slice) -> Array:
            live = z > -np.inf
            mean, spread = _mean_and_spread(z, live)
            extreme = ~((spread > LEAST_SPREAD) & (spread < MOST_SPREAD))
            if extreme.any():
                few = live[extreme]
                mean[extreme], spread[extreme] = _mean_and_spread(_scaled(z[extreme], few), few)
            return np.asarray(mean / np.where(spread > 0, spread, 1.0))

        return scored_logits(x, judge)


def _mean_and_spread(z: Array, live: Array) -> tuple[Array, Array]:
    """Of how much less than the largest each live logit is, mean and deviation.  (n, C) -> (n,)."""
    classes = live.sum(axis=1)
    below = np.where(live, z.max(axis=1, keepdims=True) - z, 0.0)
    mean = below.sum(axis=1) / classes
    centred = np.where(live, below - mean[:, None], 0.0)
    return mean, np.sqrt(np.einsum("nc,nc->n", centred, centred) / classes)


def _scaled(z: Array, live: Array) -> Array:
    """Rows times the power of two that brings their largest magnitude to 1/2 ... 1."""
    magnitude = np.where(live, np.abs(z), 0.0).max(axis=1, keepdims=True)
    return np.asarray(np.ldexp(z, -np.frexp(magnitude)[1]))


@method(
    "inhibited_softmax",
    family="logits",
    needs="logits",
    reference="Możejko et al. 2018, arXiv 1810.01861",
    laws="class_permutation",
    grid={"a": (-5, -2, 0, 1, 2, 5)},
    auto=PSEUDO_OUTLIERS,
)
@dataclass(frozen=True)
class InhibitedSoftmax(LogitDetector):
    """Largest probability of a softmax with one extra, constant logit.

    S = exp(max z) / (sum exp(z) + exp(a)), in [0, 1]; larger = more in-distribution.

    Parameters
    ----------
    a : float
        The constant logit.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics.

    Works where unfamiliar rows have small logits and `a` lies between their level and that of the
    others; fails where `a` is far below all logits, for the score is then `msp`.

    References
    ----------
    Możejko, Susik & Karczewski, "Inhibited Softmax for Uncertainty Estimation in Neural
    Networks", 2018, arXiv 1810.01861.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import InhibitedSoftmax, Outputs
    >>> InhibitedSoftmax(a=0.0).fit().score(Outputs(logits=np.zeros((1, 3))))
    array([0.25])
    """

    a: float = 1.0

    def __post_init__(self) -> None:
        require(math.isfinite(self.a), f"inhibited_softmax.a must be finite, got {self.a}")

    def statistics(self) -> tuple[Statistic, ...]:
        """The largest logit, and by how much log-sum-exp exceeds it."""
        return (LARGEST, excess(1.0))

    def combine(self, rows: RowStatistics, /) -> Array:
        """1 / (sum exp(z - max z) + exp(a - max z)): log-sum-exp itself would be rounded."""
        with np.errstate(over="ignore"):  # nothing but the constant counts: 0
            constant = np.exp(self.a - rows[LARGEST])
        return np.asarray(1.0 / (np.exp(rows[excess(1.0)]) + constant))


@method(
    "information_gain",
    family="logits",
    needs="logits",
    train="logits",
    reference="after Oyama et al., EMNLP 2023",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class InformationGain:
    """KL divergence of the softmax from the class prior.

    S = KL(p || p_0), in nats, in [0, inf]; larger = more in-distribution.  p_0 is the mean
    softmax of the training rows; with a uniform prior the score is `msp_kl`.

    Notes
    -----
    Fit O(N C) time, O(C) memory; score O(N C) time, O(N + C) memory; one pass over the logits,
    shared with the other scores of row statistics.

    Works where classes are unbalanced, for the prediction of a frequent one is then little news;
    fails where unfamiliar rows are predicted as rare classes, since that surprise counts as
    confidence.

    References
    ----------
    The classifier's analogue of Oyama, Yokoi & Shimodaira, "Norm of Word Embedding Encodes
    Information Gain", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import InformationGain, Outputs
    >>> train = Outputs(logits=np.array([[0.0, 0.0]]))
    >>> x = Outputs(logits=np.log([[0.75, 0.25]]))
    >>> InformationGain().fit(train).score(x).round(4)
    array([0.1308])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Average the softmax of all training rows."""
        if train is None or train.logits is None:
            raise InputError("information_gain needs training outputs with logits")
        if len(train) == 0:
            raise InputError("information_gain cannot be fitted on zero rows")
        total = np.zeros(train.classes)
        for _, p in probability_chunks(train):
            total += p.sum(axis=0)
        return InformationGainScorer(self, train.classes, 0, total / len(train))


@dataclass(frozen=True)
class InformationGainScorer(FittedScorer):
    """Fitted `InformationGain`.

    Attributes
    ----------
    prior : (C,) array of float64
        Mean softmax of the training rows.
    """

    prior: Array

    shapes = {"prior": "C"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The divergence itself."""
        return (kl_to_prior(self.prior.tolist()),)

    def combine(self, rows: RowStatistics, /) -> Array:
        """Itself."""
        return rows[self.statistics()[0]]

    def _score(self, x: Outputs) -> Array:
        return self.combine(checked_statistics(x, self.statistics()))
