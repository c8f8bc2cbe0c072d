"""Gaussian mixtures over the features: one a class, or one for all rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.detectors.gaussian_stack import (
    Gaussian,
    GaussianStackScorer,
    inverted,
    inverted_span,
    stacked,
)
from ood_toolkit.detectors.training import (
    feature_matrix,
    finite,
    groups_of_features,
    training_features,
)
from ood_toolkit.errors import BadParameter, ToolkitWarning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require, seed_of_32_bits

__all__ = ["GMM", "GMMScorer"]


@method(
    "gmm",
    family="features",
    needs="features",
    train="features labels",
    reference="Mukhoti et al., CVPR 2023 (one Gaussian a class); mixtures by scikit-learn",
    laws="feature_rotation class_permutation",
    grid={"components": (1, 2, 4), "covariance": ("full", "tied")},
)
@dataclass(frozen=True)
class GMM:
    """Log-likelihood of the feature under Gaussian mixtures.

    S = ln sum_k pi_k N(f; mu_k, Sigma_k + ridge I), unbounded; larger = more in-distribution.
    By default k runs over the classes, pi_k is the share of the training rows and mu_k, Sigma_k
    (divided by its rows) are the class's own.

    Parameters
    ----------
    components : int
        Gaussians in each mixture, found by scikit-learn's `GaussianMixture`; one needs no
        search.  Clamped to the rows of a class, with a warning.
    per_class : bool
        Whether each class has a mixture, weighted by its share of the rows; otherwise one
        mixture is fitted to all rows and labels may be -1.
    covariance : "full" or "tied"
        Whether each component has a covariance of its own or those of one mixture share theirs.
    ridge : float
        Added to the variances, in squared feature units.  With fewer rows than features the
        score is governed by it.
    seed : int
        Of scikit-learn's search.

    Notes
    -----
    Fit O(N D^2 + C D^3) time, O(N D + C D^2) memory; score O(N C D^2) time, O(N + C + D) memory; k
    components a class take k times as much, and EM to find.

    Works where each class is an ellipsoid of its own with many more rows than features; fails where
    it has fewer, for the ridge then makes the score, and where features differ in length.

    References
    ----------
    Mukhoti et al., "Deep Deterministic Uncertainty: A New Simple Baseline", CVPR 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import GMM, Outputs
    >>> train = Outputs(features=np.array([[0.0], [2.0], [10.0], [12.0]]), labels=[0, 0, 1, 1])
    >>> GMM().fit(train).score(Outputs(features=np.array([[1.0], [6.0]]))).round(3)
    array([ -1.612, -13.419])
    """

    components: int = 1
    per_class: bool = True
    covariance: Literal["full", "tied"] = "full"
    ridge: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.components >= 1, f"gmm.components must be >= 1, got {self.components}")
        require(0 < self.ridge < np.inf, f"gmm.ridge must be positive, got {self.ridge}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> GMMScorer:
        """Fit the mixture of each class, or of all rows."""
        record = training_features("gmm", train)
        groups: list[Array] = [np.arange(len(record))]
        if self.per_class:
            labels = training_labels("gmm", record)
            groups = [np.flatnonzero(labels == c) for c in range(int(labels.max()) + 1)]
        elif self.components > len(record):
            raise BadParameter(
                f"gmm.components = {self.components} is more than {len(record)} rows"
            )
        short = [c for c, at in enumerate(groups) if len(at) < self.components]
        if short:
            message = (
                f"gmm: class {short[0]} has {len(groups[short[0]])} rows for {self.components} "
                "components; it gets one a row"
            )
            warnings.warn(located(record, message), ToolkitWarning, stacklevel=3)
        parts: list[Gaussian] = []
        weights: list[float] = []
        for group in groups_of_features(record, groups):
            for weight, gaussian in self._mixture(group, record):
                parts.append(gaussian)
                weights.append(weight * len(group) / len(record))
        dims = len(parts[0].mean)
        offsets = [
            np.log(weight) - 0.5 * (dims * np.log(2 * np.pi) + part.log_determinant())
            for weight, part in zip(weights, parts, strict=True)
        ]
        return GMMScorer(
            self,
            0,
            dims,
            *stacked(parts),
            np.array(offsets),
            min(len(at) for at in groups),
        )

    def _single(self, group: Outputs) -> Gaussian:
        """The one Gaussian of a group of rows."""
        assert group.features is not None
        if len(group) < group.features.shape[1]:
            rows = feature_matrix(group, dtype=np.float64)
            mean = rows.mean(axis=0)
            found = inverted_span(mean, rows - mean, self.ridge, name="gmm")
            if found is not None:
                return found
        moments = feature_moments(group)
        return inverted(moments.mean(), moments.total_covariance(), self.ridge, name="gmm")

    def _mixture(self, group: Outputs, record: Outputs) -> list[tuple[float, Gaussian]]:
        """Weight and Gaussian of each component of the mixture of one group of rows."""
        components = min(self.components, len(group))
        if components == 1:
            return [(1.0, self._single(group))]
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        rows = feature_matrix(group, dtype=np.float64)
        with np.errstate(over="ignore"):
            finite(np.square(rows).sum(axis=0), located(record, "gmm"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            found = GaussianMixture(
                components,
                covariance_type=self.covariance,
                reg_covar=self.ridge,
                random_state=seed_of_32_bits(self.seed),
            ).fit(rows)
        if caught:
            reason = str(caught[0].message).splitlines()[0]
            warnings.warn(located(record, f"gmm: {reason}"), ToolkitWarning, stacklevel=4)
        without_ridge = found.covariances_ - self.ridge * np.eye(rows.shape[1])
        if self.covariance == "tied":
            first = inverted(found.means_[0], without_ridge, self.ridge, name="gmm")
            shared = [
                Gaussian(mean, first.axes, first.precisions, first.floor) for mean in found.means_
            ]
            return list(zip(found.weights_.tolist(), shared, strict=True))
        return [
            (float(weight), inverted(mean, covariance, self.ridge, name="gmm"))
            for weight, mean, covariance in zip(
                found.weights_, found.means_, without_ridge, strict=True
            )
        ]


@dataclass(frozen=True)
class GMMScorer(GaussianStackScorer):
    """Fitted `GMM`: every component of every mixture.

    Attributes
    ----------
    offsets : (K,) array of float64
        Log-weight of each component, less half of D ln(2 pi) + ln |Sigma|.
    smallest : int
        Rows that the smallest mixture was fitted to.
    """

    offsets: Array
    smallest: int

    shapes = {**GaussianStackScorer.shapes, "offsets": "K"}

    def _score(self, x: Outputs) -> Array:
        def judge(chunk: Array, _: slice) -> Array:
            terms = np.empty((len(self.offsets), len(chunk)))
            for k, distance in enumerate(self.squared_distances(chunk)):
                terms[k] = self.offsets[k] - 0.5 * distance
            top = terms.max(axis=0)
            return np.asarray(top + np.log(np.exp(terms - top).sum(axis=0)))

        return scored_features(x, judge)

    def report(self) -> Mapping[str, Any]:
        """Components, rows of the smallest mixture, and the ranks of the covariances."""
        ranks = self.spans[:, 1] - self.spans[:, 0]
        return {
            "components": len(self.means),
            "smallest": self.smallest,
            "least_rank": int(ranks.min()),
            "most_rank": int(ranks.max()),
        }
