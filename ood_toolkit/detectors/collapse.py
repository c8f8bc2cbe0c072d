"""NECO: how much of the standardised feature lies in the training features' main subspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.base import FittedScorer, StatisticsScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.covariance import eigenpairs
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.detectors.training import finite
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.statistics import LARGEST, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["NECO", "NECOScorer"]

EXPLAINED = 0.9
"""Share of the variance that the automatic number of axes explains."""


@method(
    "neco",
    family="features + head",
    needs="logits features",
    train="features",
    reference="Ben Ammar et al., ICLR 2024",
    laws="class_permutation",
    grid={"dim": ("auto", 2, 5, 10, 20, 50, 100), "max_logit": (True, False)},
)
@dataclass(frozen=True)
class NECO:
    """Share of the standardised feature in the principal subspace, times the largest logit.

    S = ||P s|| / ||s|| max z, unbounded; larger = more in-distribution.  s is the feature
    with the training mean and standard deviation of each column removed; P projects on the
    first `dim` principal axes of the training features.

    Parameters
    ----------
    dim : int or "auto"
        Axes; "auto" takes the fewest that explain 90 % of the variance.
    max_logit : bool
        Whether to multiply by the largest logit, as the authors do for most architectures.

    Notes
    -----
    Fit O(N D^2 + D^3) time, O(N + D^2) memory; score O(N (C + D q)) time, O(N + D) memory; q axes
    kept.

    Works where training has drawn features into few axes and outliers keep a part outside; fails
    where features have not collapsed, for most axes are then kept and all shares are near 1.

    References
    ----------
    Ben Ammar et al., "NECO: NEural Collapse Based Out-of-distribution Detection", ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import NECO, Outputs
    >>> f = np.array([[1.0, 1.0], [-1.0, -1.0], [2.0, 1.9], [-2.0, -1.9]])
    >>> x = Outputs(features=np.array([[1.0, 1.0], [1.0, -1.0]]), logits=np.array([[1.0, 0]] * 2))
    >>> NECO(dim=1).fit(Outputs(features=f)).score(x).round(2)
    array([1.  , 0.02])
    """

    dim: int | Literal["auto"] = "auto"
    max_logit: bool = True

    def __post_init__(self) -> None:
        require(self.dim == "auto" or self.dim >= 1, f"neco.dim must be >= 1, got {self.dim}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> FittedScorer:
        """Learn mean, spread and principal axes of the features."""
        if train is None or train.features is None:
            raise InputError("neco needs training outputs with features")
        if len(train) == 0:
            raise InputError(located(train, "neco cannot be fitted on zero rows"))
        dims = train.features.shape[1]
        if self.dim != "auto" and self.dim > dims:
            raise BadParameter(f"neco.dim = {self.dim}, but the features have {dims} columns")
        moments = feature_moments(train)
        covariance = finite(moments.total_covariance(), located(train, "neco"))
        variance = np.diag(covariance).copy()
        # what rounding leaves of a constant column is no spread
        variance[variance <= np.finfo(np.float64).eps * variance.max()] = 0.0
        if not variance.any():
            raise InputError(located(train, "neco: every training feature row is the same"))
        spread = np.where(variance > 0, np.sqrt(variance), 1.0)
        values, vectors = eigenpairs(covariance / np.outer(spread, spread), "neco")
        values, vectors = values[::-1], vectors[:, ::-1]
        explained = np.cumsum(values) / values.sum()
        kept = int(np.argmax(explained >= EXPLAINED)) + 1 if self.dim == "auto" else self.dim
        return NECOScorer(
            self, 0, dims, moments.mean(), spread, vectors[:, :kept], float(explained[kept - 1])
        )


@dataclass(frozen=True)
class NECOScorer(StatisticsScorer):
    """Fitted `NECO`.

    Attributes
    ----------
    mean, spread : (D,) arrays of float64
        Of each training feature; spread 1 for a constant one.
    axes : (D, d) array of float64
        Principal axes, orthonormal.
    explained : float
        Share of the variance they explain.
    """

    mean: Array
    spread: Array
    axes: Array
    explained: float

    shapes = {"mean": "D", "spread": "D", "axes": "D d"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The largest logit."""
        return (LARGEST,)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Share in the subspace, times the largest logit where the detector says so."""
        shares = scored_features(x, self._shares)
        return shares * rows[LARGEST] if self.detector.max_logit else shares

    def _shares(self, chunk: Array, part: slice) -> Array:
        """Share of each standardised feature's length that lies along the axes."""
        s = (chunk - self.mean) / self.spread
        length = np.linalg.norm(s, axis=1)
        return np.asarray(np.linalg.norm(s @ self.axes, axis=1) / np.where(length > 0, length, 1))

    def report(self) -> Mapping[str, Any]:
        """Axes kept and the variance they explain."""
        return {
            "dimensions": self.dims,
            "axes": self.axes.shape[1],
            "explained": self.explained,
        }
