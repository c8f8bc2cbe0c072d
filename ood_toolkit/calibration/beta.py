"""Beta calibration of each class's probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.calibration.base import validation_rows
from ood_toolkit.calibration.likelihood import LEAST_LOG, log_softmax, minimum
from ood_toolkit.calibration.one_vs_rest import OneVsRest, log_complement
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.outputs import Array, Outputs

__all__ = ["BetaCalibration", "FittedBeta"]

STEEPEST = 1e3
"""Largest coefficient, which only separable classes reach."""


@calibration_method("beta", keeps_prediction=False, reference="Kull et al., AISTATS 2017")
@dataclass(frozen=True)
class BetaCalibration:
    """Map each class's probability by a ratio of two beta densities, then renormalise.

    logit q = a ln p - b ln(1 - p) + c with a, b >= 0, fitted for each class against the
    others by likelihood; the identity is a = b = 1, c = 0.

    Parameters
    ----------
    variant : "abm", "am" or "ab"
        All three coefficients; a = b; or c = (a - b) ln 2, which maps 1/2 to itself.

    References
    ----------
    Kull, Silva Filho & Flach, "Beta calibration: a well-founded and easily implemented
    improvement on logistic calibration for binary classifiers", AISTATS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import BetaCalibration, Outputs
    >>> z = np.log([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 0, 0])
    >>> fitted = BetaCalibration(variant="am").fit(validation)
    >>> np.exp(fitted.apply(validation).logits[[0, 4]]).round(4)
    array([[0.75, 0.25],
           [0.5 , 0.5 ]])
    """

    variant: Literal["abm", "am", "ab"] = "abm"

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedBeta:
        """Find the coefficients of each class.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or a class has no row.
        """
        z, labels = validation_rows("beta", validation, every_class=True)
        log_p = log_softmax(z)
        found = np.array([self._fit_class(log_p[:, c], labels == c) for c in range(z.shape[1])])
        return FittedBeta(self, z.shape[1], 0, found)

    def _fit_class(self, log_p: Array, positive: Array) -> Array:
        """a, b, c of one class."""
        u, v = _regressors(log_p)
        if self.variant == "ab":
            u, v = u + np.log(2.0), v - np.log(2.0)

        def objective(theta: Array) -> tuple[float, Array]:
            a, b, c = theta
            if self.variant == "am":
                b = a
            if self.variant == "ab":
                c = 0.0
            t = a * u + b * v + c
            # ln(1 + exp(t)) - y t, and its slope q - y
            loss = float(np.mean(np.logaddexp(0.0, t) - np.where(positive, t, 0.0)))
            slope = (_logistic(t) - positive) / len(t)
            by_a, by_b, by_c = float(slope @ u), float(slope @ v), float(slope.sum())
            if self.variant == "am":
                by_a, by_b = by_a + by_b, 0.0
            return loss, np.array([by_a, by_b, 0.0 if self.variant == "ab" else by_c])

        bounds = [(0.0, STEEPEST), (0.0, STEEPEST), (-STEEPEST, STEEPEST)]
        a, b, c = minimum("beta", objective, np.array([1.0, 1.0, 0.0]), bounds=bounds)
        if self.variant == "am":
            b = a
        if self.variant == "ab":
            c = (a - b) * np.log(2.0)
        return np.array([a, b, c])


@dataclass(frozen=True)
class FittedBeta(OneVsRest):
    """Fitted `BetaCalibration`.

    Attributes
    ----------
    coefficients : (C, 3) array of float64
        a, b and c of each class.
    """

    coefficients: Array

    shapes = {"coefficients": "C t"}

    def _by_class(self, log_p: Array) -> Array:
        u, v = _regressors(log_p)
        a, b, c = self.coefficients.T
        return _logistic(a * u + b * v + c)

    def report(self) -> Mapping[str, Any]:
        """Median coefficients over the classes."""
        a, b, c = np.median(self.coefficients, axis=0)
        return {"median_a": float(a), "median_b": float(b), "median_c": float(c)}


def _regressors(log_p: Array) -> tuple[Array, Array]:
    """Ln p and -ln(1 - p), cut off where they say no more."""
    return np.maximum(log_p, LEAST_LOG), -np.maximum(log_complement(log_p), LEAST_LOG)


def _logistic(t: Array) -> Array:
    grown = np.exp(-np.abs(t))
    return np.where(t >= 0, 1.0, grown) / (1.0 + grown)
