"""Class sums and scatter matrices, accumulated chunk by chunk in float64.

One pass over the rows, memory O(D^2 + C D).  Chunks are added in index order, so the
result depends on neither block size nor thread count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Moments"]

Float64 = npt.NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Sums of rows by class, and the sum of outer products, about a fixed origin.

    The origin only guards the digits: subtracting something near the data before squaring
    keeps the later subtraction of means from cancelling.
    """

    origin: Float64
    counts: Float64
    sums: Float64
    scatter: Float64

    @classmethod
    def about(cls, origin: Float64, classes: int) -> Moments:
        """No rows yet.  (D,) origin, C classes."""
        d = origin.shape[0]
        return cls(origin, np.zeros(classes), np.zeros((classes, d)), np.zeros((d, d)))

    def add(self, chunk: Float64, labels: npt.NDArray[Any]) -> None:
        """Add rows.  (n, D) float64, (n,) classes."""
        centred = chunk - self.origin
        classes = self.counts.shape[0]
        self.counts += np.bincount(labels, minlength=classes)
        membership = np.zeros((classes, len(labels)))
        membership[labels, np.arange(len(labels))] = 1.0
        self.sums += membership @ centred
        self.scatter += centred.T @ centred

    @property
    def rows(self) -> float:
        """How many rows were added."""
        return float(self.counts.sum())

    def class_means(self) -> Float64:
        """(C, D); a class without rows has the origin."""
        return np.asarray(self.origin + self.sums / np.maximum(self.counts, 1.0)[:, None])

    def mean(self) -> Float64:
        """(D,) mean of all rows."""
        return np.asarray(self.origin + self.sums.sum(axis=0) / self.rows)

    def within_covariance(self) -> Float64:
        """(D, D) covariance about the class means, divided by N."""
        offsets = self.sums / np.sqrt(np.maximum(self.counts, 1.0))[:, None]
        return np.asarray((self.scatter - offsets.T @ offsets) / self.rows)

    def total_covariance(self) -> Float64:
        """(D, D) covariance about the mean of all rows, divided by N."""
        offset = self.sums.sum(axis=0)
        return np.asarray((self.scatter - np.outer(offset, offset) / self.rows) / self.rows)
