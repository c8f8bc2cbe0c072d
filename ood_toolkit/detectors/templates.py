"""KL matching: the softmax beside the mean softmax of each predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import predicted_probabilities, scored_probabilities
from ood_toolkit.detectors.base import FittedScorer, training_logits
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.kernels.divergences import divergences
from ood_toolkit.kernels.moments import add_by_class
from ood_toolkit.kernels.pool import in_order
from ood_toolkit.kernels.products import chunk_of_logits
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array, Outputs

__all__ = ["KLMatching", "KLMatchingScorer"]


@method(
    "kl_matching",
    family="logits",
    needs="logits",
    train="logits",
    reference="Hendrycks et al., ICML 2022",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class KLMatching:
    """KL divergence of the softmax to the nearest class template.

    S = -min_c KL(p || d_c), in nats, in (-inf, 0]; d_c is the mean softmax of the training
    rows predicted c; larger = more in-distribution.  A class that is never predicted has
    the one-hot template, at infinite distance from every p that is not one-hot too.  A
    probability below 2e-308, of logits some 700 apart, counts as zero.

    Notes
    -----
    Fit O(N C) time, O(C^2) memory; score O(N C^2) time, O(N + C^2) memory.

    Works where each class has its own usual confusions, which unfamiliar rows lack; fails where
    training predictions are almost one-hot, for the templates then add nothing, and where a class
    is seldom predicted.

    References
    ----------
    Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings",
    ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import KLMatching, Outputs
    >>> train = Outputs(logits=np.array([[2.0, 0.0], [0.0, 2.0]]))
    >>> KLMatching().fit(train).score(train).round(6) + 0.0
    array([0., 0.])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Average the softmax of the rows predicted as each class."""
        training_logits("kl_matching", train)
        assert train is not None
        record, step = train, chunk_of_logits(train.classes)
        total = np.zeros((train.classes, train.classes))
        count = np.zeros(train.classes)

        def softmax(start: int, stop: int) -> tuple[Array, Array]:
            return predicted_probabilities(record, slice(start, stop))

        for p, predicted in in_order(softmax, len(record), step, thread_count()):
            add_by_class(p, predicted, total)
            count += np.bincount(predicted, minlength=train.classes)
        templates = np.where(
            count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.eye(train.classes)
        )
        return KLMatchingScorer(self, train.classes, 0, templates)


@dataclass(frozen=True)
class KLMatchingScorer(FittedScorer):
    """Fitted `KLMatching`.

    Attributes
    ----------
    templates : (C, C) array of float64
        Mean softmax of each predicted class.
    """

    templates: Array

    shapes = {"templates": "C C"}

    def _score(self, x: Outputs) -> Array:
        """KL(p || d) = sum p ln p - sum p ln d, with p ln 0 infinite where p > 0.

        The nearest template is found by a product of the logits' type, float32 at least; its
        divergence is then summed in float64.  One-hot templates take no part in the product:
        they are at distance 0 from the same one-hot row, and from all others at infinity.
        """
        assert x.logits is not None
        wide = np.float64 if x.logits.dtype == np.float64 else np.float32
        one_hot = np.count_nonzero(self.templates, axis=1) == 1
        hot_class = np.zeros(x.classes, dtype=bool)
        hot_class[self.templates[one_hot].argmax(axis=1)] = True
        spread = self.templates[~one_hot]
        log_templates = np.log(np.where(spread > 0, spread, 1.0))
        columns: Array = np.ascontiguousarray(log_templates.T, dtype=wide)
        some_impossible = np.flatnonzero((spread == 0).any(axis=1))
        impossible = (spread[some_impossible] == 0).astype(np.float64).T
        scratch = Scratch()

        def judge(p: Array, part: slice) -> Array:
            scores = np.full(len(p), -np.inf)
            if len(spread):
                likelihood = scratch.array("likelihood", (len(p), len(spread)), wide)
                np.matmul(np.asarray(p, dtype=wide), columns, out=likelihood)
                for k, out_of_reach in zip(some_impossible, (p @ impossible).T > 0, strict=True):
                    likelihood[out_of_reach, k] = -np.inf
                nearest = likelihood.argmax(axis=1)
                reached = likelihood[np.arange(len(p)), nearest] > -np.inf
                room = scratch.array("logarithms", p.shape, np.float64)
                found = divergences(p, log_templates, nearest, room)
                scores[reached] = -found[reached]
            if one_hot.any():
                same = (np.count_nonzero(p, axis=1) == 1) & hot_class[p.argmax(axis=1)]
                scores[same] = 0.0
            return scores

        return scored_probabilities(x, judge)
