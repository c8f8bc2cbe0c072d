"""From stored arrays to the arrays of a record: types are checked before a number is read."""

from __future__ import annotations

import warnings
from typing import Literal

import ml_dtypes
import numpy as np

from ood_toolkit.errors import BadParameter, DataError, ToolkitWarning
from ood_toolkit.io.gate import refusing
from ood_toolkit.io.keys import RANKS
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Array

__all__ = ["LabelPolicy", "check_labels", "float_type", "floats", "others", "whole_labels"]

LabelPolicy = Literal["strict", "lenient"]

_FLOATS: dict[str, np.dtype] = {
    "float16": np.dtype("f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype("f4"),
    "float64": np.dtype("f8"),
}
_SHAPES = {1: "(C,)", 2: "a matrix of rows", 3: "of three axes"}


def float_type(word: str | None) -> np.dtype | None:
    """The float type that the user's word names; None without a word."""
    if word is None:
        return None
    if word not in _FLOATS:
        raise BadParameter(f"dtype {word!r} is not one of {', '.join(_FLOATS)}")
    return _FLOATS[word]


def floats(stored: StoredArray, name: str, word: np.dtype | None) -> Array:
    """Numbers as one of the four float types.

    Parameters
    ----------
    stored : StoredArray
        Where they lie.
    name : str
        What they are, e.g. ``"logits"``.
    word : numpy.dtype or None
        The user's word for numbers whose file does not say: text, integers (quantised
        logits) and 2-byte blobs, which may be bfloat16.  Floats keep the type they have.

    Raises
    ------
    DataError
        If the numbers have another type or another number of axes.
    """
    dtype = _readable(stored).element
    _check_rank(stored, name)
    blob = dtype.type is np.void and dtype.itemsize == 2 and dtype.names is None
    if dtype.newbyteorder("=") in _FLOATS.values():
        values = _read(stored)
        return values.astype(word) if word is not None and not stored.typed else values
    if blob and word == _FLOATS["bfloat16"]:
        warnings.warn(
            f"{stored.path}: {stored.key or name}: 2-byte blobs are read as bfloat16, as you said",
            ToolkitWarning,
            stacklevel=2,
        )
        return _read(stored).view(word)
    if dtype.kind in "iu" and word is not None:
        return _read(stored).astype(word)
    advice = f"save {name} as float16, bfloat16, float32 or float64"
    if blob:
        advice = "if it is bfloat16, say so with --dtype (dtype=) bfloat16"
    elif dtype.kind in "iu":
        advice = f"if these are quantised {name}, convert them with --dtype (dtype=) float32"
    raise DataError(
        stored.path, stored.key, f"{name} of dtype {stored.type_name} cannot be used; {advice}"
    )


def _readable(stored: StoredArray) -> StoredArray:
    """The array itself, once it is known that it can be read at all."""
    if stored.dtype is None:
        stored.admit()  # raises the reason
    return stored


def _read(stored: StoredArray) -> Array:
    with refusing(stored.path, stored.key):
        stored.admit()
        return stored.load()


def _check_rank(stored: StoredArray, name: str) -> None:
    rank = RANKS.get(name, 2 if name.startswith("layers/") else None)
    if rank is not None and len(stored.shape) != rank:
        raise DataError(
            stored.path,
            stored.key,
            f"{name} must be {_SHAPES[rank]}, got shape {stored.shape}",
        )


def whole_labels(stored: StoredArray) -> Array:
    """Class numbers as int64, whatever type they were saved in.

    Whole floats pass; one-hot rows are converted with a warning.  The range is checked by
    `check_labels`, once the number of classes is known.

    Raises
    ------
    DataError
        If they are text or bool, not whole numbers, beyond int64, or of another shape.
    """
    dtype = _readable(stored).element
    if dtype.newbyteorder("=") not in (*_FLOATS.values(), *_INTEGERS):
        raise DataError(
            stored.path,
            stored.key,
            f"labels of dtype {stored.type_name} cannot be used; save class numbers 0 … C-1",
        )
    if len(stored.shape) == 2 and stored.shape[1] == 1:
        return _whole(stored, _read(stored)[:, 0])
    if len(stored.shape) == 2:
        return _from_one_hot(stored, _read(stored))
    if len(stored.shape) != 1:
        raise DataError(stored.path, stored.key, f"labels must be (N,), got shape {stored.shape}")
    return _whole(stored, _read(stored))


_INTEGERS = tuple(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))


def _whole(stored: StoredArray, values: Array) -> Array:
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    if values.dtype.kind == "u":
        wrong = values > np.uint64(np.iinfo(np.int64).max)
        reason = "an unsigned number that no class has (a -1 that wrapped around?)"
    else:
        values = values.astype(np.float64)
        wrong = ~(np.abs(values) < 2.0**53) | (values != np.floor(values))
        reason = "not a whole number"
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(stored.path, stored.key, f"row {row} is {values[row]}, {reason}")
    return values.astype(np.int64)


def _from_one_hot(stored: StoredArray, values: Array) -> Array:
    ones = values == 1
    wrong = (ones.sum(axis=1) != 1) | ((values != 0) & ~ones).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            stored.path,
            stored.key,
            f"labels of shape {stored.shape}: row {row} is not one-hot; save class numbers",
        )
    warnings.warn(
        f"{stored.path}: {stored.key}: one-hot labels of shape {stored.shape} are converted to "
        "class numbers",
        ToolkitWarning,
        stacklevel=2,
    )
    return np.asarray(ones.argmax(axis=1), np.int64)


def check_labels(stored: StoredArray, values: Array, classes: int, policy: LabelPolicy) -> Array:
    """Hold class numbers against the number of classes; 0 where that is unknown.

    Under the lenient policy labels outside -1 ... classes - 1 become -1, with a warning.

    Raises
    ------
    DataError
        Under the strict policy, naming the first row outside.
    """
    wrong = values < -1
    if classes:
        wrong |= values >= classes
    if not wrong.any():
        return values
    row = int(np.argmax(wrong))
    span = f"-1 … {classes - 1}" if classes else "-1 or more"
    if policy == "strict":
        hint = " (a -1 that wrapped around?)" if _looks_wrapped(stored, values[row]) else ""
        raise DataError(
            stored.path, stored.key, f"row {row} is {values[row]}, expected {span}{hint}"
        )
    warnings.warn(
        f"{stored.path}: {stored.key}: {int(wrong.sum())} labels outside {span}, the first in "
        f"row {row}, are taken as unknown (-1)",
        ToolkitWarning,
        stacklevel=2,
    )
    return np.where(wrong, -1, values)


def _looks_wrapped(stored: StoredArray, value: np.int64) -> bool:
    return (
        stored.dtype is not None
        and stored.dtype.kind == "u"
        and value == np.iinfo(stored.dtype).max
    )


_KINDS = {
    "token_mask": ("bui", "bool or integers"),
    "token_ids": ("ui", "integers"),
    "thumbnails": ("u", "uint8"),
    "text": ("US", "text"),
}


def others(stored: StoredArray, name: str) -> Array:
    """Token masks and ids, thumbnails and texts, as they are."""
    dtype = _readable(stored).element
    _check_rank(stored, name)
    kinds, expected = _KINDS[name]
    whole_floats = name.startswith("token") and not stored.typed
    wrong = dtype.kind not in kinds and not whole_floats
    if wrong or (name == "thumbnails" and dtype != np.uint8):
        raise DataError(
            stored.path,
            stored.key,
            f"{name} of dtype {stored.type_name} cannot be used; expected {expected}",
        )
    if name == "thumbnails" and len(stored.shape) not in (3, 4):
        raise DataError(
            stored.path,
            stored.key,
            f"thumbnails must be (N, H, W) or (N, H, W, 3), got shape {stored.shape}",
        )
    if name == "text" and len(stored.shape) != 1:
        raise DataError(stored.path, stored.key, f"text must be (N,), got shape {stored.shape}")
    values = _read(stored)
    if values.dtype.kind == "S":
        return np.asarray(np.char.decode(values, "utf-8", "backslashreplace"))
    return _whole(stored, values.reshape(-1)).reshape(values.shape) if whole_floats else values
