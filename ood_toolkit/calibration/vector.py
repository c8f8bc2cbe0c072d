"""Vector scaling: a scale and a shift for each class's logit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import minimum, softmax_loss
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.calibration.temperature import best_temperature
from ood_toolkit.outputs import Array, Outputs

__all__ = ["FittedVector", "VectorScaling"]


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

        def objective(theta: Array) -> tuple[float, Array]:
            a, b = theta[:classes], theta[classes:]
            loss, slope = softmax_loss(np.where(seen, held * a + b, -np.inf), labels)
            return loss, np.concatenate([np.einsum("nc,nc->c", slope, held), slope.sum(axis=0)])

        inverse = 1.0 / best_temperature(validation, labels)[0]
        start = np.concatenate([np.full(classes, inverse), np.zeros(classes)])
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
