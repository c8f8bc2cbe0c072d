"""Ensemble temperature scaling: a mixture of three temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.calibration.temperature import best_temperature
from ood_toolkit.outputs import Array, Outputs

__all__ = ["EnsembleTemperature", "FittedEnsembleTemperature"]


@calibration_method("ets", keeps_prediction=True, reference="Zhang et al., ICML 2020")
@dataclass(frozen=True)
class EnsembleTemperature:
    """Mix the softmax at a fitted temperature, the softmax itself and the uniform.

    p = w_1 softmax(z / T) + w_2 softmax(z) + w_3 / C with weights >= 0 that sum to one; T as
    `temperature` finds it, then the weights by least loss.

    Parameters
    ----------
    loss : "nll" or "brier"
        What the weights minimise; the authors' code takes the squared error.

    References
    ----------
    Zhang, Kailkhura & Han, "Mix-n-Match: Ensemble and Compositional Methods for Uncertainty
    Calibration in Deep Learning", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import EnsembleTemperature, Outputs
    >>> validation = Outputs(logits=np.array([[4.0, 0.0]] * 4), labels=[0, 0, 0, 1])
    >>> fitted = EnsembleTemperature().fit(validation)
    >>> np.exp(fitted.apply(validation).logits[0]).round(6)
    array([0.75, 0.25])
    """

    loss: Literal["nll", "brier"] = "nll"

    def fit(
        self, validation: Outputs, train: Outputs | None = None, /
    ) -> FittedEnsembleTemperature:
        """Find temperature and weights.

        Raises
        ------
        InputError
            If logits or labels are missing, or a row cannot be used.
        """
        z, labels = validation_rows("ets", validation)
        temperature, _ = best_temperature(validation, labels)
        parts = _parts(z, temperature)
        weights = self._weights(parts, labels)
        return FittedEnsembleTemperature(self, z.shape[1], 0, temperature, weights)

    def _weights(self, parts: Array, labels: Array) -> Array:
        import scipy.optimize

        minimize: Any = scipy.optimize.minimize
        rows = np.arange(len(labels))
        true = parts[:, rows, labels]
        one_hot = np.zeros(parts.shape[1:])
        one_hot[rows, labels] = 1.0

        def nll(w: Array) -> tuple[float, Array]:
            p = np.maximum(w @ true, 1e-300)
            return -float(np.log(p).mean()), -(true / p).mean(axis=1)

        cross = np.einsum("inc,jnc->ij", parts, parts) / len(labels)
        hit = true.mean(axis=1)

        def brier(w: Array) -> tuple[float, Array]:
            return float(w @ cross @ w - 2.0 * w @ hit) + 1.0, 2.0 * (cross @ w - hit)

        found = minimize(
            nll if self.loss == "nll" else brier,
            np.array([1.0, 0.0, 0.0]) * 0.98 + 0.02 / 3,
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * 3,
            constraints=[
                {"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones(3)}
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        weights = np.clip(found.x, 0.0, 1.0)
        return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class FittedEnsembleTemperature(FittedCalibrator):
    """Fitted `EnsembleTemperature`.

    Attributes
    ----------
    temperature : float
        Of the first part.
    weights : (3,) array of float64
        Of the softmax at the temperature, the softmax itself and the uniform.
    """

    temperature: float
    weights: Array

    shapes = {"weights": "t"}

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        parts = _parts(z, self.temperature)
        with np.errstate(divide="ignore"):  # a masked class stays masked
            return np.asarray(np.log(np.einsum("i,inc->nc", self.weights, parts)))

    def report(self) -> Mapping[str, Any]:
        """Temperature and weights."""
        names = ("tempered", "plain", "uniform")
        weights = {n: float(w) for n, w in zip(names, self.weights, strict=True)}
        return {"temperature": self.temperature, "weights": weights}


def _parts(z: Array, temperature: float) -> Array:
    """The three distributions mixed.  (N, C) -> (3, N, C); masked classes stay at 0."""
    seen = np.isfinite(z)
    uniform = seen / seen.sum(axis=1, keepdims=True)
    return np.stack([np.exp(log_softmax(z / temperature)), np.exp(log_softmax(z)), uniform])
