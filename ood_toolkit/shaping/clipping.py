"""Clipping of activations: ReAct at one percentile, VRA at two."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.quantiles import exact_quantile
from ood_toolkit.outputs import Outputs
from ood_toolkit.shaping.base import finite_features, reshaped

__all__ = ["Clip", "ClippedFeatures"]


@dataclass(frozen=True)
class Clip:
    """Clip every activation at percentiles of all training activations.

    Parameters
    ----------
    high : float
        Percentile in [0, 100] above which activations are cut.
    low : float or None
        Percentile below which they are raised; None leaves small ones alone.

    References
    ----------
    Sun, Guo & Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS
    2021; Xu et al., "VRA: Variational Rectified Activation for Out-of-distribution
    Detection", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs
    >>> train = Outputs(features=np.array([[0.0, 1.0, 2.0]]))
    >>> clip = Clip(high=50).fit(train)
    >>> head = Head(weight=np.ones((2, 3)))
    >>> clip.apply(Outputs(features=np.array([[0.5, 3.0, 9.0]]), head=head)).logits
    array([[2.5, 2.5]])
    """

    high: float = 90.0
    low: float | None = None

    def __post_init__(self) -> None:
        for percentile in (self.low or 0.0, self.high):
            if not 0.0 <= percentile <= 100.0:
                raise BadParameter(f"a percentile lies in [0, 100], got {percentile}")
        if self.low is not None and self.low > self.high:
            raise BadParameter(f"low = {self.low} is above high = {self.high}")

    def fit(self, train: Outputs, /) -> ClippedFeatures:
        """Learn the limits from training features.

        Raises
        ------
        InputError
            If there are none, or a row holds NaN or infinity.
        """
        features = finite_features(train)
        if features.size == 0:
            raise InputError("clipping cannot be fitted on zero rows")
        lower = -math.inf if self.low is None else exact_quantile(features, self.low / 100.0)
        return ClippedFeatures(lower, exact_quantile(features, self.high / 100.0))


@dataclass(frozen=True)
class ClippedFeatures:
    """Fitted `Clip`: features move into [lower, upper], and the head recomputes the logits.

    Attributes
    ----------
    lower, upper : float
        The limits; `lower` is -inf where only large activations are cut.
    """

    lower: float
    upper: float

    def apply(self, x: Outputs, /) -> Outputs:
        """The record with clipped features and the logits the head then gives.

        Raises
        ------
        InputError
            If features or head are missing, or a row holds NaN or infinity.
        """
        return reshaped(x, lambda f: np.clip(f, f.dtype.type(self.lower), f.dtype.type(self.upper)))
