"""One temperature for the logits, fitted on the balanced SDM loss."""

from __future__ import annotations

import warnings

import numpy as np

from ood_toolkit.detectors.sdm.activation import sdm_activation
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.outputs import Array

__all__ = ["best_temperature", "loss_slope"]

RANGE = 20.0
"""Largest |log2 of the temperature| that is tried."""

HALVINGS = 60


def loss_slope(
    factor: float, logits: Array, similarity: Array, quantile: Array, labels: Array
) -> float:
    """Derivative of the balanced SDM loss of factor * logits with respect to the factor."""
    p = sdm_activation(factor * logits, similarity, quantile)
    legal = np.where(np.isneginf(logits), 0.0, logits)
    own = logits[np.arange(len(labels)), labels]
    each = quantile * ((p * legal).sum(axis=1) - own)
    count = np.bincount(labels)
    return float((np.bincount(labels, each)[count > 0] / count[count > 0]).mean())


def best_temperature(
    logits: Array, similarity: Array, quantile: Array, labels: Array, name: str = "sdm"
) -> float:
    """The temperature T > 0 with the least balanced SDM loss of logits / T.

    The loss is convex in 1 / T, so the sign of its slope is bisected.

    Parameters
    ----------
    logits : (n, C) float64 array
        Of calibration rows.
    similarity, quantile : (n,) arrays
        q and d, which T does not change.
    labels : (n,) array of int
        True classes.
    name : str
        Who asks, for the warning.

    Returns
    -------
    float
        1 where T changes nothing, as where d is 0 throughout.

    Warns
    -----
    ToolkitWarning
        If the loss falls all the way to an end of the range, 2^-20 or 2^20.
    """

    def slope(power: float) -> float:
        return loss_slope(2.0**power, logits, similarity, quantile, labels)

    def falls(power: float) -> bool:
        return slope(power) <= 0.0  # 0 where every row is right and its rivals have underflowed

    low, high = -RANGE, RANGE
    if slope(low) == 0.0:
        return 1.0
    if not falls(low) or falls(high):
        power = high if falls(high) else low
        warnings.warn(
            f"{name}: the loss falls up to the bound of the temperature, {2.0**-power:.3g}; are "
            "the held-out rows separable, or their labels wrong?",
            ToolkitWarning,
            stacklevel=3,
        )
        return float(2.0**-power)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falls(middle) else (low, middle)
    return float(2.0 ** -((low + high) / 2.0))
