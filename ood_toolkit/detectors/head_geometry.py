"""Scores from how a feature lies to the head's rows and to the training mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.chunks import feature_chunks, logit_chunks
from ood_toolkit.detectors.feature_means import class_means_of, mean_of
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.outputs import Array, Outputs

__all__ = ["NCI", "ORA", "BoundaryScorer", "FDBD", "GradNorm", "GradNormScorer", "NCIScorer"]


@method(
    "gradnorm",
    family="features + head",
    needs="logits features",
    reference="Huang et al., NeurIPS 2021",
    laws="class_permutation logit_shift",
)
@dataclass(frozen=True)
class GradNorm:
    """L1 norm of the gradient that a uniform target would send to the head's weight.

    S = ||f||_1 sum_c |C p_c - 1| in closed form, in [0, inf); larger = more
    in-distribution.

    Parameters
    ----------
    target : "ones" or "uniform"
        Target 1 for every class, as in the authors' code, or 1/C, as in the paper's text; the
        scores differ by the factor C.

    References
    ----------
    Huang, Geng & Li, "On the Importance of Gradients for Detecting Distributional Shifts in
    the Wild", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import GradNorm, Outputs
    >>> x = Outputs(logits=np.array([[2.6, 0.4]]), features=np.array([[2.0, 1.0, 1.0]]))
    >>> GradNorm().fit().score(x).round(4)
    array([6.404])
    """

    target: Literal["ones", "uniform"] = "ones"

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return GradNormScorer(self, 0, 0)


@dataclass(frozen=True)
class GradNormScorer(FittedScorer):
    """Scorer of `GradNorm`."""

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        for (part, f), (_, z) in zip(feature_chunks(x), logit_chunks(x), strict=True):
            live = z > -np.inf
            classes = live.sum(axis=1)
            p, _ = softmax_rows(z)
            spread = (np.abs(classes[:, None] * p - 1.0) * live).sum(axis=1)
            if self.detector.target == "uniform":
                spread /= classes
            scores[part] = np.abs(f).sum(axis=1) * spread
        return scores


@method(
    "nci",
    family="features + head",
    needs="logits features",
    train="features head",
    reference="Liu & Qin, CVPR 2025",
    laws="class_permutation",
)
@dataclass(frozen=True)
class NCI:
    """Neural-collapse inspired: closeness of the centred feature to its class's weight.

    S = <w_c, f - mu> / ||f - mu|| + alpha ||f||_1 with c the prediction and mu the mean
    training feature, unbounded; larger = more in-distribution.

    Parameters
    ----------
    alpha : float
        Weight of the feature norm.

    References
    ----------
    Liu & Qin, "Detecting Out-of-Distribution through the Lens of Neural Collapse", CVPR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, NCI, Outputs
    >>> head = Head(weight=np.eye(2))
    >>> train = Outputs(features=np.array([[1.0, 0.0], [0.0, 1.0]]), head=head)
    >>> NCI(alpha=0.0).fit(train).score(train).round(4)
    array([0.7071, 0.7071])
    """

    alpha: float = 1e-4

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean feature."""
        mean, head = mean_of("nci", train)
        return NCIScorer(
            self, head.weight.shape[0], mean.size, mean, head.weight.astype(np.float64)
        )


@dataclass(frozen=True)
class NCIScorer(FittedScorer):
    """Fitted `NCI`.

    Attributes
    ----------
    mean : (D,) array of float64
        Of the training features.
    weight : (C, D) array of float64
        The head's.
    """

    mean: Array
    weight: Array

    shapes = {"mean": "D", "weight": "C D"}

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        for (part, f), (_, z) in zip(feature_chunks(x), logit_chunks(x), strict=True):
            own = self.weight[z.argmax(axis=1)]
            centred = f - self.mean
            length = np.linalg.norm(centred, axis=1)
            # a feature at the mean has no direction: closeness 0
            closeness = np.einsum("nd,nd->n", own, centred) / np.where(length > 0, length, 1.0)
            scores[part] = closeness + self.detector.alpha * np.abs(f).sum(axis=1)
        return scores


@method(
    "fdbd",
    family="features + head",
    needs="logits features",
    train="features head",
    reference="Liu & Qin, ICML 2024",
    laws="class_permutation feature_rotation",
)
@dataclass(frozen=True)
class FDBD:
    """Distance to the decision boundaries, in units of the distance to the training mean.

    S = sum_{c != y} |z_y - z_c| / ||w_y - w_c|| / ||f - mu||, in [0, inf); larger = more
    in-distribution.  y is the prediction; a class whose weights equal those of y has no
    boundary and does not count.

    Parameters
    ----------
    reduce : "sum" or "mean"
        Over the other classes: the sum of both public codes, or the paper's average.
    regulariser : "distance" or "norm"
        Divide by ||f - mu||, or by ||f||.

    References
    ----------
    Liu & Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import FDBD, Head, Outputs
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = FDBD().fit(Outputs(features=f, head=head))
    >>> scorer.score(Outputs(features=np.array([[2.0, 1.0, 1.0]]), head=head)).round(4)
    array([1.3914])
    """

    reduce: Literal["sum", "mean"] = "sum"
    regulariser: Literal["distance", "norm"] = "distance"

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean feature; keep the inverse distances between the head's rows."""
        mean, head = mean_of("fdbd", train)
        origin = mean if self.regulariser == "distance" else np.zeros_like(mean)
        return BoundaryScorer(
            self, head.weight.shape[0], mean.size, origin, head.weight.astype(np.float64)
        )


@method(
    "ora",
    family="features + head",
    needs="logits features",
    train="features labels head",
    reference="Demirel et al., NeurIPS 2025",
    laws="class_permutation feature_rotation",
)
@dataclass(frozen=True)
class ORA:
    """Largest angle at which the training mean sees the feature and a decision boundary.

    S = max_{c != y} angle(f - m, f_c - m) / pi, in [0, 1]; larger = more in-distribution.  f_c
    is the point of the boundary between the prediction y and class c that is nearest to f; m
    is the mean of the class means.

    References
    ----------
    Demirel et al., out-of-distribution detection with relative angles, NeurIPS 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, ORA, Outputs
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = ORA().fit(Outputs(features=f, labels=[0, 0, 0, 1, 1, 1], head=head))
    >>> scorer.score(Outputs(features=np.array([[2.0, 1.0, 1.0]]), head=head)).round(4)
    array([0.5725])
    """

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn the mean of the class means."""
        means, head = class_means_of("ora", train)
        return BoundaryScorer(
            self, head.weight.shape[0], means.shape[1], means.mean(axis=0),
            head.weight.astype(np.float64),
        )  # fmt: skip


@dataclass(frozen=True)
class BoundaryScorer(FittedScorer):
    """Fitted `FDBD` or `ORA`: scores from the boundaries between the prediction and the rest.

    Attributes
    ----------
    origin : (D,) array of float64
        Where lengths or angles are measured from.
    weight : (C, D) array of float64
        The head's.
    """

    origin: Array
    weight: Array

    shapes = {"origin": "D", "weight": "C D"}

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        gram = self.weight @ self.weight.T
        squares = np.diag(gram)
        for (part, f), (_, z) in zip(feature_chunks(x), logit_chunks(x), strict=True):
            top = z.argmax(axis=1)
            # ||w_y - w_c||^2 of every row's prediction with every class
            gaps = np.maximum(squares[top][:, None] + squares - 2.0 * gram[top], 0.0)
            rounding = 64 * np.finfo(np.float64).eps * (squares[top][:, None] + squares)
            exists = (gaps > rounding) & (z > -np.inf)
            lead = np.where(exists, z[np.arange(len(z)), top][:, None] - np.where(exists, z, 0), 0)
            measure = self._distances if isinstance(self.detector, FDBD) else self._angles
            scores[part] = measure(f - self.origin, top, lead, np.where(exists, gaps, 1.0), exists)
        return scores

    def _distances(
        self, centred: Array, top: Array, lead: Array, gaps: Array, exists: Array
    ) -> Array:
        total = (lead / np.sqrt(gaps)).sum(axis=1)
        if self.detector.reduce == "mean":
            total = total / np.maximum(exists.sum(axis=1), 1)
        length = np.linalg.norm(centred, axis=1)
        with np.errstate(divide="ignore"):
            return np.asarray(np.where(total > 0, total / length, 0.0))

    def _angles(self, centred: Array, top: Array, lead: Array, gaps: Array, exists: Array) -> Array:
        """Angles from inner products alone: f_c = f - t (w_y - w_c), t = lead / gap."""
        t = lead / gaps
        products = centred @ self.weight.T
        along = products[np.arange(len(top)), top][:, None] - products
        square = np.einsum("nd,nd->n", centred, centred)[:, None]
        inner = square - t * along
        # the part of f_c - m across f - m has length t ||(w_y - w_c) across f - m||
        across = t * np.sqrt(np.maximum(gaps * square - along**2, 0.0))
        angles = np.where(exists, np.arctan2(across, inner), 0.0)
        return np.asarray(angles.max(axis=1) / np.pi)
