"""Inputs that lie in a file of arrays, or in a data set that Hugging Face's library saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ood_toolkit.datasets.images import ImageRows, as_labels, decoded, numbered
from ood_toolkit.errors import DataError
from ood_toolkit.io.arrow_stream import saved_dataset
from ood_toolkit.io.convert import read_whole
from ood_toolkit.io.formats import open_arrays
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.labels import whole_labels
from ood_toolkit.outputs import Array

__all__ = ["array_file", "saved_images"]

INPUT_KEYS = ("images", "inputs", "thumbnails", "x", "data", "")
"""The last is the one array of a file that names none."""

LABEL_KEYS = ("labels", "label", "targets", "y")


def array_file(path: str, split: str) -> ImageRows:
    """Any file of arrays with `images`, `inputs`, `thumbnails`, `x` or `data`, and labels.

    Raises
    ------
    DataError
        If none of these is there, or the labels are no class numbers, or not as many.
    """
    _, stored = open_arrays(path, Limits())
    key = next((name for name in INPUT_KEYS if name in stored), None)
    if key is None:
        held, wanted = ", ".join(stored) or "nothing", ", ".join(filter(None, INPUT_KEYS))
        raise DataError(path, "", f"holds {held}; expected one of {wanted}")
    if not stored[key].shape:
        raise DataError(path, key, "is one number; expected rows of inputs")
    label_key = next((name for name in LABEL_KEYS if name in stored), None)
    inputs = read_whole(stored[key])
    labels = None if label_key is None else whole_labels(stored[label_key])
    if labels is not None and len(labels) != len(inputs):
        raise DataError(path, str(label_key), f"has {len(labels)} rows, {key} has {len(inputs)}")

    def read(start: int, stop: int) -> tuple[Array, Array | None]:
        part = np.asarray(inputs[start:stop])
        return part, None if labels is None else labels[start:stop]

    return ImageRows(len(inputs), read, numbered(path))


def saved_images(path: str, split: str) -> ImageRows:
    """A folder written by `save_to_disk`, with a column of images and perhaps one of labels.

    Raises
    ------
    DataError
        If no column is called image; where rows are read, if one holds no image or no class.
    """
    table = saved_dataset(path, split)
    image = next((name for name in ("image", "img", "images") if name in table.column_names), None)
    if image is None:
        raise DataError(path, "", f"has columns {', '.join(table.column_names)}, none is image")
    label = next((name for name in LABEL_KEYS if name in table.column_names), None)
    names = numbered(path)

    def read(start: int, stop: int) -> tuple[list[Array], Array | None]:
        part = table.slice(start, stop - start)
        rows = zip(part[image].to_pylist(), names(start, stop), strict=True)
        images = [decoded(_content(entry, name), name) for entry, name in rows]
        if label is None:
            return images, None
        classes = enumerate(part[label].to_pylist(), start=start)
        return images, as_labels(_class(path, label, row, value) for row, value in classes)

    return ImageRows(table.num_rows, read, names)


def _content(entry: Any, name: str) -> bytes:
    """The bytes of an image file, which are an entry or lie in it beside a path."""
    content = entry.get("bytes") if isinstance(entry, Mapping) else entry
    if not isinstance(content, bytes):
        raise DataError(name, "", "holds no image; save the data set with its images, not with "
                                  "their paths")  # fmt: skip
    return content


def _class(path: str, key: str, row: int, value: Any) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value != int(value):
        raise DataError(path, key, f"row {row} is {value!r}, not a class number")
    return int(value)
