"""Inputs that lie in a file of arrays, or in a data set that Hugging Face's library saved."""

from __future__ import annotations

import numpy as np

from ood_toolkit.datasets.images import ImageRows, as_labels, decoded, numbered
from ood_toolkit.errors import DataError
from ood_toolkit.io.arrow_stream import saved_dataset
from ood_toolkit.io.formats import open_arrays
from ood_toolkit.io.gate import Limits
from ood_toolkit.outputs import Array

__all__ = ["array_file", "saved_images"]

INPUT_KEYS = ("images", "inputs", "thumbnails", "x", "data")
LABEL_KEYS = ("labels", "label", "targets", "y")


def array_file(path: str, split: str) -> ImageRows:
    """Any file of arrays with `images`, `inputs`, `thumbnails`, `x` or `data`, and labels.

    Raises
    ------
    DataError
        If none of these is there, or the labels are not as many.
    """
    _, stored = open_arrays(path, Limits())
    key = next((name for name in INPUT_KEYS if name in stored), None)
    if key is None:
        held, wanted = ", ".join(stored) or "nothing", ", ".join(INPUT_KEYS)
        raise DataError(path, "", f"holds {held}; expected one of {wanted}")
    label_key = next((name for name in LABEL_KEYS if name in stored), None)
    stored[key].admit()
    inputs = stored[key].load()
    labels = None if label_key is None else stored[label_key].load()
    if labels is not None and len(labels) != len(inputs):
        raise DataError(path, str(label_key), f"has {len(labels)} rows, {key} has {len(inputs)}")

    def read(start: int, stop: int) -> tuple[Array, Array | None]:
        part = np.asarray(inputs[start:stop])
        return part, None if labels is None else as_labels(labels[start:stop])

    return ImageRows(len(inputs), read, numbered(path))


def saved_images(path: str, split: str) -> ImageRows:
    """A folder written by `save_to_disk`, with a column of images and perhaps one of labels.

    Raises
    ------
    DataError
        If no column is called image.
    """
    table = saved_dataset(path, split)
    image = next((name for name in ("image", "img", "images") if name in table.column_names), None)
    if image is None:
        raise DataError(path, "", f"has columns {', '.join(table.column_names)}, none is image")
    label = next((name for name in LABEL_KEYS if name in table.column_names), None)
    names = numbered(path)

    def read(start: int, stop: int) -> tuple[list[Array], Array | None]:
        part = table.slice(start, stop - start)
        contents = [entry["bytes"] for entry in part[image].to_pylist()]
        images = [decoded(c, name) for c, name in zip(contents, names(start, stop), strict=True)]
        return images, None if label is None else as_labels(part[label].to_pylist())

    return ImageRows(table.num_rows, read, names)
