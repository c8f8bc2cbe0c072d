"""CoP and CoRP: what a feature's direction holds outside the training directions' subspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import scored_features
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.principal_axes import principal_subspace, residual_lengths
from ood_toolkit.detectors.training import training_features
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["CoP", "CoPScorer", "CoRP", "CoRPScorer"]


@method(
    "pca",
    family="features",
    needs="features",
    train="features",
    reference="Fang et al., NeurIPS 2024 (CoP)",
    laws="feature_scale feature_rotation",
    grid={"explained": (0.5, 0.7, 0.85, 0.9, 0.95, 0.99)},
)
@dataclass(frozen=True)
class CoP:
    """Reconstruction error of the normalised feature by principal components (CoP).

    S = -||(I - U U^T)(f/||f|| - mu)||, in (-inf, 0]; larger = more in-distribution.  U holds
    the first principal axes of the normalised training features about their mean mu.  A
    feature row of zeros has no direction and is refused.

    Parameters
    ----------
    explained : float
        Share of the variance, in (0, 1), that the axes explain: as few as reach it.  The
        authors take 0.85 for CIFAR-10 and 0.99 for ImageNet-1K.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(D^2) memory; score O(N D q) time, O(N + D) memory; q axes kept.

    Works where the directions of familiar rows need few axes and outliers leave these; fails where
    outliers have the same axes, or so many are kept that hardly a residual is left.

    References
    ----------
    Fang et al., "Kernel PCA for Out-of-Distribution Detection", NeurIPS 2024: PCA under the
    cosine kernel.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import CoP, Outputs
    >>> train = Outputs(features=np.array([[1.0, 0, 0], [0, 1.0, 0], [1, 2, 0], [2, 1, 0.1]]))
    >>> x = Outputs(features=np.array([[3.0, 3.0, 0.0], [0.0, 0.0, 1.0]]))
    >>> CoP(explained=0.8).fit(train).score(x).round(2)
    array([-0.17, -1.29])
    """

    explained: float = 0.85

    def __post_init__(self) -> None:
        require(0 < self.explained < 1, f"pca.explained must lie in (0, 1), got {self.explained}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> CoPScorer:
        """Learn mean and principal axes of the normalised features."""
        record = training_features("pca", train)
        assert record.features is not None
        dims = record.features.shape[1]
        found = principal_subspace("pca", record, lambda rows: rows, dims, self.explained)
        return CoPScorer(self, 0, dims, found.mean, found.axes, found.explained)


@dataclass(frozen=True)
class CoPScorer(FittedScorer):
    """Fitted `CoP`.

    Attributes
    ----------
    mean : (D,) array of float64
        Of the normalised training features.
    axes : (q, D) array of float64
        Their principal axes, orthonormal.
    explained : float
        Share of the variance they explain.
    """

    mean: Array
    axes: Array
    explained: float

    shapes = {"mean": "D", "axes": "q D"}

    def _score(self, x: Outputs) -> Array:
        def judge(chunk: Array, _: slice) -> Array:
            return -residual_lengths(chunk, self.mean, self.axes)

        return scored_features(x, judge, unit_length=True)

    def report(self) -> Mapping[str, Any]:
        """Axes kept and the variance they explain."""
        return {"dimensions": self.dims, "axes": len(self.axes), "explained": self.explained}


@method(
    "corp",
    family="features",
    needs="features",
    train="features",
    reference="Fang et al., NeurIPS 2024 (CoRP)",
    laws="feature_scale",
    grid={"explained": (0.5, 0.8, 0.9), "gamma": (0.5, 1, 2, 3)},
)
@dataclass(frozen=True)
class CoRP:
    """Reconstruction error of random Fourier features of the normalised feature (CoRP).

    S = -||(I - U U^T)(r(f/||f||) - mu)||, in (-inf, 0]; larger = more in-distribution.
    r(v) = sqrt(2 / M) cos(Omega v + u), whose inner products approach the Gaussian kernel
    exp(-gamma ||v - w||^2); U holds the first principal axes of the mapped training features
    about their mean mu.  A feature row of zeros has no direction and is refused.

    Parameters
    ----------
    explained : float
        Share of the variance, in (0, 1), that the axes explain: as few as reach it.  The
        authors take 0.8 for CIFAR-10 and 0.5 for ImageNet-1K.
    gamma : float
        Of the kernel; 2 for CIFAR-10 and 3 for ImageNet-1K.
    width : int
        M, the number of random features; 2048 for CIFAR-10 and 4096 for ImageNet-1K.
    seed : int
        Of numpy's `default_rng`, from which Omega, (M, D) normal numbers of variance
        2 gamma, and then u, M numbers uniform in [0, 2 pi), are drawn.

    Notes
    -----
    Fit O(N w (D + w) + w^3) time, O(w D + w^2) memory; score O(N w (D + q)) time, O(N + w) memory;
    w random features (`width`), q axes kept.

    Works where familiar directions lie on curved sheets, which linear axes miss; fails where gamma
    does not suit the distances among directions, or where `width` is too small for the kernel.

    References
    ----------
    Fang et al., "Kernel PCA for Out-of-Distribution Detection", NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import CoRP, Outputs
    >>> train = Outputs(features=np.array([[1.0, 0, 0], [0, 1.0, 0], [1, 2, 0], [2, 1, 0.1]]))
    >>> x = Outputs(features=np.array([[3.0, 3.0, 0.0], [0.0, 0.0, 1.0]]))
    >>> near, far = CoRP(width=64).fit(train).score(x)
    >>> bool(near > far)
    True
    """

    explained: float = 0.8
    gamma: float = 2.0
    width: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.explained < 1, f"corp.explained must lie in (0, 1), got {self.explained}")
        require(self.gamma > 0, f"corp.gamma must be positive, got {self.gamma}")
        require(self.width >= 2, f"corp.width must be at least 2, got {self.width}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> CoRPScorer:
        """Draw the random features; learn mean and principal axes of the mapped rows."""
        record = training_features("corp", train)
        assert record.features is not None
        dims = record.features.shape[1]
        rng = np.random.default_rng(self.seed)
        frequencies = np.sqrt(2 * self.gamma) * rng.standard_normal((self.width, dims))
        phases = rng.uniform(0.0, 2 * np.pi, self.width)

        def mapped(rows: Array) -> Array:
            return fourier_features(rows, frequencies, phases)

        found = principal_subspace("corp", record, mapped, self.width, self.explained)
        return CoRPScorer(
            self, 0, dims, frequencies, phases, found.mean, found.axes, found.explained
        )


def fourier_features(rows: Array, frequencies: Array, phases: Array) -> Array:
    """Sqrt(2 / M) cos(Omega v + u).  (n, D), (M, D), (M,) -> (n, M)."""
    angles = rows @ frequencies.T
    angles += phases
    np.cos(angles, out=angles)
    angles *= np.sqrt(2.0 / len(phases))
    return angles


@dataclass(frozen=True)
class CoRPScorer(FittedScorer):
    """Fitted `CoRP`.

    Attributes
    ----------
    frequencies : (M, D) array of float64
        Omega.
    phases : (M,) array of float64
        u.
    mean : (M,) array of float64
        Of the mapped training features.
    axes : (q, M) array of float64
        Their principal axes, orthonormal.
    explained : float
        Share of the variance they explain.
    """

    frequencies: Array
    phases: Array
    mean: Array
    axes: Array
    explained: float

    shapes = {"frequencies": "M D", "phases": "M", "mean": "M", "axes": "q M"}

    def _score(self, x: Outputs) -> Array:
        def judge(chunk: Array, _: slice) -> Array:
            mapped = fourier_features(chunk, self.frequencies, self.phases)
            return -residual_lengths(mapped, self.mean, self.axes)

        return scored_features(x, judge, unit_length=True)

    def report(self) -> Mapping[str, Any]:
        """Random features, axes kept and the variance they explain."""
        return {
            "random_features": len(self.phases),
            "axes": len(self.axes),
            "explained": self.explained,
        }
