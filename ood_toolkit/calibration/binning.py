"""Histogram binning, and Bayesian averaging over many binnings (BBQ)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import validation_rows
from ood_toolkit.calibration.likelihood import log_softmax
from ood_toolkit.calibration.one_vs_rest import OneVsRest, joined, split_at
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["BBQ", "FittedBins", "HistogramBinning", "bin_evidence"]

PRIOR_ROWS = 2.0
"""Rows that the prior of BBQ's bins counts for, altogether."""


@calibration_method("histogram", keeps_prediction=False, reference="Zadrozny & Elkan, ICML 2001")
@dataclass(frozen=True)
class HistogramBinning:
    """Replace each class's probability by how often its bin was right, then renormalise.

    Bins are (k / B, (k + 1) / B]; an empty bin gives its middle.

    Parameters
    ----------
    bins : int
        B, at least 1.

    References
    ----------
    Zadrozny & Elkan, "Obtaining calibrated probability estimates from decision trees and
    naive Bayesian classifiers", ICML 2001; 15 bins as Guo et al., ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import HistogramBinning, Outputs
    >>> z = np.log([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 0, 0])
    >>> fitted = HistogramBinning().fit(validation)
    >>> np.exp(fitted.apply(validation).logits[[0, 4]]).round(4)
    array([[0.75, 0.25],
           [0.5 , 0.5 ]])
    """

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, f"histogram.bins must be at least 1, got {self.bins}")

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedBins:
        """Count the bins of each class.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or a class has no row.
        """
        z, labels = validation_rows("histogram", validation, every_class=True)
        p = np.exp(log_softmax(z))
        edges = np.arange(self.bins + 1) / self.bins
        middle = 0.5 * (edges[:-1] + edges[1:])
        values = []
        for c in range(z.shape[1]):
            rows, hits = _counts(p[:, c], labels == c, edges)
            values.append(np.where(rows > 0, hits / np.maximum(rows, 1), middle))
        return _fitted(self, [edges] * z.shape[1], values)


@calibration_method("bbq", keeps_prediction=False, reference="Naeini et al., AAAI 2015")
@dataclass(frozen=True)
class BBQ:
    """Average histogram binnings of many sizes, weighted by how well they explain the labels.

    Bins hold equally many rows; there are from N^(1/3) / 10 to 10 N^(1/3) of them, and no
    more than N / 5.  A binning's weight is its marginal likelihood under a beta prior worth
    two rows.

    References
    ----------
    Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import BBQ, Outputs
    >>> z = np.log([[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 0, 1])
    >>> fitted = BBQ().fit(validation)
    >>> np.exp(fitted.apply(validation).logits[[0, 4]]).round(4)
    array([[0.6171, 0.3829],
           [0.3829, 0.6171]])
    """

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedBins:
        """Weigh the binnings of each class.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or a class has no row.
        """
        z, labels = validation_rows("bbq", validation, every_class=True)
        p = np.exp(log_softmax(z))
        found = [_averaged(p[:, c], labels == c) for c in range(z.shape[1])]
        return _fitted(self, [edges for edges, _ in found], [values for _, values in found])


@dataclass(frozen=True)
class FittedBins(OneVsRest):
    """Fitted `HistogramBinning` or `BBQ`: a step function for each class.

    Attributes
    ----------
    edges : (K + C,) array of float64
        Edges 0 ... 1 of the steps (lower, upper], one class after another.
    values : (K,) array of float64
        The probability that each step gives.
    begins : (C + 1,) array of int64
        Where the values of each class begin.
    """

    edges: Array
    values: Array
    begins: Array

    shapes = {"edges": "e", "values": "K"}

    def _by_class(self, log_p: Array) -> Array:
        p = np.exp(log_p)
        new = np.empty_like(p)
        for c in range(p.shape[1]):
            # each class has one edge more than it has values
            edges = self.edges[self.begins[c] + c : self.begins[c + 1] + c + 1]
            new[:, c] = split_at(self.values, self.begins, c)[_bin_of(p[:, c], edges)]
        return new

    def report(self) -> Mapping[str, Any]:
        """Steps of all classes together."""
        return {"steps": len(self.values)}


def bin_evidence(rows: Array, hits: Array, edges: Array) -> float:
    """Logarithm of the marginal likelihood of a binning.

    Parameters
    ----------
    rows, hits : (B,) arrays
        Rows in each bin, and how many of them are of the class.
    edges : (B + 1,) array
        The middle of a bin is the mean of its prior.

    Returns
    -------
    float
        Larger = explains the labels better.
    """
    from scipy.special import gammaln

    weight = PRIOR_ROWS / len(rows)
    a = weight * 0.5 * (edges[:-1] + edges[1:])
    b = weight - a
    terms = gammaln(hits + a) - gammaln(a) + gammaln(rows - hits + b) - gammaln(b)
    terms += math.lgamma(weight) - gammaln(rows + weight)
    return math.fsum(terms)


def _averaged(p: Array, hit: Array) -> tuple[Array, Array]:
    """Edges and values of the weighted mean of all binnings of one class."""
    root = len(p) ** (1.0 / 3.0)
    least = max(1, math.floor(root / 10.0))
    most = max(least, min(math.ceil(len(p) / 5.0), math.ceil(10.0 * root)))
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    hits_below = np.concatenate([[0], np.cumsum(hit[order])])
    binnings, evidence = [], []
    for bins in range(least, most + 1):
        edges = _mass_edges(ordered, bins)
        upto = np.searchsorted(ordered, edges, side="right")
        upto[0] = 0  # probability 0 is in the first bin
        rows, hits = np.diff(upto), np.diff(hits_below[upto])
        middle = 0.5 * (edges[:-1] + edges[1:])
        binnings.append((edges, np.where(rows > 0, hits / np.maximum(rows, 1), middle)))
        evidence.append(bin_evidence(rows, hits, edges))
    weight = np.exp(np.array(evidence) - max(evidence))
    weight /= weight.sum()
    every = np.unique(np.concatenate([edges for edges, _ in binnings]))
    values = np.zeros(len(every) - 1)
    for share, (edges, means) in zip(weight, binnings, strict=True):
        values += share * np.repeat(means, np.diff(np.searchsorted(every, edges)))
    return every, values


def _mass_edges(ordered: Array, bins: int) -> Array:
    """0, the midpoints between rows that part them evenly, 1; coinciding ones once."""
    cuts = np.round(np.arange(1, bins) * len(ordered) / bins).astype(np.int64)
    inner = 0.5 * (ordered[cuts - 1] + ordered[cuts])
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def _bin_of(p: Array, edges: Array) -> Array:
    """Number of the bin (lower, upper] of each value; 0 is in the first."""
    return np.maximum(np.searchsorted(edges, p, side="left") - 1, 0)


def _counts(p: Array, hit: Array, edges: Array) -> tuple[Array, Array]:
    at = _bin_of(p, edges)
    rows = np.bincount(at, minlength=len(edges) - 1)
    return rows, np.bincount(at[hit], minlength=len(edges) - 1)


def _fitted(calibrator: Any, edges: list[Array], values: list[Array]) -> FittedBins:
    every, begins = joined(values)
    return FittedBins(calibrator, len(values), 0, np.concatenate(edges), every, begins)
