"""Reading a record chunk by chunk in float64, checked for finite values on the way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "feature_chunks",
    "located",
    "logit_chunks",
    "probability_chunks",
    "refuse_bad_row",
]


def located(x: Outputs, message: str) -> str:
    """The message with the record's origin in front of it."""
    return f"{x.source}: {message}" if x.source else message


def refuse_bad_row(x: Outputs, row: int) -> None:
    """Raise `InputError` naming the first row of logits that cannot be scored, if any."""
    if row < 0:
        return
    assert x.logits is not None
    values = np.asarray(x.logits[row], dtype=np.float64)
    what = (
        "holds NaN"
        if np.isnan(values).any()
        else "holds +inf"
        if (values == np.inf).any()
        else "is -inf in every class"
    )
    raise InputError(located(x, f"logits: row {row} {what}; remove or repair it"))


def logit_chunks(x: Outputs) -> Iterator[tuple[slice, Array]]:
    """Logits in float64, canonical chunk by chunk.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    assert x.logits is not None
    for part in row_chunks(x.logits.shape[0]):
        chunk = np.ascontiguousarray(x.logits[part], dtype=np.float64)
        top = chunk.max(axis=1)
        bad = ~(np.abs(top) < np.inf)  # NaN propagates through the maximum
        refuse_bad_row(x, part.start + int(np.argmax(bad)) if bad.any() else -1)
        yield part, chunk


def feature_chunks(x: Outputs, *, unit_length: bool = False) -> Iterator[tuple[slice, Array]]:
    """Features in float64, canonical chunk by chunk, checked for finite values on the way.

    Raises
    ------
    InputError
        Naming the first row with NaN or infinity, or of length zero where `unit_length`.
    """
    assert x.features is not None
    for part in row_chunks(x.features.shape[0]):
        chunk = np.ascontiguousarray(x.features[part], dtype=np.float64)
        finite = np.isfinite(chunk)
        if not finite.all():
            row = part.start + int(np.argmin(finite.all(axis=1)))
            raise InputError(
                located(x, f"features: row {row} holds NaN or infinity; remove or repair it")
            )
        if unit_length:
            length = np.linalg.norm(chunk, axis=1, keepdims=True)
            if not length.all():
                row = part.start + int(np.argmin(length[:, 0]))
                raise InputError(
                    located(x, f"features: row {row} is all zero and has no direction; remove it")
                )
            chunk = chunk / length
        yield part, chunk


def probability_chunks(x: Outputs) -> Iterator[tuple[slice, Array]]:
    """Softmax of the logits in float64, canonical chunk by chunk.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    assert x.logits is not None
    for part in row_chunks(x.logits.shape[0]):
        probabilities, bad = softmax_rows(x.logits[part])
        refuse_bad_row(x, part.start + bad if bad >= 0 else -1)
        yield part, probabilities
