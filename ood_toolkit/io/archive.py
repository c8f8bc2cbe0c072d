"""What `.npz` and `.pt` share: a zip archive, checked before a member is read."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import check_names, readable_file, refusing

__all__ = ["data_offset", "open_archive"]

_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x06"
_LONGEST_COMMENT = 0xFFFF
_LARGEST_DIRECTORY = 16 << 20


@contextmanager
def open_archive(path: str) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose directory is sound: no trailing bytes, no name twice, no cipher."""
    size = readable_file(path).st_size
    with refusing(path):
        _check_directory(path, size)
        with zipfile.ZipFile(path) as archive:
            _check_members(path, size, archive.infolist())
            yield archive


def _check_directory(path: str, size: int) -> None:
    """Bound what zipfile will parse; it reads the whole directory into memory at once."""
    with open(path, "rb") as file:
        tail_length = min(size, _LONGEST_COMMENT + 22 + 128)
        file.seek(-tail_length, os.SEEK_END)
        tail = file.read(tail_length)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise DataError(path, "", "the archive's end is missing: it is truncated")
    length, _, comment = struct.unpack("<IIH", tail[at + 12 : at + 22])
    if at + 22 + comment != len(tail):
        raise DataError(path, "", "bytes trail behind the archive's end")
    if length == 0xFFFFFFFF:
        at_64 = tail.rfind(_END_64, 0, at)
        length = struct.unpack("<Q", tail[at_64 + 40 : at_64 + 48])[0] if at_64 >= 0 else length
    if length > _LARGEST_DIRECTORY:
        raise DataError(path, "", f"the archive's directory claims {length} bytes")


def _check_members(path: str, size: int, members: list[zipfile.ZipInfo]) -> None:
    check_names(path, (member.filename for member in members))
    seen: set[str] = set()
    for member in members:
        if member.filename in seen:
            raise DataError(path, member.filename, "the archive holds two members of this name")
        seen.add(member.filename)
        if member.flag_bits & 0x1:
            raise DataError(path, member.filename, "is encrypted; decrypt the archive first")
        if member.header_offset + member.compress_size > size:
            raise DataError(path, member.filename, "claims more bytes than the file has")
    if sum(member.compress_size for member in members) > size:
        raise DataError(path, "", "members of the archive lie in the same bytes: it is damaged")


def data_offset(path: str, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin; its local header may differ from the directory's entry."""
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise DataError(path, member.filename, "the archive is damaged: no header where it says")
    name, extra = struct.unpack("<HH", header[26:30])
    return int(member.header_offset + 30 + name + extra)
