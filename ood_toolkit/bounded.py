"""Work on records that do not fit into memory.

Rows are scored in blocks that begin at canonical chunks.  Fits that are sums read block by
block of their own accord; those that need all rows at once are made on every k-th row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.products import CHUNK, row_chunks
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.streamed import AllRowsNeeded, as_streamed

__all__ = [
    "blocks_of_rows",
    "fitted_on_what_fits",
    "in_blocks",
    "is_streamed",
    "large_arrays",
    "what_fits",
]

BLOCK_BYTES = 64 << 20
"""Bytes of input that are worked on at once, where there is memory for them."""

SHARE = 12
"""Part of the room that the kept rows take: a fit copies them, and works beside them."""

Fitted = TypeVar("Fitted")


def large_arrays(x: Outputs) -> list[Array]:
    """The arrays of a record that may be large."""
    found = [x.logits, x.features, x.members, x.token_logits, *x.layers.values()]
    return [array for array in found if array is not None]


def is_streamed(x: Outputs) -> bool:
    """Whether rows of the record are fetched when they are asked for."""
    return any(as_streamed(array) is not None for array in large_arrays(x))


def blocks_of_rows(x: Outputs) -> Iterator[slice]:
    """Blocks of rows that may be worked on at once; one block where all are in memory.

    Whole canonical chunks that take an eighth of what may still be taken.
    """
    streamed = [rows for array in large_arrays(x) if (rows := as_streamed(array)) is not None]
    if not streamed:
        yield slice(0, len(x))
        return
    row = max(1, sum(rows.nbytes for rows in streamed) // max(1, len(x)))
    room = min(rows.memory.room() for rows in streamed)
    step = max(1, min(BLOCK_BYTES, room // 8) // row // CHUNK) * CHUNK
    yield from row_chunks(max(1, len(x)), step)


def in_blocks(x: Outputs, judge: Callable[[Outputs], Array]) -> Array:
    """What `judge` says of each row, asked for in blocks."""
    found = [judge(x if part == slice(0, len(x)) else x.rows(part)) for part in blocks_of_rows(x)]
    return found[0] if len(found) == 1 else np.concatenate(found)


def fitted_on_what_fits(name: str, fit: Callable[..., Fitted], *records: Outputs | None) -> Fitted:
    """Fit on all rows and, where that takes more memory than there is, on every k-th.

    The rule: k is the smallest number for which the rows 0, k, 2k, ... take a twelfth of what
    may still be taken.  Sums are made of all rows, block by block, and never come to this.

    Parameters
    ----------
    name : str
        What is fitted, for the message.
    fit : callable
        Takes the records.
    *records : Outputs or None
        Training rows, held-out rows.

    Returns
    -------
    object
        What `fit` returned.

    Warns
    -----
    ToolkitWarning
        Saying which rows were used, if not all were.
    """
    try:
        return fit(*records)
    except AllRowsNeeded:
        thinned = [None if record is None else what_fits(name, record) for record in records]
    return fit(*thinned)


def what_fits(name: str, record: Outputs) -> Outputs:
    """The record in memory: all of its rows where they fit, else every k-th, with a warning."""
    streamed = [rows for array in large_arrays(record) if (rows := as_streamed(array)) is not None]
    if not streamed:
        return record
    total = sum(rows.nbytes for rows in streamed)
    room = min(rows.memory.room() for rows in streamed)
    step = max(1, -(-SHARE * total // max(1, room)))
    if step > 1:
        ordinal = {2: "2nd", 3: "3rd"}.get(step, f"{step}th")
        message = (
            f"{name} needs its rows at once, and --memory (memory=) leaves room for some: "
            f"every {ordinal} of {len(record)} is used"
        )
        warnings.warn(located(record, message), ToolkitWarning, stacklevel=3)
    return record.rows(np.arange(0, len(record), step))
