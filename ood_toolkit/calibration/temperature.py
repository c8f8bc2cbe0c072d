"""Temperature scaling: one number that all logits are divided by."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_labels
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.chunks import located, refuse_bad_row
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array, Outputs

__all__ = ["FittedTemperature", "Temperature", "best_temperature"]

REACH = 1e3
"""Temperatures are sought within this factor of the logits' own spread."""
_BLOCK = 1 << 16  # numbers in a block of rows: what a processor's cache holds
_FAR = -1e150  # stands for a masked class: its exponential is 0, its square is finite
_SAMPLE = 4000  # rows that the first guess is made on
_LOOK = 1e-8  # a Newton step this small lands within rounding of the minimum


@calibration_method("temperature", keeps_prediction=True, reference="Guo et al., ICML 2017")
@dataclass(frozen=True)
class Temperature:
    """Divide all logits by one temperature, fitted by maximum likelihood.

    p = softmax(z / T).  The negative log-likelihood is convex in 1/T; its minimum is found
    by a safeguarded Newton iteration to about 1e-12.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, Temperature
    >>> validation = Outputs(logits=np.array([[4.0, 0.0]] * 4), labels=[0, 0, 0, 1])
    >>> round(Temperature().fit(validation).temperature, 9)
    3.640956907
    """

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedTemperature:
        """Find the temperature.

        Raises
        ------
        InputError
            If logits or labels are missing, or a row cannot be used.

        Warns
        -----
        ToolkitWarning
            If there is no minimum: every label has the largest logit (the likelihood grows
            as T -> 0), or labels and logits disagree so much that it grows as T -> infinity.
        """
        labels = validation_labels("temperature", validation)
        assert validation.logits is not None
        temperature, status = best_temperature(validation, labels)
        if status != "minimum":
            warnings.warn(
                located(validation, f"temperature: {_REASONS[status]}; T is set to "
                        f"{temperature:.4g}"),
                ToolkitWarning,
                stacklevel=3,
            )  # fmt: skip
        return FittedTemperature(self, validation.classes, 0, temperature, status)


_REASONS = {
    "separable": "every label has the largest logit, so the likelihood grows as T -> 0",
    "uninformative": "the labels do not follow the logits, so the likelihood grows as T -> inf",
    "constant": "all logits of each row are the same, so that no temperature matters",
}


@dataclass(frozen=True)
class FittedTemperature(FittedCalibrator):
    """Fitted `Temperature`.

    Attributes
    ----------
    temperature : float
        Above 0; above 1 the classifier was too sure.
    status : str
        "minimum", or why there is none: "separable", "uninformative" or "constant".
    """

    temperature: float
    status: str

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        return z / self.temperature

    def report(self) -> Mapping[str, Any]:
        """Temperature and status."""
        return {"temperature": self.temperature, "status": self.status}


def best_temperature(x: Outputs, labels: Array) -> tuple[float, str]:
    """The maximum-likelihood temperature of labelled rows, and "minimum" or why there is none.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    shift, spread, at_zero, at_infinity = _limits(x, labels)
    if spread == 0.0:
        return 1.0, "constant"
    if at_infinity <= 0.0:
        return spread / REACH, "separable"
    if at_zero >= 0.0:
        return spread * REACH, "uninformative"
    assert x.logits is not None
    logits = x.logits
    if not 1e-100 < spread < 1e100:  # squares would leave the range of float64
        logits = np.asarray(logits, dtype=np.float64) / spread
        found, status = best_temperature(Outputs(logits=logits), labels)
        return spread * found, status
    low, high, start = 1.0 / (spread * REACH), REACH / spread, 1.0 / spread
    if len(logits) > 2 * _SAMPLE:
        every = len(logits) // _SAMPLE
        start = _newton(logits[::every], labels[::every], shift[::every], low, high, start)
    inverse = _newton(logits, labels, shift, low, high, start)
    if inverse >= high * (1.0 - _LOOK):
        return 1.0 / high, "separable"
    if inverse <= low * (1.0 + _LOOK):
        return 1.0 / low, "uninformative"
    return 1.0 / inverse, "minimum"


def _newton(
    logits: Array, labels: Array, shift: Array, low: float, high: float, start: float
) -> float:
    """Root of the slope in the inverse temperature, within [low, high]; an end without one."""
    inverse = min(max(start, low), high)
    floor, ceiling = low, high
    for _ in range(200):
        slope, curvature = _slope(logits, labels, shift, inverse)
        if slope == 0.0:
            return inverse
        if slope > 0.0:
            ceiling = inverse
        else:
            floor = inverse
        step = -slope / curvature if curvature > 0.0 else math.copysign(math.inf, -slope)
        following = inverse + step
        if abs(step) <= _LOOK * inverse:
            return min(max(following, floor), ceiling)
        if not floor < following < ceiling:
            # a geometric middle: the scale of the answer is not known beforehand
            following = math.sqrt(floor * ceiling)
            if ceiling - floor <= 1e-15 * ceiling:
                return following
        inverse = following
    return inverse


def _blocks(rows: int, classes: int) -> tuple[int, int]:
    """Rows in a block, and how many blocks there are: the same whatever the threads."""
    step = max(1, _BLOCK // classes)
    return step, -(-rows // step)


def _slope(logits: Array, labels: Array, shift: Array, inverse: float) -> tuple[float, float]:
    """First and second derivative of the summed NLL with respect to 1/T."""
    step, count = _blocks(*logits.shape)
    sums = np.zeros((count, 2))

    def work(start: int, stop: int) -> None:
        below = _below(logits, shift, start, stop)
        true = below[np.arange(stop - start), labels[start:stop]]
        weight = np.exp(below * inverse)
        total = weight.sum(axis=1)
        weight *= below
        mean = weight.sum(axis=1) / total
        square = np.einsum("nc,nc->n", weight, below) / total
        sums[start // step] = (mean - true).sum(), (square - mean * mean).sum()

    share_out(work, len(logits), step, thread_count())
    return math.fsum(sums[:, 0]), math.fsum(sums[:, 1])


def _below(logits: Array, shift: Array, start: int, stop: int) -> Array:
    """How far each logit of a block lies below the largest of its row; float64."""
    below: Array = np.array(logits[start:stop], dtype=np.float64)
    below -= shift[start:stop, None]
    return np.maximum(below, _FAR, out=below)


def _limits(x: Outputs, labels: Array) -> tuple[Array, float, float, float]:
    """Largest logits, typical spread of a row, and the NLL's slope as 1/T -> 0 and -> inf."""
    assert x.logits is not None
    logits = x.logits
    step, count = _blocks(*logits.shape)
    top = np.empty(len(logits))
    sums, refused = np.zeros((count, 3)), np.full(count, -1)

    def work(start: int, stop: int) -> None:
        block = np.asarray(logits[start:stop], dtype=np.float64)
        top[start:stop] = block.max(axis=1)
        bad = ~(np.abs(top[start:stop]) < np.inf)
        if bad.any():
            refused[start // step] = start + int(np.argmax(bad))
            return
        below = block - top[start:stop, None]
        true = below[np.arange(stop - start), labels[start:stop]]
        known = np.isfinite(below)
        counted = known.sum(axis=1)
        mean = np.sum(below, axis=1, where=known) / counted
        apart = np.sum(np.abs(below - mean[:, None]), axis=1, where=known) / counted
        sums[start // step] = apart.sum(), (mean - true).sum(), -true.sum()

    share_out(work, len(logits), step, thread_count())
    if (refused >= 0).any():
        refuse_bad_row(x, int(refused[refused >= 0].min()))
    apart, at_zero, at_infinity = (math.fsum(column) for column in sums.T)
    return top, apart / len(logits), at_zero, at_infinity
