"""CFOOD: how wide a neighbourhood of reference rows must be before the input falls into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["CFOOD", "CFOODScorer"]

GRID = (*range(16, 1601, 16), *range(1680, 8001, 79), *range(8160, 15841, 160))
"""The shares kappa that are tried, in sixteen-thousandths: 100 from 0.001 to 0.1, 81 from 0.105
to 0.5 and 49 from 0.51 to 0.99, evenly spaced."""

BLOCK_ELEMENTS = 1 << 22
"""Similarities of inputs to reference rows that are held at a time."""


@method(
    "cfood",
    family="features",
    needs="features",
    train="features",
    reference="CFOOD 2025, as in OpenOOD",
    laws="feature_rotation feature_scale",
    grid={"fraction": (0.1, 0.5, 1.0), "share": (0.001, 0.005, 0.01, 0.05)},
)
@dataclass(frozen=True)
class CFOOD:
    """Smallest share of the reference set whose neighbourhoods contain the input.

    S = -kappa, in [-1, -0.001]; larger = more in-distribution.  Of n reference rows, i takes in
    what is as near to it as its floor(kappa n)-th nearest other reference row (at least the
    first).  kappa is the smallest of 230 shares, 0.001 ... 0.99, at which `share` of the
    reference rows take the input in, and 1 where none is.  Features are divided by their
    Euclidean norm; a row of zeros is refused.  Many rows tie: there are 231 values.

    Parameters
    ----------
    fraction : float
        Share of the training rows in the reference set, in (0, 1], taken at even steps through
        the training set (OpenOOD draws them at random); at least two rows.
    share : float
        Share of the reference rows that must take the input in, in (0, 1].

    Notes
    -----
    Fit O(B^2 (D + log B)) time, O(B D) memory; score O(N B D) time, O(N + B + D) memory.

    Works where the reference rows follow the local density of every class; fails where they are few
    for many classes, and where rows must be told apart finely: 231 values are all there are.

    References
    ----------
    OpenOOD's postprocessor `cfood`, 2025, whose defaults these are.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import CFOOD, Outputs
    >>> angles = np.linspace(0, 1, 100)
    >>> train = Outputs(features=np.c_[np.cos(angles), np.sin(angles)])
    >>> x = Outputs(features=np.array([[1.0, 0.5], [-1.0, 0.1]]))
    >>> CFOOD(fraction=1.0).fit(train).score(x)
    array([-0.001, -1.   ])
    """

    fraction: float = 0.1
    share: float = 0.01

    def __post_init__(self) -> None:
        for name in ("fraction", "share"):
            value = getattr(self, name)
            require(0 < value <= 1, f"cfood.{name} must lie in (0, 1], got {value}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> CFOODScorer:
        """Find each reference row's similarity to its near and far fellows."""
        if train is None or train.features is None:
            raise InputError("cfood needs training outputs with features")
        if len(train) < 2:
            count = "one row" if len(train) else "zero rows"
            raise InputError(located(train, f"cfood cannot be fitted on {count}"))
        size = max(2, round(self.fraction * len(train)))
        reference = train.rows(np.arange(size) * len(train) // size)
        directions = np.concatenate([f for _, f in feature_chunks(reference, unit_length=True)])
        ranks, first = np.unique([max(1, k * size // 16_000) for k in GRID], return_index=True)
        similarity = np.empty((len(ranks), size))
        for part in _blocks(size, size):
            block = directions[part] @ directions.T
            own = np.arange(size)[part]
            block[np.arange(len(own)), own] = np.inf  # itself comes first, whatever its rounding
            block.sort(axis=1)
            similarity[:, part] = block[:, size - 1 - ranks].T
        shares = np.array(GRID)[first] / 16_000.0
        return CFOODScorer(self, 0, directions.shape[1], directions, shares, similarity)


def _blocks(rows: int, columns: int) -> list[slice]:
    """Slices of a power of two of rows, so few that a block of so many columns is small."""
    step = CHUNK
    while step > 1 and step * columns > BLOCK_ELEMENTS:
        step //= 2
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


@dataclass(frozen=True)
class CFOODScorer(FittedScorer):
    """Fitted `CFOOD`.

    Attributes
    ----------
    directions : (n, D) array of float64
        Reference features divided by their length.
    shares : (K,) array of float64
        The shares kappa that differ in their rank, ascending.
    similarity : (K, n) array of float64
        Cosine of each reference row and its floor(kappa n)-th nearest fellow.
    """

    directions: Array
    shares: Array
    similarity: Array

    shapes = {"directions": "B D", "shares": "K", "similarity": "K B"}

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        kappa = np.append(self.shares, 1.0)
        enough = math.ceil(self.detector.share * len(self.directions) - 1e-9)
        for part, f in feature_chunks(x, unit_length=True):
            for block in _blocks(len(f), len(self.directions)):
                found = self._first_that_takes_in(f[block] @ self.directions.T, enough)
                scores[part][block] = -kappa[found]
        return scores

    def _first_that_takes_in(self, cosines: Array, enough: int) -> Array:
        """First share at which so many reference rows take each input in, by bisection.

        (m, n) -> (m,); the number of shares where there is none.
        """
        low = np.zeros(len(cosines), dtype=np.int64)
        high = np.full(len(cosines), len(self.shares))
        while (low < high).any():
            middle = np.minimum((low + high) // 2, len(self.shares) - 1)
            inside = (cosines >= self.similarity[middle]).sum(axis=1) >= enough
            open_ = low < high
            high = np.where(open_ & inside, middle, high)
            low = np.where(open_ & ~inside, middle + 1, low)
        return low

    def report(self) -> Mapping[str, Any]:
        """Reference rows, and how many of them must take an input in."""
        rows = len(self.directions)
        return {"rows": rows, "needed": math.ceil(self.detector.share * rows - 1e-9)}
