"""Agreement of several members: an ensemble, dropout passes or augmentations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.chunks import located, predicted_chunks
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "TSimilarity",
    "TSimilarityScorer",
    "VoteEntropy",
    "VoteEntropyScorer",
    "member_probabilities",
]


def member_probabilities(x: Outputs) -> Iterator[tuple[slice, list[Array]]]:
    """Softmax of each member, chunk by chunk."""
    for part, members in _members(x):
        yield part, [p for p, _ in members]


def _members(x: Outputs) -> Iterator[tuple[slice, list[tuple[Array, Array]]]]:
    """Softmax and predictions of each member, chunk by chunk."""
    assert x.members is not None
    records = [
        replace(x, logits=logits, members=None, source=located(x, f"member {number}"))
        for number, logits in enumerate(x.members)
    ]
    for chunks in zip(*map(predicted_chunks, records), strict=True):
        yield chunks[0][0], [(p, predicted) for _, p, predicted in chunks]


@method(
    "vote_entropy",
    family="members",
    needs="members",
    reference="Dagan & Engelson, ICML 1995",
    laws="class_permutation",
)
@dataclass(frozen=True)
class VoteEntropy:
    """Negative entropy of the members' votes.

    S = sum_c (v_c / M) ln(v_c / M), v_c the members that predict c, in nats, in [-ln M, 0];
    larger = more in-distribution.

    Notes
    -----
    Fit nothing; score O(M N C) time, O(N + M C) memory; M members.

    Works where members are many and err independently; fails where they are few, for then few
    values are possible and most rows tie at 0.

    References
    ----------
    Dagan & Engelson, "Committee-Based Sampling for Training Probabilistic Classifiers",
    ICML 1995.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, VoteEntropy
    >>> members = np.array([[[2.0, 0.0]], [[0.0, 1.0]]])
    >>> VoteEntropy().fit().score(Outputs(members=members)).round(4)
    array([-0.6931])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return VoteEntropyScorer(self, 0, 0)


@dataclass(frozen=True)
class VoteEntropyScorer(FittedScorer):
    """Scorer of `VoteEntropy`."""

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        for part, members in _members(x):
            votes = np.zeros_like(members[0][0])
            rows = np.arange(len(votes))
            for _, predicted in members:
                votes[rows, predicted] += 1.0 / len(members)
            scores[part] = (votes * np.log(np.where(votes > 0, votes, 1.0))).sum(axis=1)
        return scores


@method(
    "t_similarity",
    family="members",
    needs="members",
    reference="Odonnat et al., AISTATS 2024",
    laws="class_permutation",
)
@dataclass(frozen=True)
class TSimilarity:
    """Mean inner product of the members' softmax probabilities, over pairs of members.

    S = mean over i != j of <p^i, p^j>, in [0, 1]; larger = more in-distribution; 1 where all
    members give one class all their mass.

    Notes
    -----
    Fit nothing; score O(M N C) time, O(N + M C) memory; M members.

    Works where members were trained to differ beyond the training data; fails where they were
    trained alike and share their mistakes, on which all are confident together.

    References
    ----------
    Odonnat, Feofanov & Redko, "Leveraging Ensemble Diversity for Robust Self-Training in the
    Presence of Sample Selection Bias", AISTATS 2024, arXiv 2310.14814.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, TSimilarity
    >>> heads = np.array([[[0.7, 0.2, 0.1]], [[0.6, 0.3, 0.1]], [[0.1, 0.8, 0.1]]])
    >>> TSimilarity().fit().score(Outputs(members=np.log(heads))).round(4)
    array([0.3467])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return TSimilarityScorer(self, 0, 0)


@dataclass(frozen=True)
class TSimilarityScorer(FittedScorer):
    """Scorer of `TSimilarity`."""

    def _score(self, x: Outputs) -> Array:
        assert x.members is not None
        count = x.members.shape[0]
        if count < 2:
            raise InputError(located(x, "t_similarity needs at least two members, got one"))
        scores = np.empty(len(x))
        for part, members in member_probabilities(x):
            total = np.sum(members, axis=0)
            own = sum((np.einsum("nc,nc->n", p, p) for p in members), np.zeros(1))
            pairs = np.einsum("nc,nc->n", total, total) - own
            scores[part] = pairs / (count * (count - 1))
        return scores
