"""Spline calibration of the top label's probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["FittedSpline", "SplineCalibration", "natural_basis"]


@calibration_method("spline", keeps_prediction=True, reference="Gupta et al., ICLR 2021")
@dataclass(frozen=True)
class SplineCalibration:
    """Map the largest probability by the slope of a spline through cumulated accuracy.

    Rows sorted by their largest probability, h(t) is the share of all rows that are right
    and among the first t N.  A natural cubic spline fitted to h has as slope the accuracy at
    each place, which replaces the probability; the others share the rest as before.  Between
    1/(2N) and 1 - 1/(2N), and never below the runner-up, so that the prediction stays.

    Parameters
    ----------
    knots : int
        At least 3.

    References
    ----------
    Gupta, Rahimi, Ajanthan, Mensink, Sminchisescu & Hartley, "Calibration of Neural Networks
    using Splines", ICLR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SplineCalibration
    >>> z = np.stack([np.linspace(0.1, 8, 200), np.zeros(200)], axis=1)
    >>> validation = Outputs(logits=z, labels=(np.arange(200) % 4) // 3)
    >>> calibrated = SplineCalibration().fit(validation).apply(validation)
    >>> np.exp(calibrated.logits[[50, 150], 0]).round(2)
    array([0.75, 0.75])
    """

    knots: int = 6

    def __post_init__(self) -> None:
        require(self.knots >= 3, f"spline.knots must be at least 3, got {self.knots}")

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedSpline:
        """Fit the spline.

        Raises
        ------
        InputError
            If logits or labels are missing, or a row cannot be used.
        """
        z, labels = validation_rows("spline", validation)
        log_p = log_softmax(z)
        best = z.argmax(axis=1)
        score = np.exp(log_p[np.arange(len(z)), best])
        order = np.argsort(score, kind="stable")
        rows = len(z)
        place = np.arange(1, rows + 1) / rows
        cumulated = np.cumsum((best == labels)[order]) / rows
        value, slope = natural_basis(place, self.knots)
        weights = np.linalg.lstsq(value, cumulated, rcond=None)[0]
        accuracy = np.clip(slope @ weights, 0.5 / rows, 1.0 - 0.5 / rows)
        # rows that tie in score get one value
        places, back = np.unique(score[order], return_inverse=True)
        means = np.bincount(back, accuracy) / np.bincount(back)
        return FittedSpline(self, z.shape[1], 0, places, means)


@dataclass(frozen=True)
class FittedSpline(FittedCalibrator):
    """Fitted `SplineCalibration`.

    Attributes
    ----------
    places, values : (K,) arrays of float64
        Largest probabilities of the validation rows, and the accuracy at each.
    """

    places: Array
    values: Array

    shapes = {"places": "K", "values": "K"}

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        rows = np.arange(len(z))
        best = z.argmax(axis=1)
        log_p = log_softmax(z)
        top = np.interp(np.exp(log_p[rows, best]), self.places, self.values)
        others = z.copy()
        others[rows, best] = -np.inf
        alone = ~np.isfinite(others).any(axis=1)  # every other class is masked
        others[alone, (best[alone] + 1) % z.shape[1]] = 0.0
        log_share = log_softmax(others)
        # the runner-up gets as much as the prediction where q = share (1 - q)
        share = np.exp(log_share.max(axis=1))
        top = np.maximum(top, share / (1.0 + share))
        new = np.log1p(-top)[:, None] + log_share
        new[alone] = -np.inf
        new[rows, best] = np.where(alone, 0.0, np.log(top))
        return np.asarray(new)

    def report(self) -> Mapping[str, Any]:
        """Lowest and highest accuracy that it gives."""
        return {"lowest": float(self.values.min()), "highest": float(self.values.max())}


def natural_basis(place: Array, knots: int) -> tuple[Array, Array]:
    """Natural cubic splines that are 1 at one knot and 0 at the others, and their slopes.

    Knots lie evenly on [0, 1].  (N,) -> (N, knots), (N, knots).
    """
    from scipy.interpolate import CubicSpline

    basis = CubicSpline(np.linspace(0.0, 1.0, knots), np.eye(knots), bc_type="natural")
    return np.asarray(basis(place)), np.asarray(basis(place, 1))
