"""A look at the tags of a MATLAB 5 file before scipy reads it.

scipy takes the type of stored numbers from the file and looks it up without asking whether there
is one: a damaged file can end the process.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ood_toolkit.errors import DataError

__all__ = ["refuse_damaged_tags"]

_COMPRESSED = 15
_HEADER = (6, 5, 1)  # unsigned flags, dimensions, a name
_NUMERIC_CLASSES = range(6, 16)
_STORED_NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}
_COMPLEX = 0x0800
_START = 4096  # bytes of a variable that hold its tags


def refuse_damaged_tags(path: str) -> None:
    """Raise `DataError` unless every variable of numbers says in which type it is stored.

    Raises
    ------
    DataError
        If the file is of another version, cut short, or a variable is none that MATLAB writes.
    """
    with open(path, "rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[126:])
        if order is None:
            raise DataError(path, "", "is not a MATLAB 5 file")
        while tag := file.read(8):
            if len(tag) < 8:
                raise DataError(path, "", "ends within a variable; download it again")
            kind, size = struct.unpack(f"{order}II", tag)
            begin = file.tell()
            start = file.read(min(size, _START))
            if kind == _COMPRESSED:
                start = _decompressed(path, start)[8:]
            _refuse(path, list(_elements(order, start)), order)
            file.seek(begin + size)


def _decompressed(path: str, start: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(start, _START)
    except zlib.error as reason:
        raise DataError(path, "", f"a variable cannot be decompressed: {reason}") from reason


def _elements(order: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of the first parts of a variable; small ones lie within their tag."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + -(-size // 8) * 8


def _refuse(path: str, parts: list[tuple[int, bytes]], order: str) -> None:
    kinds = tuple(kind for kind, _ in parts[:3])
    if kinds != _HEADER or len(parts[0][1]) < 8:
        raise DataError(path, "", "a variable has no header; download it again")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    if flags & 0xFF not in _NUMERIC_CLASSES:
        return  # no array of numbers: its name and kind are all that is read
    if flags & _COMPLEX:
        raise DataError(path, "", "a variable holds complex numbers")
    if len(parts) < 4 or parts[3][0] not in _STORED_NUMBERS:
        raise DataError(path, "", "a variable says no type of numbers; download it again")
