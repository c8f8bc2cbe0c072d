"""Confidence against accuracy, bin by bin: the data of a reliability diagram."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.metrics.inputs import as_flags, as_labels, as_probabilities, check_choice

__all__ = ["BINNINGS", "Reliability", "reliability", "top_label"]

Array = npt.NDArray[Any]

BINNINGS = ("equal_width", "equal_mass")
"""Bins of one width, or of as nearly one number of rows as ties allow."""


class Reliability(NamedTuple):
    """Bins (lower, upper] of confidence; an empty bin has accuracy and confidence NaN.

    Attributes
    ----------
    lower, upper : (B,) arrays of float64
        Edges; confidence 0 belongs to the first bin.
    rows : (B,) array of int64
        Rows in the bin.
    accuracy : (B,) array of float64
        Share of right predictions in the bin.
    confidence : (B,) array of float64
        Mean confidence in the bin.
    """

    lower: Array
    upper: Array
    rows: Array
    accuracy: Array
    confidence: Array

    def gaps(self) -> tuple[Array, Array]:
        """Share of all rows, and |accuracy - confidence|, of each bin that has rows."""
        held = self.rows > 0
        share = self.rows[held] / max(int(self.rows.sum()), 1)
        return share, np.abs(self.accuracy[held] - self.confidence[held])


def reliability(
    confidence: Any, correct: Any, bins: int = 15, binning: str = "equal_width"
) -> Reliability:
    """Accuracy and mean confidence of the rows in each bin of confidence.

    Parameters
    ----------
    confidence : (N,) array of float
        Probability of the predicted class, in [0, 1].
    correct : (N,) array of bool
        Whether the prediction is right.
    bins : int
        How many, at least 1.
    binning : {"equal_width", "equal_mass"}
        Equal width: the edges are k / bins.  Equal mass: the edges are the confidences that
        end each of `bins` parts of the sorted rows; rows of equal confidence share a bin.

    Returns
    -------
    Reliability
        One entry a bin.

    Raises
    ------
    InputError
        If the lengths differ, a confidence is no probability, or `bins` is below 1.
    UnknownName
        If there is no such binning.

    Examples
    --------
    >>> reliability([0.3, 0.5, 0.9], [False, True, True], bins=2).accuracy
    array([0.5, 1. ])
    """
    p = as_probabilities("confidence", confidence, axes=1)
    right = as_flags("correct", correct, p.size)
    check_choice("binning", binning, BINNINGS)
    if int(bins) != bins or bins < 1:
        raise InputError(f"bins is {bins}; it must be a whole number of 1 or more")
    edges = _even_edges(int(bins)) if binning == "equal_width" else _mass_edges(p, int(bins))
    # Edge k closes bin k: (edge k-1, edge k], and the first bin takes confidence 0.
    at = np.maximum(np.searchsorted(edges, p, side="left") - 1, 0)
    size = edges.size - 1
    count = np.bincount(at, minlength=size)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(at, weights=right, minlength=size) / count
        mean = np.bincount(at, weights=p, minlength=size) / count
    return Reliability(edges[:-1], edges[1:], count, accuracy, mean)


def top_label(probabilities: Any, labels: Any) -> tuple[Array, Array]:
    """Largest probability of each row, and whether its class (the first on ties) is the label.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    confidence : (N,) array of float64
    correct : (N,) array of bool

    Examples
    --------
    >>> top_label([[0.7, 0.3], [0.4, 0.6]], [0, 0])
    (array([0.7, 0.6]), array([ True, False]))
    """
    p = as_probabilities("probabilities", probabilities)
    known = as_labels(labels, *p.shape)
    predicted = p.argmax(axis=1)
    return p[np.arange(known.size), predicted], predicted == known


def _even_edges(bins: int) -> Array:
    # k / bins rather than k steps of 1 / bins: a confidence of 0.2 must lie on the edge 3 / 15.
    return np.arange(bins + 1) / bins


def _mass_edges(p: Array, bins: int) -> Array:
    """0, then the largest confidence of each part of the sorted rows, then 1."""
    if p.size == 0:
        return np.array([0.0, 1.0])
    parts = np.arange(1, bins)
    ends = parts * (p.size // bins) + np.minimum(parts, p.size % bins)
    inner = np.sort(p)[ends - 1]
    return np.unique(np.concatenate(([0.0], inner, [1.0])))
