"""From stored arrays to the arrays of a record: types are checked before a number is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import ml_dtypes
import numpy as np

from ood_toolkit.errors import BadParameter, DataError, ToolkitWarning
from ood_toolkit.io.gate import refusing
from ood_toolkit.io.keys import RANKS
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Array

__all__ = [
    "FLOAT_TYPES",
    "float_conversion",
    "float_type",
    "floats",
    "others",
    "read_whole",
    "readable",
    "whole_numbers",
]

FLOAT_TYPES: dict[str, np.dtype] = {
    "float16": np.dtype("f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype("f4"),
    "float64": np.dtype("f8"),
}
"""The float types of records, by the words that the user has for them."""

_SHAPES = {1: "(C,)", 2: "a matrix of rows", 3: "of three axes"}


def float_type(word: str | None) -> np.dtype | None:
    """The float type that the user's word names; None without a word."""
    if word is None:
        return None
    if word not in FLOAT_TYPES:
        raise BadParameter(f"dtype {word!r} is not one of {', '.join(FLOAT_TYPES)}")
    return FLOAT_TYPES[word]


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
    convert = float_conversion(stored, name, word)
    return convert(read_whole(stored))


def float_conversion(
    stored: StoredArray, name: str, word: np.dtype | None
) -> Callable[[Array], Array]:
    """What `floats` does to rows once they are read; the types are checked at once."""
    dtype = readable(stored).element
    _check_rank(stored, name)
    blob = dtype.type is np.void and dtype.itemsize == 2 and dtype.names is None
    if dtype.newbyteorder("=") in FLOAT_TYPES.values():
        if word is None or stored.typed:
            return lambda values: values
        return lambda values: values.astype(word)
    if blob and word == FLOAT_TYPES["bfloat16"]:
        warnings.warn(
            f"{stored.path}: {stored.key or name}: 2-byte blobs are read as bfloat16, as you said",
            ToolkitWarning,
            stacklevel=2,
        )
        return lambda values: values.view(word)
    if dtype.kind in "iu" and word is not None:
        return lambda values: values.astype(word)
    advice = f"save {name} as float16, bfloat16, float32 or float64"
    if blob:
        advice = "if it is bfloat16, say so with --dtype (dtype=) bfloat16"
    elif dtype.kind in "iu":
        advice = f"if these are quantised {name}, convert them with --dtype (dtype=) float32"
    raise DataError(
        stored.path, stored.key, f"{name} of dtype {stored.type_name} cannot be used; {advice}"
    )


def readable(stored: StoredArray) -> StoredArray:
    """The array itself, or the reason why it cannot be read at all."""
    if stored.dtype is None:
        stored.admit()  # raises the reason
    return stored


def read_whole(stored: StoredArray) -> Array:
    """All of an array, once it is admitted."""
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


_KINDS = {
    "token_mask": ("bui", "bool or integers"),
    "token_ids": ("ui", "integers"),
    "thumbnails": ("u", "uint8"),
    "text": ("US", "text"),
}


def others(stored: StoredArray, name: str) -> Array:
    """Token masks and ids, thumbnails and texts, as they are."""
    dtype = readable(stored).element
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
    values = read_whole(stored)
    if values.dtype.kind == "S":
        return np.asarray(np.char.decode(values, "utf-8", "backslashreplace"))
    if not whole_floats:
        return values
    return whole_numbers(stored, values.reshape(-1), 0).reshape(values.shape)


def whole_numbers(stored: StoredArray, values: Array, first: int) -> Array:
    """Numbers as int64; `first` is the row of the first of them.

    Raises
    ------
    DataError
        Naming the first that is no whole number, or beyond int64.
    """
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
        raise DataError(stored.path, stored.key, f"row {first + row} is {values[row]}, {reason}")
    return values.astype(np.int64)
