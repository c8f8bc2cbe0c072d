"""IDX files, the format of MNIST and its kin, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import os
from typing import Protocol

import numpy as np

from ood_toolkit.datasets.images import ImageRows, existing, numbered
from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io.gate import Limits, check_allocation, check_expansion, readable_file, refusing
from ood_toolkit.outputs import Array

__all__ = ["idx_images", "read_idx"]


class _Stream(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes: ...


_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8
_GZIP = b"\x1f\x8b"


def read_idx(path: str, max_bytes: int | None = None) -> Array:
    """The array of an IDX file, whether gzipped or not.

    Parameters
    ----------
    path : str
        Its first bytes say whether it is gzipped, whatever its name.
    max_bytes : int, optional
        Most bytes the array may take; by default 200 times those of the file.

    Returns
    -------
    array of any shape
        In the machine's byte order.

    Raises
    ------
    DataError
        If the file is none, is cut short, has bytes to spare, or claims an array out of
        proportion to its size.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    stored = readable_file(path).st_size
    with refusing(path), open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        if not packed:
            return _array(path, raw, stored, Limits(max_bytes))
        with gzip.GzipFile(fileobj=raw) as stream:
            return _array(path, stream, stored, Limits(max_bytes))


def _array(path: str, stream: _Stream, stored: int, limits: Limits) -> Array:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise DataError(path, "", "is no IDX file: it must begin with two zeros and a type")
    dtype, axes = np.dtype(_TYPES[magic[2]]), magic[3]
    if not 1 <= axes <= _MOST_AXES:
        raise DataError(path, "", f"claims {axes} axes, expected 1 to {_MOST_AXES}")
    header = stream.read(4 * axes)
    if len(header) < 4 * axes:
        raise DataError(path, "", "ends within its header; the file is cut short")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    declared = math.prod(shape) * dtype.itemsize
    if limits.max_bytes is not None and declared > limits.max_bytes:
        raise DataError(path, "", f"claims {declared} bytes, more than the {limits.max_bytes} set")
    check_expansion(path, "", shape, declared, stored, limits)
    check_allocation(path, "", declared)
    content = stream.read(declared)
    if len(content) < declared:
        raise DataError(
            path, "", f"shape {shape} needs {declared} bytes, but {len(content)} follow; cut short?"
        )
    if stream.read(1):
        raise DataError(path, "", f"bytes trail behind the {declared} of shape {shape}")
    values: Array = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def idx_images(path: str, split: str) -> ImageRows:
    """MNIST's four files in a folder, gzipped or not; or one file of images, without labels.

    Raises
    ------
    DataError
        If files are missing or disagree.
    """
    if os.path.isfile(path):
        images, labels = read_idx(path), None
    else:
        if split not in ("train", "test"):
            raise BadParameter(f"split must be train or test, got {split!r}")
        prefix = "train" if split == "train" else "t10k"
        images = read_idx(_file(path, f"{prefix}-images-idx3-ubyte"))
        labels = read_idx(_file(path, f"{prefix}-labels-idx1-ubyte"))
        if labels.dtype.kind not in "iu":
            raise DataError(path, "", f"has labels of type {labels.dtype}, not class numbers")
        if labels.shape != images.shape[:1]:
            raise DataError(path, "", f"{len(images)} images, but labels of shape {labels.shape}")
    if images.ndim not in (3, 4) or images.dtype != np.uint8:
        shape = f"shape {images.shape}, type {images.dtype}"
        raise DataError(path, "", f"holds no images of bytes ({shape})")

    def read(start: int, stop: int) -> tuple[Array, Array | None]:
        return images[start:stop], None if labels is None else labels[start:stop].astype(np.int64)

    return ImageRows(len(images), read, numbered(path))


def _file(folder: str, name: str) -> str:
    # some copies of the files write a dot before "idx"
    dotted = name.replace("-idx", ".idx")
    return existing(folder, [name, f"{name}.gz", dotted, f"{dotted}.gz"], "it, or it gzipped")
