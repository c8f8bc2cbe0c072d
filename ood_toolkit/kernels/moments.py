"""Class sums and scatter matrices, accumulated block by block in float64.

One pass over the rows, memory O(D^2 + C D).  Blocks are added in index order, so the
result depends on neither thread count nor how the rows are stored; sums of groups of blocks
merge, so that other machines can make them.

A scatter matrix is symmetric.  Products of `PANEL` columns with themselves and with all later
columns give the blocks on and above its diagonal; the others are copied once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel

__all__ = ["PANEL", "Moments", "add_by_class", "centre_rows", "fill_upper_scatter"]

PANEL = 1024
"""Columns of the scatter matrix that are made together."""

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

    def add(self, centred: Float64, scatter: Float64, labels: npt.NDArray[np.int64]) -> None:
        """Add rows less the origin, what `fill_upper_scatter` made of them, and their classes."""
        self.counts += np.bincount(labels, minlength=len(self.counts))
        add_by_class(centred, labels, self.sums)
        for panel in _panels(len(scatter)):
            self.scatter[panel, panel.start :] += scatter[panel, panel.start :]

    def complete(self) -> None:
        """Copy what lies above the diagonal below it, once all rows are added."""
        for panel in _panels(len(self.scatter)):
            self.scatter[panel.stop :, panel] = self.scatter[panel, panel.stop :].T

    def merge(self, other: Moments) -> None:
        """Add the sums of other rows about the same origin."""
        self.counts += other.counts
        self.sums += other.sums
        self.scatter += other.scatter

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
        """(D, D) covariance about the class means, divided by N; not finite if squares overflow."""
        offsets = self.sums / np.sqrt(np.maximum(self.counts, 1.0))[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((self.scatter - offsets.T @ offsets) / self.rows)

    def total_covariance(self) -> Float64:
        """(D, D) covariance about the mean of all rows, divided by N; as finite."""
        offset = self.sums.sum(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((self.scatter - np.outer(offset, offset) / self.rows) / self.rows)


def fill_upper_scatter(centred: Float64, scatter: Float64) -> None:
    """Blocks on and above the diagonal of centred.T @ centred.  (n, D) -> fills (D, D)."""
    with np.errstate(over="ignore", invalid="ignore"):  # whoever reads the sums refuses them
        for panel in _panels(len(scatter)):
            columns, later = centred[:, panel], centred[:, panel.stop :]
            # numpy sees that both factors are one matrix, and makes half the product
            np.matmul(columns.T, columns, out=scatter[panel, panel])
            if later.shape[1]:
                np.matmul(columns.T, later, out=scatter[panel, panel.stop :])


def _panels(columns: int) -> list[slice]:
    return [slice(start, min(start + PANEL, columns)) for start in range(0, columns, PANEL)]


def centre_rows(rows: npt.NDArray[Any], origin: npt.NDArray[Any], centred: npt.NDArray[Any]) -> int:
    """Rows less the origin; the first row that is not finite, or -1.

    (n, D), (D,) -> fills (n, D), rounded from the wider of both types to that of `centred`.
    """
    if rows.dtype.itemsize < 4:
        rows = rows.astype(np.float32)
    rows = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
    return int(_centre(rows, origin, centred))


@kernel
def _centre(rows: npt.NDArray[Any], origin: npt.NDArray[Any], centred: npt.NDArray[Any]) -> int:
    """(n, D), (D,) -> fills (n, D); the first row with NaN or infinity, or -1."""
    first_bad = -1
    for i in range(len(rows)):
        row, out, strange = rows[i], centred[i], 0
        for j in range(row.size):
            value = row[j]
            out[j] = value - origin[j]
            strange += not abs(value) < np.inf
        if strange and first_bad < 0:
            first_bad = i
    return first_bad


@kernel
def add_by_class(rows: Float64, labels: npt.NDArray[np.int64], sums: Float64) -> None:
    """(n, D), (n,) -> adds each row to its class's sum in (C, D)."""
    for i in range(len(rows)):
        row, total = rows[i], sums[labels[i]]
        for j in range(row.size):
            total[j] += row[j]
