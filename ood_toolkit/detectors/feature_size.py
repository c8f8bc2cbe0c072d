"""Size of the feature vector; nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.chunks import scored_features
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["FeatureNorm", "FeatureNormScorer"]


@method(
    "feature_norm",
    family="features",
    needs="features",
    reference="Yu et al., CVPR 2023; norm of the non-negative part",
    laws="",
    grid={"order": (1, 2)},
)
@dataclass(frozen=True)
class FeatureNorm:
    """Norm of the feature's non-negative part.

    S = ||max(f, 0)||, in [0, inf); larger = more in-distribution.

    Parameters
    ----------
    order : int
        1 or 2.

    Notes
    -----
    Fit nothing; score O(N D) time, O(N + D) memory.

    Works where a layer fires less for what it does not know, as rectified ones tend to; fails where
    features have been normalised, and on outliers that excite the layer.

    References
    ----------
    Yu et al., "Block Selection Method for Using Feature Norm in Out-of-Distribution
    Detection", CVPR 2023, on the penultimate layer.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import FeatureNorm, Outputs
    >>> FeatureNorm(order=2).fit().score(Outputs(features=np.array([[3.0, 4.0, -9.0]])))
    array([5.])
    """

    order: int = 1

    def __post_init__(self) -> None:
        require(self.order in (1, 2), f"feature_norm.order is 1 or 2, got {self.order}")

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        return FeatureNormScorer(self, 0, 0)


@dataclass(frozen=True)
class FeatureNormScorer(FittedScorer):
    """Scorer of `FeatureNorm`."""

    def _score(self, x: Outputs) -> Array:
        order = self.detector.order
        return scored_features(x, lambda f, _: np.linalg.norm(np.maximum(f, 0.0), order, axis=1))
