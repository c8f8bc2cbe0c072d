"""Calibration errors without bins; smaller is better, 0 for a calibrated classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.metrics.inputs import undefined
from ood_toolkit.metrics.reliability import top_label

__all__ = ["ks_calibration_error", "smooth_calibration_error"]

Array = npt.NDArray[Any]

_NO_ROWS = "there are no rows"
_CELLS = 1 << 15  # of the grid on which residuals are smoothed


def ks_calibration_error(probabilities: Any, labels: Any) -> float:
    """Largest gap between summed confidence and right predictions over sorted rows, over N.

    The rows run by rising confidence; rows that tie count together.  No bins.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, or an entry is no probability.

    References
    ----------
    Gupta, Rahimi, Ajanthan, Mensink, Sminchisescu & Hartley, ICLR 2021.

    Examples
    --------
    >>> ks_calibration_error([[0.75, 0.25], [0.5, 0.5]], [0, 1])
    0.25
    """
    confidence, correct = top_label(probabilities, labels)
    if confidence.size == 0:
        return undefined("calibration error", _NO_ROWS)
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    drift = np.cumsum(correct[order] - ordered)
    last_of_ties = np.append(np.diff(ordered) > 0, True)
    return float(np.abs(drift[last_of_ties]).max()) / confidence.size


def smooth_calibration_error(probabilities: Any, labels: Any) -> float:
    """Smooth ECE of the top label: no bins, and a bandwidth that fits the error itself.

    The residuals (right - confidence) are smoothed over confidence by a Gaussian reflected
    at 0 and 1; the result is the bandwidth at which the mean size of what is left equals it.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    float
        In [0, 1], smaller is better, to about 1e-5; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, or an entry is no probability.

    References
    ----------
    Blasiok & Nakkiran, ICLR 2024.

    Examples
    --------
    >>> round(smooth_calibration_error([[1.0, 0.0]] * 4, [0, 0, 1, 1]), 6)
    0.5
    """
    confidence, correct = top_label(probabilities, labels)
    if confidence.size == 0:
        return undefined("calibration error", _NO_ROWS)
    waves = _cosine_series(confidence, correct - confidence)
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        width = 0.5 * (low + high)
        if _smoothed_size(waves, width) > width:
            low = width
        else:
            high = width
    return 0.5 * (low + high)


def _cosine_series(place: Array, residual: Array) -> Array:
    """Coefficients of the residual density on [0, 1], continued as an even function."""
    position = place * _CELLS
    cell = np.minimum(position.astype(np.int64), _CELLS - 1)
    weight = position - cell
    mass = np.bincount(cell, residual * (1.0 - weight), _CELLS + 1)
    mass += np.bincount(cell + 1, residual * weight, _CELLS + 1)
    # The two ends are their own mirror images; inside, each point has one.
    mass[0], mass[-1] = 2.0 * mass[0], 2.0 * mass[-1]
    mirrored = np.concatenate((mass, mass[-2:0:-1]))
    return np.fft.rfft(mirrored) * (_CELLS / place.size)


def _smoothed_size(waves: Array, width: float) -> float:
    """Mean |density| after smoothing by a reflected Gaussian.

    Reflection at both ends makes the kernel that of heat on a rod with closed ends, whose
    waves cos(pi k t) decay by exp(-(pi k width)^2 / 2).
    """
    decay = np.exp(-0.5 * (np.pi * width * np.arange(waves.size)) ** 2)
    density = np.fft.irfft(waves * decay)[: _CELLS + 1]
    return float(np.abs(density[1:-1]).sum() + 0.5 * np.abs(density[[0, -1]]).sum()) / _CELLS
