"""Probabilities and likelihood of rows of logits, and how they are minimised."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array

__all__ = [
    "LEAST_LOG",
    "log_softmax",
    "minimum",
    "newton_minimum",
    "row_nll",
    "softmax_loss",
]

_LEAST_BEND = 1e-13
LEAST_LOG = float(np.log(1e-300))
"""Where logarithms of probabilities are cut off before they are fitted on."""
SETTLED = 1e-4
"""Largest slope of the objective at which a search that was cut short has still arrived."""
NEARLY = 1e-4
"""Length of the slope at which a Newton search asks whether there is a minimum at all."""
UNSETTLED = 0.1
"""Change of a logit by one more Newton step, near the end, that says there is none."""
_ALONE = 500
"""Up to so many numbers Newton's steps and products are short: done before a second thread of
linear algebra, which waits by spinning, would have begun."""
_BLOCK = 1 << 16  # numbers in a block of rows: what a processor's cache holds


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
    gradient, losses = np.empty(z.shape), np.empty(len(z))

    def work(start: int, stop: int) -> None:
        rows, true = np.arange(stop - start), labels[start:stop]
        best = z[start:stop].argmax(axis=1)
        block = gradient[start:stop]
        np.subtract(z[start:stop], z[start:stop][rows, best][:, None], out=block)
        below = block[rows, true]
        np.exp(block, out=block)
        block[rows, best] = 0.0
        # the mass beside the largest, so that its logarithm keeps its digits where it is tiny
        others = block.sum(axis=1)
        losses[start:stop] = np.log1p(others) - below
        block[rows, best] = 1.0
        block /= ((1.0 + others) * len(z))[:, None]
        block[rows, true] -= 1.0 / len(z)

    share_out(work, len(z), max(1, _BLOCK // z.shape[1]), thread_count())
    return float(losses.mean()), gradient


def minimum(
    name: str,
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    *,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
    tolerance: float = 1e-9,
    least_gain: float = 1e-15,
) -> Array:
    """Where a smooth objective is least, by L-BFGS-B; the objective gives its gradient too.

    The search ends where no slope exceeds `tolerance`, or a step lowers the objective by less
    than the share `least_gain`.

    Warns
    -----
    ToolkitWarning
        If the search was given up before the gradient had become small.
    """
    import scipy.optimize

    minimize: Any = scipy.optimize.minimize
    options: dict[str, Any] = {"maxiter": 2000, "maxfun": 4000, "maxcor": 30}
    # scipy's steps are short, and between them its threads would spin beside the objective's
    with one_blas_thread("scipy"):
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={**options, "ftol": least_gain, "gtol": tolerance},
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


def newton_minimum(
    name: str,
    objective: Callable[[Array], tuple[float, Array]],
    curvature: Callable[[Array], Array],
    start: Array,
    logits: Callable[[Array], Array],
    tolerance: float = 1e-9,
) -> Array:
    """Where a convex objective is least, by scipy's trust-region Newton method.

    Parameters
    ----------
    name : str
        Of the calibrator, for the warning.
    objective, curvature : callable
        Value and gradient, and the (P, P) second derivatives, positive definite.
    start : (P,) array
        Where the search begins.
    logits : callable
        The (N, C) logits that P numbers give, a linear map.
    tolerance : float
        Length of the slope at the end.

    Warns
    -----
    ToolkitWarning
        If there is no minimum: where the slope is nearly 0, one more step still changes
        logits as much as before.  What has been found there is kept, as going on would only
        make some class ever more certain.
    """
    with ExitStack() as limits:
        for library in ("numpy", "scipy") if len(start) <= _ALONE else ():
            limits.enter_context(one_blas_thread(library))
        near = _trust_region(objective, curvature, start, max(NEARLY, tolerance))
        _, slope = objective(near)
        bend = curvature(near)
        # numbers that no row depends on have no curvature: a trace of it keeps them where they are
        bend[np.diag_indices_from(bend)] += 1e-12 * max(float(np.trace(bend)) / len(bend), 1e-300)
        before, after = logits(near), logits(near - np.linalg.solve(bend, slope))
        seen = np.isfinite(before)
        change = np.abs(np.where(seen, after, 0.0) - np.where(seen, before, 0.0))
        if change.max() > UNSETTLED:
            c = int(change.max(axis=0).argmax())
            warnings.warn(
                f"{name}: class {c} can be told apart ever more surely, so the likelihood has no "
                "maximum and the fit was stopped; add rows, or use temperature",
                ToolkitWarning,
                stacklevel=3,
            )
            return near
        return _trust_region(objective, curvature, near, tolerance)


def _trust_region(
    objective: Callable[[Array], tuple[float, Array]],
    curvature: Callable[[Array], Array],
    start: Array,
    tolerance: float,
) -> Array:
    import scipy.optimize

    def bent(theta: Array) -> Array:
        """No number without any curvature, as where all rows are sure: scipy divides by it."""
        second = curvature(theta)
        diagonal = np.diagonal(second)
        second[np.diag_indices_from(second)] = np.fmax(diagonal, _LEAST_BEND * diagonal.max())
        return second

    minimize: Any = scipy.optimize.minimize
    found = minimize(
        objective,
        start,
        jac=True,
        hess=bent,
        method="trust-exact",
        options={"gtol": tolerance, "initial_trust_radius": 1.0, "max_trust_radius": 1e6},
    )
    return np.asarray(found.x, dtype=np.float64)
