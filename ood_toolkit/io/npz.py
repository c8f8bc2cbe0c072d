"""`.npz` archives: stored members are mapped, compressed ones inflated a block at a time."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from ood_toolkit.errors import DataError
from ood_toolkit.io.archive import data_offset, open_archive
from ood_toolkit.io.flat import Checksum, FlatArray
from ood_toolkit.io.gate import Limits, check_expansion, refusing
from ood_toolkit.io.npy import NpyHeader, object_array, read_header
from ood_toolkit.io.stored import StoredArray, native
from ood_toolkit.outputs import Array

__all__ = ["open_npz", "write_array_head", "write_npz"]

_CHUNK = 1 << 20
_ALIGNMENT = 64
_PADDING = 0xD935  # the extra field that zip tools fill with zeros to align what follows


def write_npz(arrays: Mapping[str, Array], file: BinaryIO) -> None:
    """Write uncompressed members whose numbers begin at multiples of 64 bytes.

    numpy reads them like any other; unlike `numpy.savez` they can be mapped, names such as
    "file" are possible and an array of objects is an error.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            with _aligned_member(archive, file, key) as stream:
                npy_format.write_array(stream, array, allow_pickle=False)


@contextmanager
def write_array_head(
    archive: zipfile.ZipFile, file: BinaryIO, key: str, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[IO[bytes]]:
    """As a member of `write_npz`, whose numbers the caller writes, row after row.

    Parameters
    ----------
    archive, file : ZipFile and its file
        Opened for writing.
    key : str
        Name of the array.
    shape, dtype
        What the numbers will be.
    """
    described = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with _aligned_member(archive, file, key) as stream:
        npy_format.write_array_header_1_0(stream, described)
        yield stream


@contextmanager
def _aligned_member(archive: zipfile.ZipFile, file: BinaryIO, key: str) -> Iterator[IO[bytes]]:
    member = zipfile.ZipInfo(f"{key}.npy")
    # The local header: 30 bytes, the name, this field (4 + n) and the sizes (20).
    fixed = file.tell() + 30 + len(member.filename.encode()) + 4 + 20
    padding = bytes(-fixed % _ALIGNMENT)
    member.extra = struct.pack("<HH", _PADDING, len(padding)) + padding
    with archive.open(member, "w", force_zip64=True) as stream:
        yield stream


def open_npz(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every `.npy` member under its name without the suffix; a name is never a path."""
    arrays = {}
    with open_archive(path) as archive:
        names = archive.namelist()
        if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names):
            raise DataError(path, "", "looks like a PyTorch file; rename it to .pt")
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            key = member.filename.removesuffix(".npy")
            with refusing(path, key), archive.open(member) as stream:
                header = read_header(stream, path, key)
            arrays[key] = _member(path, key, member, header, limits)
    return arrays


def _member(
    path: str, key: str, member: zipfile.ZipInfo, header: NpyHeader, limits: Limits
) -> StoredArray:
    if header.dtype.hasobject:
        return object_array(path, key, header, limits)
    if header.length + header.nbytes != member.file_size:
        raise DataError(
            path,
            key,
            f"shape {header.shape} of {header.dtype} makes {header.length + header.nbytes} "
            f"bytes but the member has {member.file_size}",
        )
    if member.compress_type != zipfile.ZIP_STORED:
        return CompressedMember(
            path=path,
            key=key,
            shape=header.shape,
            dtype=header.dtype,
            limits=limits,
            member=member,
            header=header,
        )
    start = data_offset(path, member)
    return FlatArray(
        path=path,
        key=key,
        shape=header.shape,
        dtype=header.dtype,
        limits=limits,
        offset=start + header.length,
        file_size=start + member.file_size,
        strides=header.strides,
        checksum=Checksum(start, member.file_size, member.CRC),
    )


@dataclass(kw_only=True)
class CompressedMember(StoredArray):
    """A deflated member.  Blocks asked for in order cost one pass over it in all."""

    member: zipfile.ZipInfo
    header: NpyHeader
    _archive: zipfile.ZipFile | None = field(default=None, init=False, repr=False)
    _stream: IO[bytes] | None = field(default=None, init=False, repr=False)
    _position: int = field(default=0, init=False)

    def admit(self) -> None:
        """Refuse a bomb before a byte of it is inflated."""
        super().admit()
        stored = self.member.compress_size
        check_expansion(self.path, self.key, self.shape, self.nbytes, stored, self.limits)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        dtype = self.header.dtype
        with refusing(self.path, self.key):
            if self.header.fortran and len(self.shape) > 1:
                raw = self._bytes(self.header.length, self.header.nbytes)
                whole = raw.view(dtype).reshape(self.shape, order="F")
                return np.ascontiguousarray(native(whole[first:last]))
            shape = (last - first, *self.shape[1:]) if self.shape else ()
            row = self.nbytes // max(1, self.shape[0]) if self.shape else self.nbytes
            raw = self._bytes(self.header.length + first * row, (last - first) * row)
            return native(raw.view(dtype).reshape(shape))

    @property
    def grain(self) -> int:
        """All rows where the member holds column after column."""
        return max(1, self.shape[0]) if self.header.fortran and len(self.shape) > 1 else 1

    def _bytes(self, offset: int, count: int) -> Array:
        stream = self._stream_at(offset)
        raw = np.empty(count, np.uint8)
        done = 0
        while done < count:
            block = stream.read(min(_CHUNK, count - done))
            if not block:
                raise DataError(self.path, self.key, "ends too early: the archive is damaged")
            raw[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
        self._position += count
        if self._position == self.member.file_size:
            stream.read(1)  # at the end zipfile compares the checksum
            self._close()
        return raw

    def _stream_at(self, offset: int) -> IO[bytes]:
        if self._stream is None or self._position > offset:
            self._close()
            self._archive = zipfile.ZipFile(self.path)
            self._stream = self._archive.open(self.member)
            self._position = 0
        while self._position < offset:
            skipped = len(self._stream.read(min(_CHUNK, offset - self._position)))
            if not skipped:
                raise DataError(self.path, self.key, "ends too early: the archive is damaged")
            self._position += skipped
        return self._stream

    def _close(self) -> None:
        for opened in (self._stream, self._archive):
            if opened is not None:
                opened.close()
        self._stream = self._archive = None

    def __del__(self) -> None:
        self._close()
