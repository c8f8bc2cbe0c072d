"""The two-parameter Weibull law, fitted to a tail by maximum likelihood."""

from __future__ import annotations

import math

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["fit_weibull", "weibull_probability"]

HALVINGS = 60
"""Halvings of the bracket of the shape: more than a float64 has bits."""


def fit_weibull(gaps: Array, largest: float) -> tuple[float, float]:
    """Shape and log-mean of the likeliest law of the values largest + gaps.

    Values are given by their gaps to the largest, so that a narrow tail far from zero keeps
    its digits.

    Parameters
    ----------
    gaps : (n,) array of float64
        Each value less the largest, in (-largest, 0]; one is 0.
    largest : float
        The largest value, > 0.

    Returns
    -------
    shape, log_mean : float
        k and ln mean (x / largest)^k, so that P(X <= x) = 1 - exp(-(x / largest)^k /
        exp(log_mean)).  Where all values are the same the likelihood has no maximum; the
        shape is then infinite.
    """
    logs = np.log1p(gaps / largest)
    spread = -logs.mean()
    if spread == 0.0:
        return float("inf"), 0.0
    # sum y e^(ky) / sum e^(ky) lies in [-n / (e k), 0], which brackets the one root
    low, high = 1.0 / spread, (1.0 + len(logs) / math.e) / spread
    for _ in range(HALVINGS):
        shape = (low + high) / 2.0
        weights = np.exp(shape * logs)
        if (weights @ logs) / weights.sum() - 1.0 / shape + spread < 0.0:
            low = shape
        else:
            high = shape
    return float(shape), float(np.log(np.exp(shape * logs).mean()))


def weibull_probability(gaps: Array, largest: Array, shape: Array, log_mean: Array) -> Array:
    """P(X <= largest + gap) under fitted laws; 0 for values that are not positive.

    A law of infinite shape is a step at `largest`, where it has the 1 - 1/e of every other.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        powers = shape * np.log1p(np.maximum(gaps / largest, -1.0))
        return np.asarray(-np.expm1(-np.exp(np.where(gaps == 0.0, 0.0, powers) - log_mean)))
