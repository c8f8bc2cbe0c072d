"""Matrix products cut the same way whatever the caller's block size.

BLAS gives other bits for other shapes.  Every product over rows therefore runs on
chunks of `CHUNK` rows counted from the first row of the data, so that a result does not
depend on how the work is divided, as long as blocks begin at multiples of `CHUNK`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK", "chunk_of_logits", "product_rows", "row_chunks"]

CHUNK = 1024
"""Rows in a canonical chunk."""

_LOGITS = 1 << 21  # in a chunk of them


def row_chunks(rows: int, step: int = CHUNK) -> Iterator[slice]:
    """Slices of `step` rows that cover 0 ... rows."""
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def chunk_of_logits(classes: int) -> int:
    """Rows in a canonical chunk of logits: `CHUNK`, or where there are many classes fewer."""
    rows = CHUNK
    while rows > 1 and rows * classes > _LOGITS:
        rows //= 2
    return rows


def product_rows(x: npt.NDArray[Any], matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """X @ matrix, chunk by chunk.  (N, D), (D, K) -> (N, K) in the matrix's dtype.

    The rows of `x` are converted to the matrix's dtype a chunk at a time, so a float16 or
    memory-mapped `x` is never widened whole.
    """
    product = np.empty((x.shape[0], matrix.shape[1]), dtype=matrix.dtype)
    for part in row_chunks(x.shape[0]):
        np.matmul(np.ascontiguousarray(x[part], dtype=matrix.dtype), matrix, out=product[part])
    return product
