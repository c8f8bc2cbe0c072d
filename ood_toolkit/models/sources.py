"""Labelled inputs from the words of a command line: folders, CIFAR-10, arrays, data sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io.arrow_stream import saved_dataset
from ood_toolkit.io.formats import open_arrays
from ood_toolkit.io.gate import Limits
from ood_toolkit.models.images import Preparation, decoded
from ood_toolkit.outputs import Array

__all__ = ["KINDS", "ImageSource", "open_inputs"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
INPUT_KEYS = ("images", "inputs", "thumbnails", "x", "data")
LABEL_KEYS = ("labels", "label", "targets", "y")
CIFAR_RECORD = 1 + 3 * 32 * 32

Read = Callable[[int, int], tuple[Array, "Array | None"]]


@dataclass(frozen=True)
class ImageSource:
    """Batches of inputs and labels, in the order in which they lie there.

    Attributes
    ----------
    rows : int
        How many there are.
    batch_size : int
        Rows of a batch.
    read : callable
        First row and the one after the last -> inputs as a model takes them, and labels.
    class_names : tuple of str
        Where the source names its classes.
    """

    rows: int
    batch_size: int
    read: Read
    class_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows, self.batch_size):
            inputs, labels = self.read(start, min(self.rows, start + self.batch_size))
            yield inputs if labels is None else (inputs, labels)


def open_inputs(
    spec: str, preparation: Preparation, *, batch_size: int = 64, split: str = "test"
) -> ImageSource:
    """The inputs that `KIND:PATH` names.

    Parameters
    ----------
    spec : str
        `imagefolder:DIR` (a folder for each class), `cifar10:DIR` (the binary version),
        `npz:FILE` (any file of arrays: `images`, `inputs`, `thumbnails`, `x` or `data`, with
        `labels`), or `hf:DIR` (a data set saved by Hugging Face's `save_to_disk`).
    preparation : Preparation
        What is done to images of bytes; other arrays of an `npz` file go as they are.
    batch_size : int
        Rows of a batch.
    split : "train" or "test"
        Which part of CIFAR-10.

    Returns
    -------
    ImageSource
        An iterable of batches.

    Raises
    ------
    BadParameter
        If the kind is unknown.
    DataError
        If the place does not hold what it should.
    """
    kind, colon, path = spec.partition(":")
    if not colon or kind not in KINDS:
        raise BadParameter(f"--data {spec}: expected {', '.join(f'{k}:PATH' for k in KINDS)}")
    if not os.path.exists(path):
        raise DataError(path, "", "there is no such file or folder")
    if batch_size < 1:
        raise BadParameter(f"batch_size must be at least 1, got {batch_size}")
    rows, read, names = KINDS[kind](path, preparation, split)
    if rows == 0:
        raise DataError(path, "", "holds no inputs")
    return ImageSource(rows, batch_size, read, names)


def _folder(path: str, preparation: Preparation, split: str) -> tuple[int, Read, tuple[str, ...]]:
    root = Path(path)
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(path, "", "has no folder of a class; expected DIR/CLASS/IMAGE")
    files: list[tuple[Path, int]] = []
    for number, name in enumerate(classes):
        found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        files += [(file, number) for file in found]

    def read(start: int, stop: int) -> tuple[Array, Array]:
        part = files[start:stop]
        images = [decoded(file.read_bytes(), str(file)) for file, _ in part]
        return preparation.batch(images, [str(f) for f, _ in part]), _labels(n for _, n in part)

    return len(files), read, tuple(classes)


def _cifar10(path: str, preparation: Preparation, split: str) -> tuple[int, Read, tuple[str, ...]]:
    if split not in ("train", "test"):
        raise BadParameter(f"split must be train or test, got {split!r}")
    root = Path(path)
    inner = root / "cifar-10-batches-bin"
    root = inner if inner.is_dir() else root
    wanted = (
        [f"data_batch_{n}.bin" for n in range(1, 6)] if split == "train" else ["test_batch.bin"]
    )
    for name in wanted:
        if not (root / name).is_file():
            hint = (
                "this is the pickled version, which is not read; get the binary one"
                if (root / name.removesuffix(".bin")).exists()
                else "expected the binary version of CIFAR-10"
            )
            raise DataError(str(root / name), "", f"there is no such file; {hint}")
        if (size := (root / name).stat().st_size) % CIFAR_RECORD:
            raise DataError(str(root / name), "", f"{size} bytes are no whole number of images")
    parts = [np.fromfile(root / name, np.uint8).reshape(-1, CIFAR_RECORD) for name in wanted]
    records = np.concatenate(parts)
    if len(records) and records[:, 0].max() > 9:
        row = int(np.argmax(records[:, 0] > 9))
        raise DataError(path, "", f"image {row} has class {records[row, 0]}, expected 0 ... 9")

    def read(start: int, stop: int) -> tuple[Array, Array]:
        part = records[start:stop]
        images = part[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return preparation.batch(images, _numbered(path, start, stop)), _labels(part[:, 0])

    return len(records), read, ()


def _arrays(path: str, preparation: Preparation, split: str) -> tuple[int, Read, tuple[str, ...]]:
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
        if part.dtype == np.uint8:
            part = preparation.batch(part, _numbered(path, start, stop))
        return part, None if labels is None else _labels(labels[start:stop])

    return len(inputs), read, ()


def _hugging_face(
    path: str, preparation: Preparation, split: str
) -> tuple[int, Read, tuple[str, ...]]:
    table = saved_dataset(path, split)
    image = next((name for name in ("image", "img", "images") if name in table.column_names), None)
    if image is None:
        raise DataError(path, "", f"has columns {', '.join(table.column_names)}, none is image")
    label = next((name for name in LABEL_KEYS if name in table.column_names), None)

    def read(start: int, stop: int) -> tuple[Array, Array | None]:
        part = table.slice(start, stop - start)
        contents = [entry["bytes"] for entry in part[image].to_pylist()]
        names = _numbered(path, start, stop)
        images = [decoded(c, name) for c, name in zip(contents, names, strict=True)]
        labels = None if label is None else _labels(part[label].to_pylist())
        return preparation.batch(images, names), labels

    return table.num_rows, read, ()


def _numbered(path: str, start: int, stop: int) -> list[str]:
    return [f"{path}: image {row}" for row in range(start, stop)]


def _labels(values: Any) -> Array:
    return np.fromiter(values, dtype=np.int64)


KINDS: dict[str, Callable[[str, Preparation, str], tuple[int, Read, tuple[str, ...]]]] = {
    "imagefolder": _folder,
    "cifar10": _cifar10,
    "npz": _arrays,
    "hf": _hugging_face,
}
"""What `KIND:PATH` may begin with, and what opens it."""
