"""A temperature for each row, from the row's own entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.likelihood import log_softmax, row_nll
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.chunks import logit_chunks
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = [
    "AdaptiveTemperature",
    "FittedAdaptiveTemperature",
    "FittedTemperedPerSample",
    "TemperedPerSample",
    "inverse_temperature",
]

POLYNOMIAL = (-0.037, 0.481, -2.3, 4.917, -1.791)
"""Of the entropy, highest power first."""
LOW_ENTROPY = 0.5
"""Entropy up to which nothing is sharpened."""


def inverse_temperature(entropy: Array) -> Array:
    """The factor that adaptive temperature multiplies logits by.  (N,) -> (N,) float64, >= 1."""
    factor = np.maximum(np.polyval(POLYNOMIAL, entropy), 1.0)
    return np.where(entropy > LOW_ENTROPY, factor, 1.0)


@calibration_method(
    "adaptive_temperature",
    validation="",
    keeps_prediction=True,
    reference="Velickovic et al., 2024, arXiv 2410.01104",
)
@dataclass(frozen=True)
class AdaptiveTemperature:
    """Sharpen rows of middling entropy by a published polynomial; nothing is fitted.

    p = softmax(b z), b = max(poly(H), 1) for entropies H above 0.5 nats, else 1; the
    polynomial exceeds 1 between 0.849 and 5.945 nats.

    References
    ----------
    Velickovic, Perivolaropoulos, Barbero & Pascanu, "softmax is not enough (for sharp
    out-of-distribution)", 2024, arXiv 2410.01104.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import AdaptiveTemperature, Outputs
    >>> x = Outputs(logits=np.array([[3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0, 0, 0, 0]]))
    >>> (AdaptiveTemperature().fit().apply(x).logits[0, 0] / 3).round(4)
    np.float64(2.0039)
    """

    def fit(
        self, validation: Outputs | None = None, train: Outputs | None = None, /
    ) -> FittedAdaptiveTemperature:
        """Nothing is learned; returns the transform."""
        return FittedAdaptiveTemperature(self, 0, 0)


@dataclass(frozen=True)
class FittedAdaptiveTemperature(FittedCalibrator):
    """Fitted `AdaptiveTemperature`."""

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        log_p = log_softmax(z)
        p = np.exp(log_p)
        entropy = -np.sum(p * np.log(p + 1e-9), axis=1)
        return np.asarray(z * inverse_temperature(entropy)[:, None])


@calibration_method(
    "tempered_per_sample", keeps_prediction=True, reference="Qiu et al., 2024, arXiv 2404.04575"
)
@dataclass(frozen=True)
class TemperedPerSample:
    """Give each row the temperature at which its softmax is equally far from the uniform.

    p = softmax(z / T) with T such that KL(p || uniform) = r: the minimum of the robust loss
    T ln mean exp(z / T) + r T, which needs no label.  Rows whose largest logits tie too much
    to reach r, and rows of equal logits, get the nearest end of [1e-6, 1e6] times their
    spread.

    Parameters
    ----------
    divergence : float or "auto"
        r in nats, above 0; "auto" takes the one with the least NLL on validation rows.

    References
    ----------
    Qiu, Guo, Xu, Zhao, Zhang & Yang, "To Cool or not to Cool? Temperature Network Meets Large
    Foundation Models via DRO", ICML 2024, arXiv 2404.04575; the closed form follows from
    their loss.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, TemperedPerSample
    >>> x = Outputs(logits=np.array([[3.0, 1.0, -2.0, 0.0]]), labels=[0])
    >>> TemperedPerSample(divergence=0.5).fit(x).temperatures(x).round(8)
    array([1.51882225])
    """

    divergence: float | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        require(
            self.divergence == "auto" or self.divergence > 0.0,
            f"tempered_per_sample.divergence must be above 0, got {self.divergence}",
        )

    def fit(
        self, validation: Outputs | None = None, train: Outputs | None = None, /
    ) -> FittedTemperedPerSample:
        """Find the divergence, where it is not given.

        Raises
        ------
        InputError
            If it is not given and logits or labels are missing, or a row cannot be used.
        """
        if self.divergence != "auto":
            return FittedTemperedPerSample(self, 0, 0, self.divergence)
        z, labels = validation_rows("tempered_per_sample", validation)
        from scipy.optimize import minimize_scalar

        most = float(np.log(z.shape[1]))

        def loss(divergence: float) -> float:
            return float(row_nll(z / _temperatures(z, divergence)[:, None], labels).mean())

        # the loss need not have one minimum only: look around before going down
        tried = most * np.linspace(0.02, 0.98, 25)
        least = int(np.argmin([loss(r) for r in tried]))
        ends = tried[max(least - 1, 0)], tried[min(least + 1, len(tried) - 1)]
        found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-8})
        return FittedTemperedPerSample(self, z.shape[1], 0, float(found.x))


@dataclass(frozen=True)
class FittedTemperedPerSample(FittedCalibrator):
    """Fitted `TemperedPerSample`.

    Attributes
    ----------
    divergence : float
        What KL(p || uniform) is made to be, in nats.
    """

    divergence: float

    def temperatures(self, x: Outputs) -> Array:
        """The temperature of each row; as a score, larger = more confident.

        Parameters
        ----------
        x : Outputs
            With logits.

        Returns
        -------
        (N,) array of float64
            Above 0; grows in proportion to the logits.
        """
        self.check(x)
        found = np.empty(len(x))
        for part, chunk in logit_chunks(x):
            found[part] = _temperatures(chunk, self.divergence)
        return found

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        return np.asarray(z / _temperatures(z, self.divergence)[:, None])

    def report(self) -> Mapping[str, Any]:
        """The divergence in use."""
        return {"divergence": self.divergence}


def _temperatures(z: Array, divergence: float) -> Array:
    """Where KL(softmax(z / T) || uniform) = divergence, by bisection in ln T.  -> (N,)"""
    seen = np.isfinite(z)
    count = seen.sum(axis=1)
    below = np.where(seen, z - z.max(axis=1, keepdims=True), -np.inf)
    spread = -np.where(seen, below, 0.0).min(axis=1)
    spread = np.where(spread > 0.0, spread, 1.0)
    low, high = np.full(len(z), np.log(1e-6)), np.full(len(z), np.log(1e6))
    for _ in range(60):
        middle = 0.5 * (low + high)
        scaled = below / (spread * np.exp(middle))[:, None]
        log_p = log_softmax(scaled)
        p = np.exp(log_p)
        far = np.log(count) + np.sum(p * np.where(p > 0.0, log_p, 0.0), axis=1) > divergence
        # the farther from uniform, the hotter it must become
        low, high = np.where(far, middle, low), np.where(far, high, middle)
    return np.asarray(spread * np.exp(0.5 * (low + high)))
