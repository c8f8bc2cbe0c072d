"""Scores of generated sequences, from the logits of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.sequence_scorer import SequenceDetector
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    LARGEST,
    RowStatistics,
    Statistic,
    excess,
)
from ood_toolkit.outputs import Array

__all__ = [
    "SequenceEntropy",
    "SequenceLogProbability",
    "SequenceSoftmaxVariance",
    "SequenceWorstToken",
]

REFERENCE = "Huang et al. 2024, arXiv 2403.04222"


@method(
    "sequence_entropy",
    family="sequences",
    needs="token_logits",
    reference=REFERENCE,
)
@dataclass(frozen=True)
class SequenceEntropy(SequenceDetector):
    """Negative mean entropy of the tokens of a sequence.

    S = -(1/T) sum_t H(p_t), in nats, in [-ln V, 0]; larger = more in-distribution.  The T
    tokens are those where `token_mask` is not 0, all without a mask; a sequence without any
    scores NaN, with a warning.

    Notes
    -----
    Fit nothing; score O(N T V) time, O(N T + V) memory; T tokens, V words.

    Works where the model is unsure of most words of an unfamiliar text; fails where one wrong word
    stands in a long fluent text, for the mean dilutes it.

    References
    ----------
    Huang et al., 2024, arXiv 2403.04222 (glass-box features of large language models).

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SequenceEntropy
    >>> z = np.log([[[0.5, 0.5], [0.9, 0.1]]])
    >>> x = Outputs(token_logits=z, token_mask=np.array([[1, 0]]))
    >>> SequenceEntropy().fit().score(x).round(4)
    array([-0.6931])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """Shannon's entropy."""
        return (ENTROPY,)

    def combine(self, tokens: RowStatistics, own: Array, /) -> Array:
        """Its negative."""
        return -tokens[ENTROPY]


@method(
    "sequence_softmax_variance",
    family="sequences",
    needs="token_logits",
    reference=REFERENCE,
)
@dataclass(frozen=True)
class SequenceSoftmaxVariance(SequenceDetector):
    """Mean variance of the tokens' probabilities across the vocabulary.

    S = (1/T) sum_t ((1/V) sum_v p_tv^2 - 1/V^2), in [0, 1/V); larger = more in-distribution.
    A masked word (-inf) does not count in V.  Tokens count as for `sequence_entropy`.  The
    paper's definition was not to be had; this is the population variance.

    Notes
    -----
    Fit nothing; score O(N T V) time, O(N T + V) memory; T tokens, V words.

    Works where known text makes peaked distributions; fails where tokens differ in their number of
    unmasked words, with which the variance shrinks, and where one word among many is wrong.

    References
    ----------
    Huang et al., 2024, arXiv 2403.04222 (glass-box features of large language models).

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SequenceSoftmaxVariance
    >>> x = Outputs(token_logits=np.log([[[0.5, 0.5], [0.9, 0.1]]]))
    >>> SequenceSoftmaxVariance().fit().score(x).round(4)
    array([0.08])
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """1 - sum p^2, and V."""
        return (IMPURITY, CLASSES)

    def combine(self, tokens: RowStatistics, own: Array, /) -> Array:
        """(sum p^2 - 1/V) / V."""
        words = tokens[CLASSES]
        return np.asarray(np.maximum(1.0 - tokens[IMPURITY] - 1.0 / words, 0.0) / words)


class _OfGeneratedTokens(SequenceDetector):
    """The log-probability of the token that was generated."""

    reads_ids = True

    def statistics(self) -> tuple[Statistic, ...]:
        """The largest logit, and how far the log-sum-exp exceeds it."""
        return (LARGEST, excess())

    def combine(self, tokens: RowStatistics, own: Array, /) -> Array:
        """z_y - lse(z)."""
        return np.asarray((own - tokens[LARGEST]) - tokens[excess()])


@method(
    "sequence_log_probability",
    family="sequences",
    needs="token_logits token_ids",
    reference=REFERENCE,
)
@dataclass(frozen=True)
class SequenceLogProbability(_OfGeneratedTokens):
    """Mean log-probability of the tokens that were generated.

    S = (1/T) sum_t ln p_t(y_t), in nats, in [-inf, 0]; larger = more in-distribution.  y_t is
    in `token_ids`.  Tokens count as for `sequence_entropy`.

    Notes
    -----
    Fit nothing; score O(N T V) time, O(N T + V) memory; T tokens, V words.

    Works where there is one right wording, which the model should find plausible word by word;
    fails where many wordings are equally right, since they share the probability.

    References
    ----------
    Huang et al., 2024, arXiv 2403.04222 (glass-box features of large language models).

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SequenceLogProbability
    >>> z = np.log([[[0.5, 0.5], [0.9, 0.1]]])
    >>> x = Outputs(token_logits=z, token_ids=np.array([[1, 0]]))
    >>> SequenceLogProbability().fit().score(x).round(4)
    array([-0.3993])
    """


@method(
    "sequence_worst_token",
    family="sequences",
    needs="token_logits token_ids",
    reference="least log-probability of a token",
)
@dataclass(frozen=True)
class SequenceWorstToken(_OfGeneratedTokens):
    """Log-probability of the least probable token that was generated.

    S = min_t ln p_t(y_t), in nats, in [-inf, 0]; larger = more in-distribution.  One token in
    doubt lowers it however long the sequence is.  Tokens count as for `sequence_entropy`.

    Notes
    -----
    Fit nothing; score O(N T V) time, O(N T + V) memory; T tokens, V words.

    Works where a single wrong word spoils the answer; fails where sequences differ in length or
    hold rare names, for the least of more probabilities is smaller without anything being wrong.

    References
    ----------
    The extreme in place of the mean of `sequence_log_probability`.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SequenceWorstToken
    >>> z = np.log([[[0.5, 0.5], [0.9, 0.1]]])
    >>> x = Outputs(token_logits=z, token_ids=np.array([[1, 1]]))
    >>> SequenceWorstToken().fit().score(x).round(4)
    array([-2.3026])
    """

    worst = True
