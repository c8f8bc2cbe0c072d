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
LEAST = float(np.log(1e-6))
"""Logarithm of the least temperature, in units of a row's spread; the largest is its inverse."""
LOOKS = 100
"""Most steps of the search for temperatures; bisection alone would need about 50."""
FAR = -1e150
"""Stands for a masked class: its exponential is 0, its square is finite."""


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

        near = None  # one search begins where the one before it ended

        def loss(divergence: float) -> float:
            nonlocal near
            near = _temperatures(z, divergence, near)
            return float(row_nll(z / near[:, None], labels).mean())

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


def _temperatures(z: Array, divergence: float, near: Array | None = None) -> Array:
    """Where KL(softmax(z / T) || uniform) = divergence.  -> (N,)

    Newton's method in ln T, within a bracket that each look at a row narrows; `near` are
    temperatures to begin at.
    """
    seen = np.isfinite(z)
    below = np.where(seen, z - z.max(axis=1, keepdims=True), -np.inf)
    spread = -np.where(seen, below, 0.0).min(axis=1)
    spread = np.where(spread > 0.0, spread, 1.0)
    below /= spread[:, None]
    most = np.log(seen.sum(axis=1))
    low, high = np.full(len(z), LEAST), np.full(len(z), -LEAST)
    found = np.zeros(len(z)) if near is None else np.clip(np.log(near / spread), LEAST, -LEAST)
    open_rows = np.arange(len(z))
    for _ in range(LOOKS):
        at = found[open_rows]
        excess, slope = _divergence(below[open_rows], at, most[open_rows] - divergence)
        # the farther from uniform, the hotter it must become
        low[open_rows] = np.where(excess > 0.0, at, low[open_rows])
        high[open_rows] = np.where(excess > 0.0, high[open_rows], at)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            following = at + excess / slope
        bottom, top = low[open_rows], high[open_rows]
        inside = (following >= bottom) & (following <= top)
        following = np.where(inside, following, 0.5 * (bottom + top))
        found[open_rows] = following
        moving = np.abs(following - at) > 1e-14 * np.maximum(np.abs(at), 1.0)
        open_rows = open_rows[moving & (excess != 0.0)]
        if not len(open_rows):
            break
    return np.asarray(spread * np.exp(found))


def _divergence(below: Array, place: Array, most: Array) -> tuple[Array, Array]:
    """KL(softmax(z / T) || uniform) less what is wanted, and how fast it falls with ln T."""
    scaled = below * np.exp(-place)[:, None]
    p = np.exp(scaled)
    total = p.sum(axis=1)
    p /= total[:, None]
    np.maximum(scaled, FAR, out=scaled)  # a masked class counts for nothing
    mean = np.einsum("nc,nc->n", p, scaled)
    square = np.einsum("nc,nc,nc->n", p, scaled, scaled)
    return most + mean - np.log(total), np.maximum(square - mean * mean, 0.0)
