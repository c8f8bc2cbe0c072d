"""Probabilities and likelihood of rows of logits, and how they are minimised."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.outputs import Array

__all__ = [
    "LEAST_LOG",
    "log_softmax",
    "minimum",
    "row_nll",
    "softmax_loss",
]

LEAST_LOG = float(np.log(1e-300))
"""Where logarithms of probabilities are cut off before they are fitted on."""
SETTLED = 1e-4
"""Largest slope of the objective at which a search that was cut short has still arrived."""


def log_softmax(z: Array) -> Array:
    """Logarithms of the softmax, exact near 0 too.  (N, C) -> (N, C) float64."""
    best = z.argmax(axis=1)
    rows = np.arange(len(z))
    below: Array = z - z[rows, best][:, None]
    others = np.exp(below)
    others[rows, best] = 0.0
    # the mass beside the largest, so that its logarithm keeps its digits where it is tiny
    below -= np.log1p(others.sum(axis=1))[:, None]
    return below


def row_nll(z: Array, labels: Array) -> Array:
    """Negative log-likelihood of each label.  (N, C), (N,) -> (N,) float64."""
    found: Array = -log_softmax(z)[np.arange(len(z)), labels]
    return found


def softmax_loss(z: Array, labels: Array) -> tuple[float, Array]:
    """Mean negative log-likelihood and its (N, C) gradient with respect to the logits."""
    log_p = log_softmax(z)
    rows = np.arange(len(z))
    loss = -float(log_p[rows, labels].mean())
    gradient: Array = np.exp(log_p)
    gradient[rows, labels] -= 1.0
    gradient /= len(z)
    return loss, gradient


def minimum(
    name: str,
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    *,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
    tolerance: float = 1e-9,
) -> Array:
    """Where a smooth objective is least, by L-BFGS-B; the objective gives its gradient too.

    Warns
    -----
    ToolkitWarning
        If the search was given up before the gradient had become small.
    """
    import scipy.optimize

    minimize: Any = scipy.optimize.minimize
    options: dict[str, Any] = {"maxiter": 2000, "maxfun": 4000, "maxcor": 30}
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={**options, "ftol": 1e-15, "gtol": tolerance},
    )
    x: Array = np.asarray(found.x, dtype=np.float64)
    low, high = np.array(bounds or [(None, None)] * x.size, dtype=np.float64).T
    # what is left of the slope where the bounds let the search go on; NaN is no bound
    left = x - np.fmin(np.fmax(x - found.jac, low), high)
    if not found.success and np.abs(left).max() > SETTLED:
        warnings.warn(
            f"{name}: the fit was stopped after {found.nit} steps before it settled; the "
            "validation data may be separable: add rows or regularise",
            ToolkitWarning,
            stacklevel=3,
        )
    return x
