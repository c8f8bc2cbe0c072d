"""Labels: class numbers in whatever type they were saved, held against the number of classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

from ood_toolkit.errors import DataError, ToolkitWarning
from ood_toolkit.io.convert import FLOAT_TYPES, read_whole, readable, whole_numbers
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Array

__all__ = ["LabelPolicy", "LabelRange", "check_labels", "label_conversion", "whole_labels"]

LabelPolicy = Literal["strict", "lenient"]
"""Whether labels of no class are refused or taken as unknown."""

_INTEGERS = tuple(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))


def whole_labels(stored: StoredArray) -> Array:
    """Class numbers as int64, whatever type they were saved in.

    Whole floats pass; one-hot rows are converted with a warning.  The range is checked by
    `check_labels`, once the number of classes is known.

    Raises
    ------
    DataError
        If they are text or bool, not whole numbers, beyond int64, or of another shape.
    """
    convert = label_conversion(stored)
    return convert(read_whole(stored), 0)


def label_conversion(stored: StoredArray) -> Callable[[Array, int], Array]:
    """What `whole_labels` does to rows once they are read, told the number of the first one."""
    dtype, shape = readable(stored).element, stored.shape
    if dtype.newbyteorder("=") not in (*FLOAT_TYPES.values(), *_INTEGERS):
        raise DataError(
            stored.path,
            stored.key,
            f"labels of dtype {stored.type_name} cannot be used; save class numbers 0 … C-1",
        )
    if len(shape) == 2 and shape[1] == 1:
        return lambda values, first: whole_numbers(stored, values[:, 0], first)
    if len(shape) == 2:
        return _OneHot(stored)
    if len(shape) != 1:
        raise DataError(stored.path, stored.key, f"labels must be (N,), got shape {shape}")
    return lambda values, first: whole_numbers(stored, values, first)


class _OneHot:
    """Turns one-hot rows into class numbers, and says so once."""

    def __init__(self, stored: StoredArray) -> None:
        self._stored, self._told = stored, False

    def __call__(self, values: Array, first: int) -> Array:
        stored = self._stored
        ones = values == 1
        wrong = (ones.sum(axis=1) != 1) | ((values != 0) & ~ones).any(axis=1)
        if wrong.any():
            row = first + int(np.argmax(wrong))
            raise DataError(
                stored.path,
                stored.key,
                f"labels of shape {stored.shape}: row {row} is not one-hot; save class numbers",
            )
        if not self._told and len(values):
            self._told = True
            warnings.warn(
                f"{stored.path}: {stored.key}: one-hot labels of shape {stored.shape} are "
                "converted to class numbers",
                ToolkitWarning,
                stacklevel=2,
            )
        return np.asarray(ones.argmax(axis=1), np.int64)


class LabelRange:
    """Holds class numbers against the number of classes, some rows after the other.

    Parameters
    ----------
    stored : StoredArray
        Where they lie.
    classes : int
        0 where their number is unknown.
    policy : "strict" or "lenient"
        Whether labels outside -1 ... classes - 1 are an error, or are taken as -1.
    """

    def __init__(self, stored: StoredArray, classes: int, policy: LabelPolicy) -> None:
        self._stored, self._classes, self._policy = stored, classes, policy
        self._span = f"-1 … {classes - 1}" if classes else "-1 or more"
        self._outside, self._first = 0, -1

    def known(self, values: Array) -> Array:
        """The labels, -1 for those outside."""
        wrong = self._wrong(values)
        return np.where(wrong, -1, values) if wrong.any() else values

    def _wrong(self, values: Array) -> Array:
        wrong: Array = values < -1
        if self._classes:
            wrong |= values >= self._classes
        return wrong

    def look(self, values: Array, first: int) -> None:
        """Count the labels outside among rows that begin with number `first`.

        Raises
        ------
        DataError
            Under the strict policy, naming the first row outside.
        """
        wrong = self._wrong(values)
        if not wrong.any():
            return
        at = int(np.argmax(wrong))
        self._outside += int(wrong.sum())
        self._first = first + at if self._first < 0 else self._first
        if self._policy == "strict":
            hint = " (a -1 that wrapped around?)" if self._wrapped(values[at]) else ""
            raise DataError(
                self._stored.path,
                self._stored.key,
                f"row {first + at} is {values[at]}, expected {self._span}{hint}",
            )

    def _wrapped(self, value: np.int64) -> bool:
        dtype = self._stored.dtype
        return dtype is not None and dtype.kind == "u" and bool(value == np.iinfo(dtype).max)

    def tell(self) -> None:
        """Warn of the labels outside, once all rows were looked at."""
        if self._outside:
            warnings.warn(
                f"{self._stored.path}: {self._stored.key}: {self._outside} labels outside "
                f"{self._span}, the first in row {self._first}, are taken as unknown (-1)",
                ToolkitWarning,
                stacklevel=2,
            )


def check_labels(stored: StoredArray, values: Array, classes: int, policy: LabelPolicy) -> Array:
    """Hold class numbers against the number of classes; 0 where that is unknown.

    Under the lenient policy labels outside -1 ... classes - 1 become -1, with a warning.

    Raises
    ------
    DataError
        Under the strict policy, naming the first row outside.
    """
    found = LabelRange(stored, classes, policy)
    found.look(values, 0)
    found.tell()
    return found.known(values)
