"""Clipping of large activations (ReAct)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.quantiles import exact_quantile
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Clip", "ClippedFeatures"]


@dataclass(frozen=True)
class Clip:
    """Clip every activation at a percentile of all training activations.

    Parameters
    ----------
    percentile : float
        In [0, 100]; linear between order statistics.

    References
    ----------
    Sun, Guo & Li, "ReAct: Out-of-distribution Detection With Rectified Activations",
    NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs
    >>> train = Outputs(features=np.array([[0.0, 1.0, 2.0]]))
    >>> clip = Clip(percentile=50).fit(train)
    >>> head = Head(weight=np.ones((2, 3)))
    >>> clip.apply(Outputs(features=np.array([[0.5, 3.0, 9.0]]), head=head)).logits
    array([[2.5, 2.5]])
    """

    percentile: float = 90.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.percentile <= 100.0:
            raise BadParameter(f"percentile must lie in [0, 100], got {self.percentile}")

    def fit(self, train: Outputs, /) -> ClippedFeatures:
        """Learn the limit from training features.

        Raises
        ------
        InputError
            If there are none, or a row holds NaN or infinity.
        """
        features = finite_features(train)
        if features.size == 0:
            raise InputError("clipping cannot be fitted on zero rows")
        return ClippedFeatures(exact_quantile(features, self.percentile / 100.0))


@dataclass(frozen=True)
class ClippedFeatures:
    """Fitted `Clip`: features become min(f, limit), and the head recomputes the logits.

    Attributes
    ----------
    limit : float
        The largest activation that passes.
    """

    limit: float

    def apply(self, x: Outputs, /) -> Outputs:
        """The record with clipped features and the logits the head then gives.

        Raises
        ------
        InputError
            If features or head are missing, or a row holds NaN or infinity.
        """
        features = finite_features(x)
        if x.head is None:
            raise InputError("clipping needs the head, to recompute the logits")
        wide = np.float64 if features.dtype == np.float64 else np.float32
        clipped = np.minimum(features.astype(wide, copy=False), wide(self.limit))
        return replace(x, features=clipped, logits=None)


def finite_features(x: Outputs) -> Array:
    """The features of a record, all finite.

    Raises
    ------
    InputError
        If there are none, or naming the first row that holds NaN or infinity.
    """
    if x.features is None:
        raise InputError("activation shaping needs features")
    finite = np.isfinite(x.features).all(axis=1)
    if not finite.all():
        origin = f"{x.source}: " if x.source else ""
        raise InputError(
            f"{origin}features: row {int(np.argmin(finite))} holds NaN or infinity; "
            "remove or repair it"
        )
    return x.features
