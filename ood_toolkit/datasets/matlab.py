"""SVHN's cropped digits: MATLAB files of two arrays."""

from __future__ import annotations

import math

import numpy as np

from ood_toolkit.datasets.images import ImageRows, numbered
from ood_toolkit.datasets.matlab_check import refuse_damaged_tags
from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import Limits, check_allocation, check_expansion, readable_file, refusing
from ood_toolkit.outputs import Array

__all__ = ["svhn"]

_NUMBERS = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "int32": 4, "double": 8, "single": 4}


def svhn(path: str, split: str) -> ImageRows:
    """`test_32x32.mat` and its kin: X (32, 32, 3, N) of bytes, y (N, 1) with 10 for the digit 0.

    Raises
    ------
    DataError
        If the file holds anything but arrays of numbers under these names, claims more than
        its size allows, or the two disagree.
    """
    stored = readable_file(path).st_size
    with refusing(path):
        from scipy import io as matlab

        refuse_damaged_tags(path)
        listed = matlab.whosmat(path, appendmat=False)
        held = {name: (shape, kind) for name, shape, kind in listed}
        for name in ("X", "y"):
            if name not in held:
                raise DataError(path, name, f"is missing; the file holds {', '.join(held)}")
            shape, kind = held[name]
            if kind not in _NUMBERS:
                raise DataError(path, name, f"is a {kind}, not an array of numbers")
            declared = math.prod(shape) * _NUMBERS[kind]
            check_expansion(path, name, tuple(shape), declared, stored, Limits())
            check_allocation(path, name, declared)
        arrays = matlab.loadmat(path, appendmat=False, variable_names=["X", "y"])
    pixels, labels = np.asarray(arrays["X"]), np.asarray(arrays["y"])
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2] != 3:
        raise DataError(path, "X", f"is {pixels.dtype} {pixels.shape}, expected bytes (H, W, 3, N)")
    if labels.size != pixels.shape[3] or labels.dtype.kind not in "iuf":
        raise DataError(path, "y", f"has {labels.size} labels for {pixels.shape[3]} images")
    if not np.array_equal(labels, np.rint(labels)):
        raise DataError(path, "y", "holds numbers that are no classes")
    classes = labels.reshape(-1).astype(np.int64) % 10
    images = pixels.transpose(3, 0, 1, 2)

    def read(start: int, stop: int) -> tuple[Array, Array]:
        return np.ascontiguousarray(images[start:stop]), classes[start:stop]

    return ImageRows(len(images), read, numbered(path))
