"""Images and labels as they lie on disk, opened by the words of a command line."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.outputs import Array

__all__ = ["ImageRows", "Read", "as_labels", "decoded", "existing", "numbered"]

_NO_BYTES = ("I", "F")
"""Pillow's modes of 32-bit pixels."""

Read = Callable[[int, int], tuple["Array | Sequence[Array]", "Array | None"]]
"""First row and the one after the last -> inputs, and labels where there are any."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageRows:
    """Inputs of a model, in the order in which they lie on disk; read when asked for.

    Parameters
    ----------
    rows : int
        How many there are.
    read : callable
        First row and the one after the last -> images (H, W) or (H, W, 3) of bytes, stacked
        where they have one size, and labels of int64, or None.  Inputs that are no bytes are
        given to a model as they are.
    names : callable
        First row and the one after the last -> what messages call each image.
    class_names : tuple of str
        Where the source names its classes.
    """

    rows: int
    read: Read
    names: Callable[[int, int], list[str]]
    class_names: tuple[str, ...] = ()


def numbered(path: str) -> Callable[[int, int], list[str]]:
    """Names of images that have none of their own."""
    return lambda start, stop: [f"{path}: image {row}" for row in range(start, stop)]


def as_labels(values: Any) -> Array:
    """Labels of int64 from any iterable of integers."""
    return np.fromiter(values, dtype=np.int64)


def existing(folder: str, names: Sequence[str], what: str) -> str:
    """The first of some files that is there.

    Raises
    ------
    DataError
        If none is.
    """
    for name in names:
        if os.path.isfile(path := os.path.join(folder, name)):
            return path
    raise DataError(os.path.join(folder, names[0]), "", f"there is no such file; expected {what}")


def decoded(content: bytes, name: str) -> Array:
    """(H, W) or (H, W, 3) bytes of an image file's content.

    Raises
    ------
    DataError
        If it is no image that Pillow reads, one of more pixels than Pillow trusts, or one whose
        pixels are no bytes.
    MissingDependency
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as reason:
        raise MissingDependency("Pillow", "datasets", "decoding images") from reason
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.mode in _NO_BYTES or picture.mode.startswith("I;"):
                # converted, all beyond 255 would be white
                kind = f"mode {picture.mode}"
                raise DataError(name, "", f"has pixels of more than 8 bits ({kind}); save it as 8")
            grey = picture.mode in ("L", "1")
            array: Array = np.asarray(picture.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as reason:
        raise DataError(name, "", f"is not a readable image ({reason})") from None
    return array
