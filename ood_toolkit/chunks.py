"""Reading a record chunk by chunk in float64, checked for finite values on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.directions import unit_rows
from ood_toolkit.kernels.moments import centre_rows
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.products import CHUNK, chunk_of_logits, row_chunks
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.kernels.softmax import predicted_softmax
from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.streamed import as_streamed

__all__ = [
    "PROBABILITIES_GIVEN",
    "centred_features",
    "checked_features",
    "checked_logits",
    "checked_probabilities",
    "checked_statistics",
    "feature_chunks",
    "located",
    "logit_chunks",
    "look_like_probabilities",
    "numbered",
    "predicted_chunks",
    "predicted_probabilities",
    "probability_chunks",
    "refuse_bad_features",
    "refuse_bad_row",
    "scored_features",
    "scored_logits",
    "scored_probabilities",
    "warn_of_probabilities",
]

_SAMPLE = 4096  # rows that a first impression is taken from


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
    raise InputError(located(x, f"logits: row {numbered(x, row)} {what}; remove or repair it"))


def numbered(x: Outputs, row: int) -> int:
    """The row's number in the file that a streamed record is a part of."""
    for array in (x.logits, x.features, x.members, x.token_logits, *x.layers.values()):
        if (rows := as_streamed(array)) is not None:
            return rows.first + row
    return row


def checked_statistics(x: Outputs, wanted: Iterable[Statistic]) -> RowStatistics:
    """Row statistics of logits.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    assert x.logits is not None
    rows = row_statistics(x.logits, wanted)
    refuse_bad_row(x, rows.first_bad)
    return rows


def refuse_bad_features(x: Outputs, row: int) -> None:
    """Raise `InputError` naming the first row of features that is not finite, if any."""
    if row >= 0:
        raise InputError(
            located(
                x, f"features: row {numbered(x, row)} holds NaN or infinity; remove or repair it"
            )
        )


PROBABILITIES_GIVEN = (
    "logits: rows lie in [0, 1] and sum to one: they look like probabilities; take the "
    "logarithm, or save the layer before the softmax"
)
"""What is said where `look_like_probabilities`."""


def warn_of_probabilities(x: Outputs) -> None:
    """Warn, on behalf of the caller's caller, where the logits look like probabilities."""
    if look_like_probabilities(x):
        warnings.warn(located(x, PROBABILITIES_GIVEN), ToolkitWarning, stacklevel=3)


def look_like_probabilities(x: Outputs) -> bool:
    """Whether the first rows of the logits lie in [0, 1] and sum to one."""
    if x.logits is None or len(x) == 0:
        return False
    sample = np.asarray(x.logits[:_SAMPLE], dtype=np.float64)
    tolerance = 1e-2 if x.logits.dtype.itemsize == 2 else 1e-4
    if not (sample.min() >= 0 and sample.max() <= 1):
        return False
    return bool((np.abs(sample.sum(axis=1) - 1) < tolerance).all())


def logit_chunks(x: Outputs) -> Iterator[tuple[slice, Array]]:
    """Logits in float64, canonical chunk by chunk.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    for part in row_chunks(len(x), chunk_of_logits(x.classes)):
        yield part, checked_logits(x, part)


def checked_logits(x: Outputs, part: slice) -> Array:
    """Some rows of logits in float64, none bad."""
    assert x.logits is not None
    chunk = np.ascontiguousarray(x.logits[part], dtype=np.float64)
    bad = ~(np.abs(chunk.max(axis=1)) < np.inf)  # NaN propagates through the maximum
    refuse_bad_row(x, part.start + int(np.argmax(bad)) if bad.any() else -1)
    return chunk


def scored_logits(x: Outputs, judge: Callable[[Array, slice], Array]) -> Array:
    """As `scored_features`, of logits in float64."""
    step = chunk_of_logits(x.classes)
    return _scored(len(x), step, lambda part: judge(checked_logits(x, part), part))


def probability_chunks(x: Outputs) -> Iterator[tuple[slice, Array]]:
    """Softmax of the logits in float64, canonical chunk by chunk.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    for part, p, _ in predicted_chunks(x):
        yield part, p


def predicted_chunks(x: Outputs) -> Iterator[tuple[slice, Array, Array]]:
    """As `probability_chunks`, with the predictions of the logits."""
    for part in row_chunks(len(x), chunk_of_logits(x.classes)):
        yield part, *predicted_probabilities(x, part)


def checked_probabilities(x: Outputs, part: slice) -> Array:
    """Softmax of some rows of logits in float64, none bad."""
    return predicted_probabilities(x, part)[0]


def predicted_probabilities(x: Outputs, part: slice) -> tuple[Array, Array]:
    """The same, and the prediction of each row's logits."""
    assert x.logits is not None
    probabilities, predicted, bad = predicted_softmax(x.logits[part])
    refuse_bad_row(x, part.start + bad if bad >= 0 else -1)
    return probabilities, predicted


def scored_probabilities(x: Outputs, judge: Callable[[Array, slice], Array]) -> Array:
    """As `scored_features`, of the softmax of the logits in float64."""
    step = chunk_of_logits(x.classes)
    return _scored(len(x), step, lambda part: judge(checked_probabilities(x, part), part))


def feature_chunks(x: Outputs, *, unit_length: bool = False) -> Iterator[tuple[slice, Array]]:
    """Features in float64, canonical chunk by chunk, checked for finite values on the way.

    Raises
    ------
    InputError
        Naming the first row with NaN or infinity, or of length zero where `unit_length`.
    """
    assert x.features is not None
    for part in row_chunks(x.features.shape[0]):
        yield part, checked_features(x, part, unit_length, np.float64)


def scored_features(
    x: Outputs,
    judge: Callable[[Array, slice], Array],
    *,
    unit_length: bool = False,
    dtype: Any = np.float64,
    origin: Array | None = None,
) -> Array:
    """Scores of features, whose canonical chunks are shared among threads.

    Parameters
    ----------
    x : Outputs
        A record with features.
    judge : callable
        (n, D) features of `dtype`, and which rows they are -> (n,) scores.  Its matrix
        products run on one thread.
    unit_length : bool
        Whether rows are first divided by their Euclidean length.
    dtype : numpy float type
        What features, or their differences from an origin, are converted to.
    origin : (D,) array of float, optional
        What is subtracted from each row, in the wider of both types; `judge` gets the
        differences, which are overwritten afterwards.

    Returns
    -------
    (N,) array of float64
        The same bits on any number of threads.

    Raises
    ------
    InputError
        As `feature_chunks`; of several bad rows the first is named.
    """
    scratch = Scratch()

    def rows(part: slice) -> Array:
        if origin is None:
            return checked_features(x, part, unit_length, dtype)
        shape = (part.stop - part.start, len(origin))
        room = scratch.array("centred", shape, dtype)
        return centred_features(x, part, origin, unit_length, room)

    return _scored(len(x), CHUNK, lambda part: judge(rows(part), part))


def _scored(rows: int, step: int, judge: Callable[[slice], Array]) -> Array:
    """Scores of chunks that are shared among threads, with matrix products on one thread."""
    scores = np.empty(rows)
    refused: list[tuple[int, InputError]] = []

    def work(start: int, stop: int) -> None:
        try:
            # what overflows is an infinite score, or a NaN that is refused where scores leave
            with np.errstate(over="ignore", invalid="ignore"):
                scores[start:stop] = judge(slice(start, stop))
        except InputError as error:
            refused.append((start, error))

    with one_blas_thread():
        share_out(work, rows, step, thread_count())
    if refused:
        raise min(refused, key=lambda found: found[0])[1]
    return scores


def checked_features(x: Outputs, part: slice, unit_length: bool, dtype: Any) -> Array:
    """Rows of features in one type, all finite, and of length 1 where that is asked for."""
    assert x.features is not None
    chunk = np.ascontiguousarray(x.features[part], dtype=dtype)
    finite = np.isfinite(chunk)
    if not finite.all():
        refuse_bad_features(x, part.start + int(np.argmin(finite.all(axis=1))))
    if unit_length:
        zero, chunk = unit_rows(chunk)
        if zero >= 0:
            row = numbered(x, part.start + zero)
            raise InputError(
                located(x, f"features: row {row} is all zero and has no direction; remove it")
            )
    return chunk


def centred_features(
    x: Outputs, part: slice, origin: Array, unit_length: bool, room: Array
) -> Array:
    """Rows of features less an origin, all finite, and of length 1 before where asked for.

    They are put into `room`, (n, D), in its type.
    """
    assert x.features is not None
    rows = checked_features(x, part, True, room.dtype) if unit_length else x.features[part]
    bad = centre_rows(rows, origin, room)
    refuse_bad_features(x, part.start + bad if bad >= 0 else -1)
    return room
