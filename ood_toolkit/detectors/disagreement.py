"""What the probabilities of several members say together: total doubt, and disagreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.members import member_probabilities
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "ClassVariance",
    "ClassVarianceScorer",
    "MutualInformation",
    "MutualInformationScorer",
    "PredictiveEntropy",
    "PredictiveEntropyScorer",
]


def _sum_p_log_p(p: Array) -> Array:
    """Sum of p ln p over the classes of each row, with 0 ln 0 = 0."""
    return np.asarray((p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1))


@method(
    "predictive_entropy",
    family="members",
    needs="members",
    reference="Gal & Ghahramani, ICML 2016",
    laws="class_permutation",
)
@dataclass(frozen=True)
class PredictiveEntropy:
    """Negative entropy of the members' mean probabilities: total uncertainty.

    S = sum_c q_c ln q_c with q the mean of the members' softmax, in nats, in [-ln C, 0];
    larger = more in-distribution.

    Notes
    -----
    Fit nothing; score O(M N C) time, O(N + M C) memory; M members.

    Works where `entropy` does, and where single members are too sure; fails where rows between
    two classes must be told from rows that are unknown, for it scores both low.

    References
    ----------
    Gal & Ghahramani, "Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep
    Learning", ICML 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, PredictiveEntropy
    >>> members = np.log([[[0.9, 0.1]], [[0.1, 0.9]]])
    >>> PredictiveEntropy().fit().score(Outputs(members=members)).round(4)
    array([-0.6931])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return PredictiveEntropyScorer(self, 0, 0)


@dataclass(frozen=True)
class PredictiveEntropyScorer(FittedScorer):
    """Scorer of `PredictiveEntropy`."""

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        for part, members in member_probabilities(x):
            scores[part] = _sum_p_log_p(np.mean(members, axis=0))
        return scores


@method(
    "mutual_information",
    family="members",
    needs="members",
    reference="Houlsby et al., 2011",
    laws="class_permutation",
)
@dataclass(frozen=True)
class MutualInformation:
    """Negative mutual information of prediction and member (BALD): how much members disagree.

    S = mean_m H(p^m) - H(mean_m p^m), in nats, in [-min(ln M, ln C), 0]; larger = more
    in-distribution; 0 where all members say the same.

    Notes
    -----
    Fit nothing; score O(M N C) time, O(N + M C) memory; M members.

    Works where members differ on what none of them has seen; fails where all are alike, far from
    the data too.

    References
    ----------
    Houlsby, Huszar, Ghahramani & Lengyel, "Bayesian Active Learning for Classification and
    Preference Learning", 2011, arXiv 1112.5745.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MutualInformation, Outputs
    >>> members = np.log([[[0.9, 0.1]], [[0.1, 0.9]]])
    >>> MutualInformation().fit().score(Outputs(members=members)).round(4)
    array([-0.3681])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return MutualInformationScorer(self, 0, 0)


@dataclass(frozen=True)
class MutualInformationScorer(FittedScorer):
    """Scorer of `MutualInformation`."""

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        for part, members in member_probabilities(x):
            own = np.mean([_sum_p_log_p(p) for p in members], axis=0)
            # rounding alone could make it positive
            scores[part] = np.minimum(_sum_p_log_p(np.mean(members, axis=0)) - own, 0.0)
        return scores


@method(
    "class_variance",
    family="members",
    needs="members",
    reference="Smith & Gal, UAI 2018",
    laws="class_permutation",
)
@dataclass(frozen=True)
class ClassVariance:
    """Negative variance of the members' probabilities, averaged over the classes.

    S = -(1 / C) sum_c (mean_m (p^m_c)^2 - (mean_m p^m_c)^2), C the unmasked classes, in
    [-1 / 4, 0]; larger = more in-distribution; 0 where all members say the same.

    Notes
    -----
    Fit nothing; score O(M N C) time, O(N + M C) memory; M members.

    Works where `mutual_information` does, which weighs small probabilities more; fails where all
    members are alike, far from the data too.

    References
    ----------
    Smith & Gal, "Understanding Measures of Uncertainty for Adversarial Example Detection", UAI
    2018.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import ClassVariance, Outputs
    >>> members = np.log([[[0.9, 0.1]], [[0.1, 0.9]]])
    >>> ClassVariance().fit().score(Outputs(members=members)).round(4)
    array([-0.16])
    """

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return ClassVarianceScorer(self, 0, 0)


@dataclass(frozen=True)
class ClassVarianceScorer(FittedScorer):
    """Scorer of `ClassVariance`."""

    def _score(self, x: Outputs) -> Array:
        assert x.members is not None
        scores = np.empty(len(x))
        for part, members in member_probabilities(x):
            spread = np.var(members, axis=0).sum(axis=1)
            live = (x.members[:, part] > -np.inf).any(axis=0).sum(axis=1)
            scores[part] = -spread / live
        return scores
