"""Chunks of an HDF5 dataset, decoded here.

The library says where the chunks lie; their filters are undone with zlib and numpy, because
its own pipeline trusts parameters that a damaged file sets (it crashes on some) and inflates
whatever a chunk claims.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import check_expansion, refusing
from ood_toolkit.io.stored import StoredArray, native
from ood_toolkit.outputs import Array

__all__ = ["FILTERS", "Chunk", "ChunkedArray", "fletcher32", "unpacked_lzf"]

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
FILTERS = (_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF)
"""Numbers of the filters that are undone; any other would be run as a plug-in."""


class Chunk(NamedTuple):
    """Where a chunk's bytes lie; bit i of `skipped` is set where filter i was not applied."""

    offset: int
    size: int
    skipped: int


def fletcher32(data: bytes) -> int:
    """HDF5's checksum: sums modulo 65535 of big-endian 16-bit words and of their sums.

    >>> hex(fletcher32(b"abcde"))
    '0x4ff029c7'
    """
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(65535)
    sums = int(words.sum()), int((words * weights).sum())
    # Folding carries leaves 65535, not 0, for a sum that is a multiple of it.
    low, high = ((total - 1) % 65535 + 1 if total else 0 for total in sums)
    return high << 16 | low


def unpacked_lzf(packed: bytes, most: int) -> bytes:
    """Undo LZF: runs of literal bytes and copies of bytes that came before.

    >>> unpacked_lzf(bytes([1, 65, 66, 0b11000000, 1, 0, 67]), 99)
    b'ABABABABABC'
    """
    out = bytearray()
    at = 0
    while at < len(packed) and len(out) < most:
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - packed[at] - 1
        at += 1
        if start < 0:
            raise ValueError("a copy begins before the data")
        piece = out[start : start + length + 2]
        # A copy may run into what it writes: the piece then repeats.
        out += (piece * (-(-(length + 2) // len(piece))))[: length + 2]
    return bytes(out)


@dataclass(kw_only=True)
class ChunkedArray(StoredArray):
    """A dataset in chunks.

    Attributes
    ----------
    chunk : tuple of int
        Shape of one chunk; those at the edges are stored whole.
    filters : tuple of int
        Numbers of the filters, in the order in which they were applied.
    index : dict
        Corner of a chunk in the array -> where it lies.
    """

    chunk: tuple[int, ...]
    filters: tuple[int, ...]
    index: dict[tuple[int, ...], Chunk]

    def admit(self) -> None:
        """Refuse missing chunks, and chunks far larger than their bytes in the file."""
        super().admit()
        stored = sum(chunk.size for chunk in self.index.values())
        decoded = len(self.index) * math.prod(self.chunk) * self.element.itemsize
        check_expansion(self.path, self.key, self.shape, decoded, stored, self.limits)
        # Counted, not listed: a file of a few bytes can claim any number of chunks.
        chunks = math.prod(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))
        if missing := chunks - sum(map(self._is_corner, self.index)):
            raise DataError(
                self.path,
                self.key,
                f"{missing} of {chunks} chunks of shape {self.shape} were never written",
            )

    def _is_corner(self, corner: tuple[int, ...]) -> bool:
        """Whether a chunk of the array begins there."""
        axes = zip(corner, self.chunk, self.shape, strict=True)
        return all(at % c == 0 and at < n for at, c, n in axes)

    @property
    def grain(self) -> int:
        """Rows of one chunk."""
        return max(1, min(self.chunk[0], self.shape[0]))

    def _corners(self, first: int, last: int) -> Any:
        """Corners of the chunks that hold rows first ... last."""
        step = self.chunk[0]
        rows = range(first // step * step, last, step) if first < last else ()
        others = (range(0, n, c) for n, c in zip(self.shape[1:], self.chunk[1:], strict=True))
        return itertools.product(rows, *others)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        result = np.empty((last - first, *self.shape[1:]), self.element)
        with refusing(self.path, self.key), open(self.path, "rb") as file:
            for corner in self._corners(first, last):
                place = self.index[corner]
                file.seek(place.offset)
                raw = file.read(place.size)
                if len(raw) < place.size:
                    raise DataError(self.path, self.key, "ends too early: the file is damaged")
                block = np.frombuffer(self._decoded(raw, place.skipped), self.element)
                block = block.reshape(self.chunk)
                low, high = max(first, corner[0]), min(last, corner[0] + self.chunk[0])
                inner = tuple(
                    slice(0, min(c, n - at))
                    for at, c, n in zip(corner[1:], self.chunk[1:], self.shape[1:], strict=True)
                )
                outer = tuple(
                    slice(at, at + part.stop) for at, part in zip(corner[1:], inner, strict=True)
                )
                taken = block[(slice(low - corner[0], high - corner[0]), *inner)]
                result[(slice(low - first, high - first), *outer)] = taken
        return native(result)

    def _decoded(self, raw: bytes, skipped: int) -> bytes:
        """The bytes of a chunk with its filters undone, the last one first."""
        expected = math.prod(self.chunk) * self.element.itemsize
        for number, kind in reversed(list(enumerate(self.filters))):
            if skipped >> number & 1:
                continue
            if kind == _FLETCHER32:
                raw = self._checked(raw)
            elif kind == _LZF:
                raw = unpacked_lzf(raw, expected + 5)
            elif kind == _DEFLATE:
                # Inflate no more than the chunk and a checksum that may be inside.
                raw = zlib.decompressobj().decompress(raw, expected + 5)
            else:
                raw = self._unshuffled(raw)
        if len(raw) != expected:
            raise DataError(
                self.path, self.key, f"a chunk holds {len(raw)} bytes, expected {expected}"
            )
        return raw

    def _checked(self, raw: bytes) -> bytes:
        data, stated = raw[:-4], int.from_bytes(raw[-4:], "little")
        if fletcher32(data) != stated:
            raise DataError(self.path, self.key, "checksum differs: the file is damaged")
        return data

    def _unshuffled(self, raw: bytes) -> bytes:
        """Bytes of the same significance lie together; what is left over lies behind."""
        size = self.element.itemsize
        whole = len(raw) // size * size
        lanes = np.frombuffer(raw[:whole], np.uint8).reshape(size, -1)
        return lanes.T.tobytes() + raw[whole:]
