"""SSD: Gaussians over the directions of features, one for all rows or one a cluster."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.base import training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.covariance import CovarianceRule, shrunk
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.detectors.gaussian_stack import (
    Gaussian,
    GaussianStackScorer,
    inverted,
    stacked,
)
from ood_toolkit.detectors.training import (
    feature_matrix,
    groups_of_features,
    training_features,
)
from ood_toolkit.errors import BadParameter, InputError, ToolkitWarning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require, seed_of_32_bits

__all__ = ["SSD", "SSDScorer"]


@method(
    "ssd",
    family="features",
    needs="features",
    train="features",
    reference="Sehwag et al., ICLR 2021",
    laws="feature_scale feature_rotation",
    grid={"clusters": (1, 5, "classes"), "covariance": ("pseudo_inverse", "ledoit_wolf", "oas")},
)
@dataclass(frozen=True)
class SSD:
    """Squared Mahalanobis distance of the normalised feature to the nearest cluster.

    S = -min_k (f/||f|| - mu_k)^T Sigma_k^+ (f/||f|| - mu_k), in (-inf, 0]; larger = more
    in-distribution.  Every cluster has a mean and a covariance (divided by its rows) of its
    own; one cluster of all rows needs no labels.  A feature row of zeros has no direction and
    is refused.

    Parameters
    ----------
    clusters : int or "classes"
        How many clusters k-means makes of the normalised features; "classes" takes the
        labels instead, which is one Gaussian a class with its own covariance.  A cluster
        whose rows are all the same is refused.
    covariance : "pseudo_inverse", "ledoit_wolf" or "oas"
        How each Sigma_k is inverted; see `Mahalanobis`.  The pseudo-inverse ignores
        directions in which the rows of a cluster do not vary: with fewer rows than features,
        shrink instead.
    seed : int
        Of scikit-learn's k-means, which is started ten times.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + D^2) memory; score O(N D^2) time, O(N + D) memory; k clusters
    take k times as much, and O(N D) memory to find.

    Works where directions fill one compact region, as after contrastive training without labels;
    fails where classes are apart and one Gaussian covers the room between them, unless clusters are
    asked for.

    References
    ----------
    Sehwag, Chiang & Mittal, "SSD: A Unified Framework for Self-Supervised Outlier Detection",
    ICLR 2021.  Their code standardises each column after normalising, which changes nothing
    where the covariance has full rank.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import SSD, Outputs
    >>> angles = np.array([0.0, 0.2, 0.4, 0.6])
    >>> train = Outputs(features=np.c_[np.cos(angles), np.sin(angles)])
    >>> SSD().fit(train).score(Outputs(features=np.array([[2.0, 0.6], [0.0, 1.0]]))).round(1)
    array([   -1.6, -1193. ])
    """

    clusters: int | Literal["classes"] = 1
    covariance: CovarianceRule = "pseudo_inverse"
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.clusters == "classes" or self.clusters >= 1,
            f"ssd.clusters must be at least 1, got {self.clusters}",
        )

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> SSDScorer:
        """Learn the clusters, and mean and covariance of each."""
        record = training_features("ssd", train)
        word = "class" if self.clusters == "classes" else "cluster"
        if self.clusters == 1:
            parts, smallest = [self._gaussian(record, "ssd")], len(record)
        else:
            owner = self._owners(record)
            present, sizes = np.unique(owner, return_counts=True)
            smallest = int(sizes.min())
            members = (np.flatnonzero(owner == cluster) for cluster in present)
            groups = groups_of_features(record, members, unit_length=True)
            parts = [
                self._gaussian(group, f"ssd: {word} {cluster}")
                for cluster, group in zip(present, groups, strict=True)
            ]
        flat = min(range(len(parts)), key=lambda k: len(parts[k].axes))
        rank, most = len(parts[flat].axes), max(len(part.axes) for part in parts)
        if rank < most:
            message = (
                f"ssd: {word} {flat} varies in {rank} directions, others in {most}; distances "
                "to it ignore the rest and are too small; take fewer clusters or covariance=oas"
            )
            warnings.warn(located(record, message), ToolkitWarning, stacklevel=3)
        return SSDScorer(self, 0, len(parts[0].mean), *stacked(parts), smallest)

    def _owners(self, record: Outputs) -> Array:
        """The cluster of each training row."""
        if self.clusters == "classes":
            return training_labels("ssd with clusters=classes", record)
        if self.clusters > len(record):
            raise BadParameter(f"ssd.clusters = {self.clusters} is more than {len(record)} rows")
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # fewer distinct rows than clusters: those that stay empty are left out
            warnings.simplefilter("ignore", ConvergenceWarning)
            rows = feature_matrix(record, dtype=np.float64, unit_length=True)
            fitted = KMeans(self.clusters, n_init=10, random_state=seed_of_32_bits(self.seed)).fit(
                rows
            )
        return np.asarray(fitted.labels_, dtype=np.int64)

    def _gaussian(self, record: Outputs, name: str) -> Gaussian:
        moments = feature_moments(record, unit_length=True)
        mean, covariance = moments.mean(), moments.total_covariance()
        if self.covariance != "pseudo_inverse":
            rows = feature_matrix(record, dtype=np.float64, unit_length=True)
            covariance = shrunk(covariance, self.covariance, rows - mean, name)
        found = inverted(mean, covariance, name=name)
        if not len(found.axes):
            raise InputError(f"{name}: the covariance is zero; all its rows have one direction")
        return found


@dataclass(frozen=True)
class SSDScorer(GaussianStackScorer):
    """Fitted `SSD`: one Gaussian a cluster.

    Attributes
    ----------
    smallest : int
        Rows of the smallest cluster.
    """

    smallest: int

    def _score(self, x: Outputs) -> Array:
        def judge(chunk: Array, _: slice) -> Array:
            nearest = np.full(len(chunk), np.inf)
            for distance in self.squared_distances(chunk):
                np.minimum(nearest, distance, out=nearest)
            return -nearest

        return scored_features(x, judge, unit_length=True)

    def report(self) -> Mapping[str, Any]:
        """Clusters, rows of the smallest, and the ranks of their covariances."""
        ranks = self.spans[:, 1] - self.spans[:, 0]
        return {
            "clusters": len(self.means),
            "smallest": self.smallest,
            "least_rank": int(ranks.min()),
            "most_rank": int(ranks.max()),
        }
