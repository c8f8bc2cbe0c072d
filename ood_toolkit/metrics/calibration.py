"""Calibration errors over bins: how far confidence is from the share of right predictions.

All of them are 0 for a calibrated classifier; smaller is better.  Bins are (lower, upper],
with confidence 0 in the first; empty bins count nothing.
"""

from __future__ import annotations

import math
from typing import Any

from ood_toolkit.metrics.inputs import as_labels, as_probabilities, undefined
from ood_toolkit.metrics.reliability import reliability, top_label

__all__ = [
    "classwise_calibration_error",
    "debiased_calibration_error",
    "expected_calibration_error",
    "maximum_calibration_error",
]


def expected_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, binning: str = "equal_width"
) -> float:
    """Mean |accuracy - confidence| of the top label over bins, weighted by their rows.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.
    bins : int
        How many, at least 1.
    binning : {"equal_width", "equal_mass"}
        As of `reliability`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, an entry no probability, or `bins` below 1.
    UnknownName
        If there is no such binning.

    References
    ----------
    Naeini, Cooper & Hauskrecht, AAAI 2015; Guo, Pleiss, Sun & Weinberger, ICML 2017.

    Examples
    --------
    >>> round(expected_calibration_error([[0.75, 0.25], [0.65, 0.35]], [0, 1], bins=5), 9)
    0.2
    """
    share, gap = reliability(*top_label(probabilities, labels), bins, binning).gaps()
    return float(share @ gap) if gap.size else undefined("calibration error", _NO_ROWS)


def maximum_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, binning: str = "equal_width"
) -> float:
    """Largest |accuracy - confidence| of the top label over the bins that hold rows.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.
    bins : int
        How many, at least 1.
    binning : {"equal_width", "equal_mass"}
        As of `reliability`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, an entry no probability, or `bins` below 1.
    UnknownName
        If there is no such binning.

    Examples
    --------
    >>> maximum_calibration_error([[0.75, 0.25], [0.5, 0.5]], [0, 0], bins=2)
    0.5
    """
    _, gap = reliability(*top_label(probabilities, labels), bins, binning).gaps()
    return float(gap.max()) if gap.size else undefined("calibration error", _NO_ROWS)


def classwise_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, binning: str = "equal_width"
) -> float:
    """Mean over classes of the calibration error of each class's own probability.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.
    bins : int
        How many, at least 1.
    binning : {"equal_width", "equal_mass"}
        As of `reliability`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, an entry no probability, or `bins` below 1.
    UnknownName
        If there is no such binning.

    References
    ----------
    Kull, Perello-Nieto, Kangsepp, Silva Filho, Song & Flach, NeurIPS 2019.

    Examples
    --------
    >>> classwise_calibration_error([[0.75, 0.25], [0.25, 0.75]], [0, 1], bins=2)
    0.25
    """
    p = as_probabilities("probabilities", probabilities)
    known = as_labels(labels, *p.shape)
    if known.size == 0:
        return undefined("calibration error", _NO_ROWS)
    errors = []
    for c in range(p.shape[1]):
        share, gap = reliability(p[:, c], known == c, bins, binning).gaps()
        errors.append(float(share @ gap))
    return math.fsum(errors) / len(errors)


def debiased_calibration_error(
    probabilities: Any, labels: Any, bins: int = 15, binning: str = "equal_mass"
) -> float:
    """Root of the mean squared gap of the top label over bins, less its sampling variance.

    The squared gap of a bin of n rows is too large by accuracy (1 - accuracy) / (n - 1) on
    average, which is taken off; a bin of one row says nothing and counts 0.  The root is of
    the positive part.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.
    bins : int
        How many, at least 1.
    binning : {"equal_width", "equal_mass"}
        As of `reliability`.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, an entry no probability, or `bins` below 1.
    UnknownName
        If there is no such binning.

    References
    ----------
    Kumar, Liang & Ma, NeurIPS 2019.

    Examples
    --------
    >>> debiased_calibration_error([[0.9, 0.1]] * 4, [1, 1, 1, 1], bins=1)
    0.9
    """
    table = reliability(*top_label(probabilities, labels), bins, binning)
    rows = int(table.rows.sum())
    if rows == 0:
        return undefined("calibration error", _NO_ROWS)
    held = table.rows > 1
    n, accuracy = table.rows[held], table.accuracy[held]
    squared = (accuracy - table.confidence[held]) ** 2 - accuracy * (1.0 - accuracy) / (n - 1)
    return math.sqrt(max(float(n @ squared) / rows, 0.0))


_NO_ROWS = "there are no rows"
