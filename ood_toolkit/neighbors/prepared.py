"""A bank and queries as the tiles need them, with bounds on all rounding.

For a query q and a bank row b in tile coordinates, D columns, and products in a type of
unit rounding u:

* a product is off by at most D u |q| |b| / (1 - D u), in whatever order BLAS sums it;
* rounding q and b to the type, and the few operations that compare a bound, add less than
  8 u (|q| |b| + |b|^2 / 2);
* a distance in float64 is off by less than (D / 2 + 2) 2^-53 of itself; the grain,
  4 (D + 8) 2^-53 of its square, leaves as much again to keep unequal distances apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.topk import SEGMENT, BankRows, QueryRows
from ood_toolkit.neighbors.copies import earlier_copies
from ood_toolkit.neighbors.placement import Placement, row_blocks

__all__ = ["MOST_COLUMNS", "PreparedBank"]

MOST_COLUMNS = 1 << 20
"""Beyond, the bounds of float32 products would say nothing."""

_FAR = 2.0**60  # queries of a larger norm could overflow float32 products
_NEAR = 2.0**-100  # smaller bank norms count as this, which keeps bounds from vanishing
_UNDERFLOW = 2.0**-100  # far above what the products of a column lose to underflow


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBank:
    """A bank in tile coordinates.

    Attributes
    ----------
    rows : (M, D) array of float32 or float64
        The bank itself where its own coordinates serve, otherwise a moved copy.
    placement : Placement
        How rows and queries get there.
    described : BankRows
        Original rows, norms and error bounds.
    copies : (M,) int64 array
        How many equal rows are known to come before each.
    """

    rows: npt.NDArray[Any]
    placement: Placement
    described: BankRows
    copies: npt.NDArray[np.int64]

    @classmethod
    def of(cls, bank: npt.NDArray[Any]) -> PreparedBank:
        """Prepare a contiguous (M, D) bank of finite float32 or float64."""
        placement = Placement.of(bank)
        rows = placement.move(bank)
        squared = np.empty(len(rows))
        for part in row_blocks(rows):
            block = rows[part].astype(np.float64)
            squared[part] = np.einsum("ij,ij->i", block, block)
        grain = _grain(bank.shape[1])
        blur = 8.0 * _unit_rounding(bank.dtype) + grain
        floor = (0.5 * (1.0 - blur) * squared).astype(bank.dtype)
        norm = np.maximum(np.sqrt(squared), _NEAR).astype(bank.dtype)
        longest = np.maximum.reduceat(norm, np.arange(0, len(norm), SEGMENT))
        described = BankRows(
            bank, floor, norm, longest, bank.dtype.type(blur), grain, placement.scale
        )
        return cls(rows, placement, described, earlier_copies(bank))

    def described_for(self, k: int) -> BankRows:
        """`described`, without rows that k others precede even where a query leaves one out."""
        beaten = self.copies > k
        if not beaten.any():
            return self.described
        floor = self.described.floor.copy()
        floor[beaten] = np.inf
        return self.described._replace(floor=floor)

    def place(self, queries: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], QueryRows]:
        """(q, D) queries in tile coordinates and type, and what the kernels need of them."""
        columns, dtype = queries.shape[1], self.rows.dtype
        grain = _grain(columns)
        product_error = (columns + 8) * _unit_rounding(dtype)
        product_error = product_error / (1.0 - product_error) + grain
        with np.errstate(over="ignore"):
            placed = self.placement.apply(queries)
            half = 0.5 * np.einsum("ij,ij->i", placed, placed)
        slack = 4.0 * grain * half + columns * _UNDERFLOW
        far = ~(half < 0.5 * _FAR**2)
        placed[far], half[far], slack[far] = 0.0, 0.0, np.inf
        slope = (product_error * np.sqrt(2.0 * half)).astype(dtype)
        return placed.astype(dtype), QueryRows(queries, half, slope, slack)


def _unit_rounding(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps) / 2.0


def _grain(columns: int) -> float:
    return 4.0 * (columns + 8) * 2.0**-53
