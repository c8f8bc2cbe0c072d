"""The Brier score in parts: calibration, resolution and what no classifier can help."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.metrics.inputs import as_labels, as_probabilities, undefined
from ood_toolkit.metrics.reliability import reliability

__all__ = ["BrierParts", "brier_decomposition"]


class BrierParts(NamedTuple):
    """Parts of a Brier score, which is reliability - resolution + uncertainty + within.

    Attributes
    ----------
    reliability : float
        Mean squared gap of confidence and frequency over bins; smaller is better, 0 where
        probabilities are calibrated.
    resolution : float
        Mean squared distance of the bins' frequencies from the overall one; larger is better.
    uncertainty : float
        What always saying the overall frequencies would score.
    within : float
        What the bins hide: spread of the probabilities inside them, less what of it is
        right; 0 where all probabilities in a bin are equal.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_decomposition(
    probabilities: Any, labels: Any, bins: int = 15, binning: str = "equal_width"
) -> BrierParts:
    """Split the Brier score, summed over classes, into its parts over bins.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.
    bins : int
        How many for each class, at least 1.
    binning : {"equal_width", "equal_mass"}
        As of `reliability`.

    Returns
    -------
    BrierParts
        NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, an entry no probability, or `bins` below 1.
    UnknownName
        If there is no such binning.

    References
    ----------
    Murphy, Journal of Applied Meteorology 1973; the parts inside bins of Stephenson, Coelho &
    Jolliffe, Weather and Forecasting 2008.

    Examples
    --------
    >>> parts = brier_decomposition([[0.75, 0.25]] * 4, [0, 0, 0, 1])
    >>> [round(part, 9) for part in parts]
    [0.0, 0.0, 0.375, 0.0]
    """
    p = as_probabilities("probabilities", probabilities)
    known = as_labels(labels, *p.shape)
    if known.size == 0:
        nan = undefined("Brier decomposition", "there are no rows")
        return BrierParts(nan, nan, nan, nan)
    parts = np.zeros(4)
    for c in range(p.shape[1]):
        hit = (known == c).astype(np.float64)
        base = float(hit.mean())
        table = reliability(p[:, c], known == c, bins, binning)
        held = table.rows > 0
        share = table.rows[held] / known.size
        mean, frequency = table.confidence[held], table.accuracy[held]
        squared_gap = float(share @ (mean - frequency) ** 2)
        between = float(share @ (frequency - base) ** 2)
        uncertainty = base * (1.0 - base)
        score = float(np.mean((p[:, c] - hit) ** 2))
        within = score - squared_gap + between - uncertainty
        parts += squared_gap, between, uncertainty, within
    return BrierParts(*map(float, parts))
