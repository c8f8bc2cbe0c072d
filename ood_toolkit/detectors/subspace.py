"""ViM: what the features hold outside the subspace that the training features fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import checked_statistics, located
from ood_toolkit.detectors.base import FittedScorer, StatisticsScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.residual_space import residual_norms, residual_space
from ood_toolkit.detectors.training import finite
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import LARGEST, RowStatistics, Statistic, log_sum_exp
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["Residual", "ResidualScorer", "ViM", "ViMScorer"]


@method(
    "vim",
    family="features + head",
    needs="logits features",
    train="features head",
    reference="Wang et al., CVPR 2022",
    laws="feature_rotation class_permutation",
    grid={"dim": ("auto", 16, 32, 64, 128, 256, 512, 1000)},
)
@dataclass(frozen=True)
class ViM:
    """Virtual-logit matching: energy less the scaled norm outside the principal subspace.

    S = lse(z) - alpha ||R^T (f - o)||, unbounded; larger = more in-distribution.  The
    origin is o = -W^+ b; R spans the eigenvectors of the training features' second moment
    about o, beyond the `dim` largest; alpha matches the mean residual to the mean largest
    logit of the training rows.

    Parameters
    ----------
    dim : int or "auto"
        Principal dimensions, fewer than D; "auto" is the authors' 1000 for D >= 2048, 512
        for D >= 768, else D // 2.

    Notes
    -----
    Fit O(N D (C + D) + D^3) time, O(N + D (C + D)) memory; score O(N (C + D^2)) time, O(N + D)
    memory.

    Works where outliers leave the principal subspace and the logits do not show it; fails where D
    is small, or where features of outliers are short, whose residual then counts for them.

    References
    ----------
    Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, ViM
    >>> head = Head(weight=np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]]), bias=[0.1, -0.1])
    >>> f = np.array([[2.0, 0, 1], [3, 1, 1], [1, 0, 0], [0, 2, 0], [1, 3, 1], [0, 1, 1]])
    >>> scorer = ViM(dim=1).fit(Outputs(features=f, head=head))
    >>> scorer.score(Outputs(features=np.array([[0.0, 0.0, 4.0]]), head=head)).round(4)
    array([-3.9494])
    """

    dim: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        require(self.dim == "auto" or self.dim >= 0, f"vim.dim must be >= 0, got {self.dim}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> ViMScorer:
        """Learn the residual subspace and the scale of the virtual logit."""
        space = residual_space("vim", train, self.dim)
        assert train is not None
        rows = checked_statistics(train, (LARGEST,))
        if space.mean_norm == 0.0:
            raise InputError(
                located(train, "vim: the training features have no residual; choose a smaller dim")
            )
        level = float(finite(rows[LARGEST].mean(), located(train, "vim"), "logits"))
        return ViMScorer(
            self,
            train.classes,
            space.origin.size,
            space.origin,
            space.basis,
            level / space.mean_norm,
            space.explained,
        )


@dataclass(frozen=True)
class ViMScorer(StatisticsScorer):
    """Fitted `ViM`.

    Attributes
    ----------
    origin : (D,) array of float64
        -W^+ b.
    residual : (D, D - dim) array of float64
        Orthonormal basis of the residual subspace.
    alpha : float
        Scale of the virtual logit.
    explained : float
        Share of the training features' second moment inside the principal subspace.
    """

    origin: Array
    residual: Array
    alpha: float
    explained: float

    shapes = {"origin": "D", "residual": "D r"}

    def statistics(self) -> tuple[Statistic, ...]:
        """The energy."""
        return (log_sum_exp(1.0),)

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """Energy less the scaled residual."""
        norms = residual_norms(x, self.origin, self.residual, self.explained)
        return np.asarray(rows[log_sum_exp(1.0)] - self.alpha * norms)

    def report(self) -> Mapping[str, Any]:
        """Principal dimensions, their share of the second moment, and alpha."""
        return {
            "dimensions": self.dims,
            "principal": self.dims - self.residual.shape[1],
            "explained": self.explained,
            "alpha": self.alpha,
        }


@method(
    "residual",
    family="features",
    needs="features",
    train="features head",
    reference="Wang et al., CVPR 2022",
    laws="feature_rotation class_permutation",
    grid={"dim": ("auto", 16, 32, 64, 128, 256, 512, 1000)},
)
@dataclass(frozen=True)
class Residual:
    """Length of the feature outside the training features' principal subspace.

    S = -||R^T (f - o)||, in (-inf, 0]; larger = more in-distribution.  R and o as in `ViM`,
    whose second term this is.

    Parameters
    ----------
    dim : int or "auto"
        Principal dimensions, as in `ViM`.

    Notes
    -----
    Fit O(N D (C + D) + D^3) time, O(N + D (C + D)) memory; score O(N D^2) time, O(N + D) memory.

    Works where outliers have large parts in directions that training hardly used; fails where they
    have shorter features than familiar rows, and so shorter residuals too.

    References
    ----------
    Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, Residual
    >>> train = Outputs(features=np.array([[1.0, 0.0], [3.0, 0.0]]), head=Head(weight=np.eye(2)))
    >>> Residual(dim=1).fit(train).score(Outputs(features=np.array([[5.0, -2.0]])))
    array([-2.])
    """

    dim: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        require(self.dim == "auto" or self.dim >= 0, f"residual.dim must be >= 0, got {self.dim}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> ResidualScorer:
        """Learn the residual subspace."""
        space = residual_space("residual", train, self.dim)
        return ResidualScorer(
            self, 0, space.origin.size, space.origin, space.basis, space.explained
        )


@dataclass(frozen=True)
class ResidualScorer(FittedScorer):
    """Fitted `Residual`.

    Attributes
    ----------
    origin : (D,) array of float64
        -W^+ b.
    residual : (D, D - dim) array of float64
        Orthonormal basis of the residual subspace.
    explained : float
        Share of the training features' second moment inside the principal subspace.
    """

    origin: Array
    residual: Array
    explained: float

    shapes = {"origin": "D", "residual": "D r"}

    def _score(self, x: Outputs) -> Array:
        return -residual_norms(x, self.origin, self.residual, self.explained)

    def report(self) -> Mapping[str, Any]:
        """Principal dimensions and their share of the second moment."""
        return {
            "dimensions": self.dims,
            "principal": self.dims - self.residual.shape[1],
            "explained": self.explained,
        }
