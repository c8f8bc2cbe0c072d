"""`.npy` files: one array, mapped."""

from __future__ import annotations

import io
import math
import warnings
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from ood_toolkit.errors import DataError
from ood_toolkit.io.flat import FlatArray
from ood_toolkit.io.gate import Limits, readable_file, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray
from ood_toolkit.io.strided import f_strides

__all__ = ["NpyHeader", "object_array", "open_npy", "read_header"]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_LARGEST_AXIS = 1 << 48


class NpyHeader(NamedTuple):
    """What the header of a `.npy` stream declares; `length` bytes precede the numbers."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    length: int

    @property
    def nbytes(self) -> int:
        """Bytes that must follow the header."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...] | None:
        """Bytes between entries along each axis; None in C order."""
        return f_strides(self.shape, self.dtype.itemsize) if self.fortran else None


def read_header(stream: IO[bytes], path: str, key: str) -> NpyHeader:
    """Parse a header with numpy's own parser, its length checked first.

    Raises
    ------
    DataError
        If the header is damaged, longer than 10,000 bytes, or declares what no array has.
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(_MAGIC):
        raise DataError(path, key, "does not begin as a .npy array does")
    major = start[6]
    if major not in (1, 2, 3):
        raise DataError(path, key, f".npy format version {major}.{start[7]} is unknown")
    prefix = stream.read(2 if major == 1 else 4)
    length = int.from_bytes(prefix, "little")
    if length > _LONGEST_HEADER:
        raise DataError(path, key, f"the header claims {length} bytes, more than {_LONGEST_HEADER}")
    text = io.BytesIO(prefix + stream.read(length))
    parse = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
    with refusing(path, key), warnings.catch_warnings():
        # Files written by Python 2 parse, with a warning that helps nobody here.
        warnings.simplefilter("ignore", UserWarning)
        shape, fortran, dtype = parse(text, max_header_size=_LONGEST_HEADER)
    for axis in shape:
        if type(axis) is not int or not 0 <= axis < _LARGEST_AXIS:
            raise DataError(path, key, f"the header declares the impossible shape {shape}")
    return NpyHeader(shape, fortran, dtype, len(start) + len(prefix) + length)


def object_array(path: str, key: str, header: NpyHeader, limits: Limits) -> StoredArray:
    """Stand-in for an array of Python objects, which only pickle could read."""
    return RefusedArray(
        path=path,
        key=key,
        shape=header.shape,
        dtype=None,
        foreign="object",
        limits=limits,
        reason="holds Python objects, which are never unpickled; save plain numbers instead",
    )


def open_npy(path: str, limits: Limits) -> dict[str, StoredArray]:
    """The one array of a `.npy` file, under the empty key."""
    size = readable_file(path).st_size
    with open(path, "rb") as stream:
        header = read_header(stream, path, "")
    if header.dtype.hasobject:
        return {"": object_array(path, "", header, limits)}
    expected = header.length + header.nbytes
    if expected != size:
        wrong = "it is truncated" if size < expected else "bytes trail behind the array"
        raise DataError(
            path,
            "",
            f"shape {header.shape} of {header.dtype} makes {expected} bytes but the file has "
            f"{size}: {wrong}",
        )
    return {
        "": FlatArray(
            path=path,
            key="",
            shape=header.shape,
            dtype=header.dtype,
            limits=limits,
            offset=header.length,
            file_size=size,
            strides=header.strides,
        )
    }
