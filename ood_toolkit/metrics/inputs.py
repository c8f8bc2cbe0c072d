"""What every metric checks of the arrays it is given, once."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName

__all__ = [
    "as_classes",
    "as_confidences",
    "as_flags",
    "as_labels",
    "as_probabilities",
    "as_scores",
    "check_choice",
    "check_share",
    "least_count",
    "undefined",
]

Array = npt.NDArray[Any]

_LARGEST_EXACT_INTEGER = 2**53
_ROUNDING = 1e-6  # what a float32 softmax may be above one


def as_scores(name: str, values: Any) -> Array:
    """(N,) float32 or float64 scores; narrower floats and integers are widened exactly.

    NaN is left for the kernel that reads the scores.
    """
    array = _vector(name, values)
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and width in (4, 8):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.float16 or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if kind in "iub":
        limit = _LARGEST_EXACT_INTEGER
        if width == 8 and ((array > limit) | (array < -limit)).any():
            raise InputError(f"{name} holds integers beyond 2**53; convert them to ranks first")
        return array.astype(np.float64)
    raise InputError(f"{name} must be numbers, got dtype {array.dtype}")


def as_flags(name: str, values: Any, rows: int) -> npt.NDArray[np.bool_]:
    """(N,) bool from bool, or from integers 0 and 1."""
    array = _vector(name, values)
    _check_rows(name, array, rows)
    numbers = array.dtype.kind in "bui" or array.size == 0
    if not numbers or ((array != 0) & (array != 1)).any():
        raise InputError(f"{name} must be true or false (0 or 1) in each row")
    return array.astype(bool)


def as_classes(name: str, values: Any, rows: int | None = None) -> npt.NDArray[np.int64]:
    """(N,) int64 class numbers >= 0; floats are taken where they are whole."""
    array = _vector(name, values)
    if rows is not None:
        _check_rows(name, array, rows)
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~(array == np.floor(array)))
        if bad.size:
            raise InputError(f"{name}[{bad[0]}] is {array[bad[0]]}, not a class number")
    elif array.dtype.kind not in "iu":
        raise InputError(f"{name} must be class numbers, got dtype {array.dtype}")
    classes = array.astype(np.int64)
    unknown = np.flatnonzero(classes < 0)
    if unknown.size:
        raise InputError(
            f"{name}[{unknown[0]}] is {classes[unknown[0]]}: {unknown.size} rows have no known "
            "class; drop them first"
        )
    return classes


def as_labels(values: Any, rows: int, classes: int) -> npt.NDArray[np.int64]:
    """(N,) int64 labels in 0 ... C-1."""
    labels = as_classes("labels", values, rows)
    beyond = np.flatnonzero(labels >= classes)
    if beyond.size:
        raise InputError(
            f"labels[{beyond[0]}] is {labels[beyond[0]]}, but there are {classes} classes"
        )
    return labels


def as_confidences(confidence: Any, correct: Any) -> tuple[Array, npt.NDArray[np.bool_]]:
    """(N,) confidences without NaN, and whether each prediction is right."""
    scores = as_scores("confidence", confidence)
    bad = np.flatnonzero(np.isnan(scores))
    if bad.size:
        raise InputError(f"confidence[{bad[0]}] is NaN; a confidence must be a number")
    return scores, as_flags("correct", correct, scores.size)


def as_probabilities(name: str, values: Any, axes: int = 2) -> npt.NDArray[np.float64]:
    """(N, C), or (N,) for one axis, float64 in [0, 1]; rounding above 1 is cut off."""
    array = np.asarray(values)
    if array.ndim != axes or (axes == 2 and array.shape[1] < 2):
        wanted = "(N, C) with C >= 2" if axes == 2 else "(N,)"
        raise InputError(f"{name} must be {wanted}, got shape {array.shape}")
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise InputError(f"{name} must be numbers, got dtype {array.dtype}")
    p = array.astype(np.float64)
    inside = (p >= 0.0) & (p <= 1.0 + _ROUNDING)
    if not inside.all():
        place = tuple(int(i) for i in np.argwhere(~inside)[0])
        raise InputError(
            f"{name}[{', '.join(map(str, place))}] is {p[place]}, not a probability; "
            "logits must go through a softmax first"
        )
    return np.minimum(p, 1.0)


def check_choice(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not one of `known`, and suggest the nearest."""
    known = tuple(known)
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
        raise UnknownName(
            f"unknown {kind} {name!r}: did you mean {near!r}? There are {', '.join(known)}"
        )


def check_share(name: str, value: float, zero: bool = False) -> float:
    """A float in (0, 1], or in [0, 1] where zero makes sense."""
    share = float(value)
    if not (0.0 < share <= 1.0 or (zero and share == 0.0)):
        raise InputError(f"{name} is {value}; it must lie in {'[' if zero else '('}0, 1]")
    return share


def least_count(share: float, total: int) -> int:
    """Least k of 1 ... total whose share k / total reaches `share`, as floats compare."""
    k = min(max(math.ceil(share * total), 1), total)
    while k > 1 and (k - 1) / total >= share:
        k -= 1
    while k < total and k / total < share:
        k += 1
    return k


def undefined(metric: str, reason: str) -> float:
    """NaN, after a warning that says why."""
    warnings.warn(f"{metric} is NaN: {reason}", ToolkitWarning, stacklevel=3)
    return math.nan


def _vector(name: str, values: Any) -> Array:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{name} must be (N,), got shape {array.shape}")
    return array


def _check_rows(name: str, array: Array, rows: int) -> None:
    if array.shape[0] != rows:
        raise InputError(f"{name} has {array.shape[0]} rows where {rows} are expected")
