"""Alternatives to the softmax: sparsemax, sparse softmax and stablemax."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.chunks import logit_chunks
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = [
    "FittedLink",
    "Link",
    "SparseSoftmax",
    "Sparsemax",
    "Stablemax",
    "sparse_softmax_rows",
    "sparsemax_rows",
    "stablemax_rows",
]


class Link:
    """A calibrator that replaces the softmax by another map; nothing is fitted."""

    @abstractmethod
    def probabilities(self, z: Array) -> Array:
        """(n, C) float64 logits -> (n, C) probabilities."""

    def fit(self, validation: Outputs | None = None, train: Outputs | None = None, /) -> FittedLink:
        """Nothing is learned; returns the transform."""
        return FittedLink(self, 0, 0)


@dataclass(frozen=True)
class FittedLink(FittedCalibrator):
    """The transform of any `Link`: logits whose softmax are the link's probabilities."""

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        with np.errstate(divide="ignore"):  # probability zero is a masked class
            return np.asarray(np.log(self.calibrator.probabilities(z)))

    def support(self, x: Outputs) -> Array:
        """How many classes of each row have a probability above zero.

        Parameters
        ----------
        x : Outputs
            With logits.

        Returns
        -------
        (N,) array of int64
            1 or more; smaller = more confident.
        """
        self.check(x)
        found = np.empty(len(x), dtype=np.int64)
        for part, chunk in logit_chunks(x):
            found[part] = np.count_nonzero(self.calibrator.probabilities(chunk), axis=1)
        return found

    def report(self) -> Mapping[str, Any]:
        """Nothing was fitted."""
        return {}


@calibration_method(
    "sparsemax",
    validation="",
    keeps_prediction=True,
    reference="Martins & Astudillo, ICML 2016",
)
@dataclass(frozen=True)
class Sparsemax(Link):
    """Replace the softmax by the nearest point of the simplex; nothing is fitted.

    p = max(z - t, 0) with t such that it sums to one.  A row whose largest logit leads by 1
    or more gives it all; how many classes keep a share (`support`) is a measure of doubt, as
    is 1 - max p.

    References
    ----------
    Martins & Astudillo, "From Softmax to Sparsemax", ICML 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, Sparsemax
    >>> x = Outputs(logits=np.array([[1.0, 0.8, 0.1], [2.0, 1.0, 0.1]]))
    >>> np.exp(Sparsemax().fit().apply(x).logits).round(6)
    array([[0.6, 0.4, 0. ],
           [1. , 0. , 0. ]])
    """

    def probabilities(self, z: Array) -> Array:
        """Projection on the simplex."""
        return sparsemax_rows(z)


@calibration_method(
    "sparse_softmax",
    validation="",
    keeps_prediction=True,
    reference="Sun et al., 2021, arXiv 2112.12433",
)
@dataclass(frozen=True)
class SparseSoftmax(Link):
    """Take the softmax over the k largest logits only; nothing is fitted.

    Of logits that tie for the k-th place the first ones stay.

    Parameters
    ----------
    k : int
        Classes that keep a share, at least 1.

    References
    ----------
    Sun, Hu, Zhang & Zhang, "Sparse-softmax: A Simpler and Faster Alternative Softmax
    Transformation", 2021, arXiv 2112.12433.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, SparseSoftmax
    >>> x = Outputs(logits=np.array([[3.0, 1.0, 2.0, 0.0]]))
    >>> np.exp(SparseSoftmax(k=2).fit().apply(x).logits).round(4)
    array([[0.7311, 0.    , 0.2689, 0.    ]])
    """

    k: int = 10

    def __post_init__(self) -> None:
        require(self.k >= 1, f"sparse_softmax.k must be at least 1, got {self.k}")

    def probabilities(self, z: Array) -> Array:
        """Softmax of the k largest."""
        return sparse_softmax_rows(z, self.k)


@calibration_method(
    "stablemax",
    validation="",
    keeps_prediction=True,
    reference="Prieto et al., ICLR 2025",
)
@dataclass(frozen=True)
class Stablemax(Link):
    """Replace the exponential by a function that grows slowly; nothing is fitted.

    p = s(z) / sum s(z) with s(z) = z + 1 for z >= 0 and 1 / (1 - z) below.  Shifting the
    logits changes it, and where they exceed about 1e16 it ties them.

    References
    ----------
    Prieto, Barsbey, Mediano & Birdal, "Grokking at the Edge of Numerical Stability", ICLR
    2025.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, Stablemax
    >>> x = Outputs(logits=np.array([[2.0, 0.0, -1.0]]))
    >>> np.exp(Stablemax().fit().apply(x).logits).round(4)
    array([[0.6667, 0.2222, 0.1111]])
    """

    def probabilities(self, z: Array) -> Array:
        """s(z) over its sum."""
        return stablemax_rows(z)


def sparsemax_rows(z: Array) -> Array:
    """Euclidean projection of each row on the simplex.  (N, C) -> (N, C) float64."""
    below = z - z.max(axis=1, keepdims=True)
    ordered = -np.sort(-below, axis=1)
    # nothing 1 or more below the largest keeps a share: infinities do not reach the sums
    ordered = np.maximum(ordered, -1.0)
    rank = np.arange(1, z.shape[1] + 1)
    sums = np.cumsum(ordered, axis=1)
    kept = np.count_nonzero(1.0 + rank * ordered > sums, axis=1)
    threshold = (sums[np.arange(len(z)), kept - 1] - 1.0) / kept
    shares = np.maximum(below - threshold[:, None], 0.0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def sparse_softmax_rows(z: Array, k: int) -> Array:
    """Softmax over the k largest logits of each row, zero elsewhere.  (N, C) -> (N, C)."""
    first = np.argsort(-z, axis=1, kind="stable")[:, :k]
    weight = np.zeros(z.shape)
    top = z.max(axis=1, keepdims=True)
    np.put_along_axis(weight, first, np.exp(np.take_along_axis(z, first, 1) - top), axis=1)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def stablemax_rows(z: Array) -> Array:
    """s(z) / sum s(z), s(z) = z + 1 or 1 / (1 - z).  (N, C) -> (N, C) float64."""
    grown = np.where(z >= 0.0, z + 1.0, 1.0 / (1.0 - np.minimum(z, 0.0)))
    # scaled by the largest, so that no sum overflows
    grown /= grown.max(axis=1, keepdims=True)
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
