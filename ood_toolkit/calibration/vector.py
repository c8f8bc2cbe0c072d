"""Vector scaling: a scale and a shift for each class's logit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import (
    log_softmax,
    minimum,
    newton_minimum,
    softmax_loss,
)
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.calibration.temperature import best_temperature
from ood_toolkit.outputs import Array, Outputs

__all__ = ["FittedVector", "VectorScaling"]

NEWTON_CLASSES = 1000
"""Up to so many classes second derivatives are used, a matrix of (2 C, 2 C)."""


@calibration_method("vector", keeps_prediction=False, reference="Guo et al., ICML 2017")
@dataclass(frozen=True)
class VectorScaling:
    """Scale and shift each class's logit by numbers of its own, fitted by likelihood.

    p = softmax(a * z + b), with the mean of b set to 0, which changes nothing.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, VectorScaling
    >>> z = np.array([[2.0, 0.0]] * 4 + [[0.0, 2.0]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 0, 0])
    >>> calibrated = VectorScaling().fit(validation).apply(validation)
    >>> np.diff(calibrated.logits[[0, 4]]).round(4) + 0.0  # ln(1/3), ln(1)
    array([[-1.0986],
           [ 0.    ]])
    """

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedVector:
        """Find scale and shift.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or a class has no row.
        """
        z, labels = validation_rows("vector", validation, every_class=True)
        classes = z.shape[1]
        seen = np.isfinite(z)
        held = np.where(seen, z, 0.0)

        def logits(theta: Array) -> Array:
            return np.where(seen, held * theta[:classes] + theta[classes:], -np.inf)

        def objective(theta: Array) -> tuple[float, Array]:
            loss, slope = softmax_loss(logits(theta), labels)
            return loss, np.concatenate([np.einsum("nc,nc->c", slope, held), slope.sum(axis=0)])

        def curvature(theta: Array) -> Array:
            return _curvature(np.exp(log_softmax(logits(theta))), held)

        inverse = 1.0 / best_temperature(validation, labels)[0]
        start = np.concatenate([np.full(classes, inverse), np.zeros(classes)])
        if classes <= NEWTON_CLASSES:
            theta = newton_minimum("vector", objective, curvature, start, logits)
        else:
            theta = minimum("vector", objective, start)
        shift = theta[classes:] - theta[classes:].mean()
        return FittedVector(self, classes, 0, theta[:classes].copy(), shift)


@dataclass(frozen=True)
class FittedVector(FittedCalibrator):
    """Fitted `VectorScaling`.

    Attributes
    ----------
    scale, shift : (C,) arrays of float64
        Of each class's logit.
    """

    scale: Array
    shift: Array

    shapes = {"scale": "C", "shift": "C"}

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        seen = np.isfinite(z)
        return np.where(seen, np.where(seen, z, 0.0) * self.scale + self.shift, -np.inf)

    def report(self) -> Mapping[str, Any]:
        """Smallest and largest scale."""
        return {"least_scale": float(self.scale.min()), "largest_scale": float(self.scale.max())}


def _curvature(p: Array, held: Array) -> Array:
    """Second derivatives of the mean NLL by scales, then shifts: (N, C) twice -> (2 C, 2 C)."""
    classes = p.shape[1]
    weighted = p * held
    both = np.empty((2 * classes, 2 * classes))
    scales, shifts = slice(0, classes), slice(classes, None)
    both[scales, scales] = np.diag((weighted * held).sum(axis=0)) - weighted.T @ weighted
    both[scales, shifts] = np.diag(weighted.sum(axis=0)) - weighted.T @ p
    both[shifts, scales] = both[scales, shifts].T
    both[shifts, shifts] = np.diag(p.sum(axis=0)) - p.T @ p
    both /= len(p)
    # a common shift changes nothing; curvature there keeps the search from wandering off
    both[shifts, shifts] += 1.0 / classes**2
    return both
