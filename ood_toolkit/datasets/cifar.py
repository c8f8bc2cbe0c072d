"""CIFAR-10 and CIFAR-100, the binary version and the Python one, which is not unpickled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.datasets.images import ImageRows, numbered
from ood_toolkit.datasets.pickled import read_pickled
from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.outputs import Array

__all__ = ["cifar10", "cifar100"]

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """Where the files of one data set lie, and where the label stands in them."""

    classes: int
    binary: str
    pickled: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    label_key: str


_TEN = _Layout(
    10,
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    tuple(f"data_batch_{n}" for n in range(1, 6)),
    ("test_batch",),
    1,
    "labels",
)
_HUNDRED = _Layout(
    100, "cifar-100-binary", "cifar-100-python", ("train",), ("test",), 2, "fine_labels"
)


def cifar10(path: str, split: str) -> ImageRows:
    """A folder of `data_batch_1` ... and `test_batch`, or of those with `.bin`."""
    return _open(path, split, _TEN)


def cifar100(path: str, split: str) -> ImageRows:
    """A folder of `train` and `test`, or of those with `.bin`; the 100 fine classes."""
    return _open(path, split, _HUNDRED)


def _open(path: str, split: str, layout: _Layout) -> ImageRows:
    if split not in ("train", "test"):
        raise BadParameter(f"split must be train or test, got {split!r}")
    wanted = layout.train if split == "train" else layout.test
    folder, binary = _place(Path(path), wanted, layout)
    images, labels = [], []
    for name in wanted:
        file = str(folder / name)
        pixels, classes = _records(file, layout) if binary else _batch(file, layout)
        if len(classes) and not 0 <= classes.min() <= classes.max() < layout.classes:
            row = int(np.argmax((classes < 0) | (classes >= layout.classes)))
            raise DataError(
                file, "", f"image {row} has class {classes[row]}, expected 0 ... "
                f"{layout.classes - 1}"
            )  # fmt: skip
        images.append(pixels)
        labels.append(classes)
    planes, classes = np.concatenate(images), np.concatenate(labels)

    def read(start: int, stop: int) -> tuple[Array, Array]:
        part = planes[start:stop].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return part, classes[start:stop]

    return ImageRows(len(planes), read, numbered(path))


def _place(root: Path, wanted: tuple[str, ...], layout: _Layout) -> tuple[Path, bool]:
    """The folder that holds the wanted files, and whether they are binary."""
    for folder in (root, root / layout.binary, root / layout.pickled):
        for binary in (True, False):
            names = [f"{name}.bin" if binary else name for name in wanted]
            if (folder / names[0]).is_file():
                for name in names:
                    if not (folder / name).is_file():
                        raise DataError(str(folder / name), "", "there is no such file")
                return folder, binary
    raise DataError(
        str(root / wanted[0]),
        "",
        f"there is no such file; expected the contents of {layout.binary} or {layout.pickled}",
    )


def _records(file: str, layout: _Layout) -> tuple[Array, Array]:
    """Records of label bytes and pixels."""
    file, record = f"{file}.bin", layout.label_bytes + PIXELS
    if (size := os.stat(file).st_size) % record:
        raise DataError(file, "", f"{size} bytes are no whole number of images")
    records = np.fromfile(file, np.uint8).reshape(-1, record)
    return records[:, layout.label_bytes :], records[:, layout.label_bytes - 1].astype(np.int64)


def _batch(file: str, layout: _Layout) -> tuple[Array, Array]:
    """A pickled dict of `data` and labels."""
    held = read_pickled(file)
    if not isinstance(held, dict):
        raise DataError(file, "", f"holds a {type(held).__name__}, expected a dict of arrays")
    # written from Python 3 with encoding="bytes", the keys are bytes
    held = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in held.items()}
    pixels, listed = (_entry(file, held, key) for key in ("data", layout.label_key))
    labels = np.asarray(listed)
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (PIXELS,):
        raise DataError(file, "data", f"expected an array (N, {PIXELS}) of bytes")
    if pixels.dtype != np.uint8 or labels.dtype.kind not in "iu":
        raise DataError(file, "data", "expected pixels of bytes and labels of integers")
    if labels.shape != (len(pixels),):
        raise DataError(file, layout.label_key, f"{labels.size} labels, {len(pixels)} images")
    return pixels, labels.astype(np.int64)


def _entry(file: str, held: dict[str, Any], key: str) -> Any:
    if key not in held:
        raise DataError(file, key, f"is missing; the batch holds {', '.join(map(str, held))}")
    return held[key]
