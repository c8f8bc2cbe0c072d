"""Where products are taken: coordinates in which their rounding is small.

A common offset of all rows costs digits and changes no distance; entries near the ends of
a type's range overflow or vanish when squared.  Scaling is by a power of two, so it
rounds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK_ELEMENTS", "Placement", "row_blocks"]

BLOCK_ELEMENTS = 1 << 21
"""Elements widened to float64 at a time."""

_PLAIN_EXPONENTS = range(-30, 31)
_MEAN_SHARE = 0.75  # of the rows' squared length; above it, subtracting the mean pays


def row_blocks(bank: npt.NDArray[Any], rows: int | None = None) -> Iterator[slice]:
    """Slices of about `BLOCK_ELEMENTS` elements that cover so many rows like a bank's, or all."""
    step = max(1, BLOCK_ELEMENTS // bank.shape[1])
    count = len(bank) if rows is None else rows
    return (slice(start, start + step) for start in range(0, count, step))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Tile coordinates: x * scale - origin.

    Attributes
    ----------
    origin : (D,) float64 array
        In tile coordinates.
    scale : float
        A power of two.
    """

    origin: npt.NDArray[np.float64]
    scale: float

    @classmethod
    def of(cls, bank: npt.NDArray[Any]) -> Placement:
        """Choose coordinates for a bank: its own wherever they serve."""
        exponent = _exponent(max(_largest(bank[part]) for part in row_blocks(bank)))
        unit = cls(np.zeros(bank.shape[1]), _power_of_two(-exponent))
        mean, square = np.zeros(bank.shape[1]), 0.0
        for part in row_blocks(bank):
            block = unit.apply(bank[part])
            mean += block.sum(axis=0) / len(bank)
            square += float(np.einsum("ij,ij->", block, block)) / len(bank)
        if mean @ mean <= _MEAN_SHARE * square:
            return cls(unit.origin, 1.0) if exponent in _PLAIN_EXPONENTS else unit
        centred = cls(mean, unit.scale)
        spread = max(_largest(centred.apply(bank[part])) for part in row_blocks(bank))
        zoom = _power_of_two(-_exponent(spread))
        return cls(mean * zoom, _power_of_two(-exponent - _exponent(spread)))

    @property
    def moves(self) -> bool:
        """Whether coordinates differ from the original ones."""
        return self.scale != 1.0 or bool(self.origin.any())

    def apply(self, block: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Tile coordinates of some rows, in float64."""
        placed = block.astype(np.float64)
        placed *= self.scale
        placed -= self.origin
        return placed

    def move(self, bank: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The bank in tile coordinates, in its own type; itself where nothing moves."""
        if not self.moves:
            return bank
        rows = np.empty_like(bank)
        for part in row_blocks(bank):
            rows[part] = self.apply(bank[part])
        return rows


def _largest(block: npt.NDArray[Any]) -> float:
    return max(float(block.max()), -float(block.min()))


def _exponent(value: float) -> int:
    """The e of value = m * 2^e with 0.5 <= m < 1; 0 of 0."""
    return int(np.frexp(value)[1])


def _power_of_two(exponent: int) -> float:
    return float(np.ldexp(1.0, min(max(exponent, -1000), 1000)))
