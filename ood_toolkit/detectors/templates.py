"""KL matching: the softmax beside the mean softmax of each predicted class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import probability_chunks, scored_probabilities
from ood_toolkit.detectors.base import FittedScorer, training_logits
from ood_toolkit.detectors.catalogue import method
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
    the one-hot template, at infinite distance from every p that is not one-hot too.

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
        total = np.zeros((train.classes, train.classes))
        count = np.zeros(train.classes)
        for _, p in probability_chunks(train):
            predicted = p.argmax(axis=1)
            np.add.at(total, predicted, p)
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
        divergence is then summed in float64.
        """
        assert x.logits is not None
        log_templates = np.log(np.where(self.templates > 0, self.templates, 1.0))
        wide = np.float64 if x.logits.dtype == np.float64 else np.float32
        columns: Array = np.ascontiguousarray(log_templates.T, dtype=wide)
        impossible = (self.templates == 0).astype(np.float64)
        some_impossible = bool(impossible.any())

        def judge(p: Array, part: slice) -> Array:
            likelihood = np.asarray(p, dtype=wide) @ columns
            if some_impossible:
                likelihood[p @ impossible.T > 0] = -np.inf
            nearest = likelihood.argmax(axis=1)
            log_ratio = np.log(np.where(p > 0, p, 1.0)) - log_templates[nearest]
            divergence = np.einsum("nc,nc->n", p, log_ratio)
            reached = likelihood[np.arange(len(p)), nearest] > -np.inf
            return np.where(reached, -divergence, -np.inf)

        return scored_probabilities(x, judge)
