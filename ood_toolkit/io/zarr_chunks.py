"""Chunk files of a Zarr array, checked before its codecs see them.

The codecs trust the sizes that a compressed frame states: a damaged one crashes blosc, a
hostile one takes any amount of memory.  So every frame must state the size of a chunk.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

__all__ = ["ChunkLayout", "chunk_layout"]

_COMPRESSORS = ("blosc", "zstd", "lz4", "gzip", "zlib")
_NEUTRAL = ("bytes", "endian", "transpose", "shuffle")
_LONGEST_HEADER = 32
_DEFLATE_FROM = 64 << 10  # no smaller deflated frame can grow beyond 64 MiB
_ABSENT = np.iinfo(np.uint64).max


@dataclass(frozen=True)
class ChunkLayout:
    """How the files of an array are made.

    Attributes
    ----------
    file_shape, chunk_shape : tuple of int
        What one file holds, and what one compressed frame holds; they differ in shards.
    compressor : str
        Empty where chunks are not compressed.
    trailer : int
        Bytes of a checksum behind each frame.
    index_at_end : bool
        Where a shard's index lies.
    """

    file_shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    compressor: str = ""
    trailer: int = 0
    index_at_end: bool = True

    @property
    def sharded(self) -> bool:
        """Whether a file holds several frames and an index of them."""
        return self.file_shape != self.chunk_shape

    def refusal(self, file: BinaryIO, size: int, itemsize: int, inside: tuple[int, ...]) -> str:
        """Why a file must not be decoded; empty where it may be.

        `inside` is the shape of the part of the file that lies within the array.
        """
        expected = math.prod(self.chunk_shape) * itemsize
        if not self.sharded:
            return self._frame_refusal(file, 0, size, expected)
        for place, offset, length in self._index(file, size):
            within = all(
                at * c < n for at, c, n in zip(place, self.chunk_shape, inside, strict=True)
            )
            if offset == length == _ABSENT:
                if within:
                    return f"lacks its inner chunk {place}"
                continue
            if offset + length > size:
                return "has an index that points beyond its end"
            if reason := self._frame_refusal(file, offset, length, expected):
                return reason
        return ""

    def _index(self, file: BinaryIO, size: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Place, offset and length of each inner chunk, as the index states them."""
        grid = tuple(f // c for f, c in zip(self.file_shape, self.chunk_shape, strict=True))
        length = 16 * math.prod(grid)
        if size < length + 4:
            raise ValueError("a shard is shorter than its index")
        file.seek(size - length - 4 if self.index_at_end else 0)
        entries = np.frombuffer(file.read(length), "<u8").reshape(*grid, 2)
        for place in np.ndindex(*grid):
            yield place, int(entries[place][0]), int(entries[place][1])

    def _frame_refusal(self, file: BinaryIO, offset: int, length: int, expected: int) -> str:
        length -= self.trailer
        file.seek(offset)
        head = file.read(min(length, _LONGEST_HEADER)) if length > 0 else b""
        stated: int | None = expected
        if not self.compressor:
            stated = length
        elif self.compressor == "blosc":
            if len(head) < 16:
                return "is too short for a compressed chunk"
            stated, block, packed = struct.unpack("<III", head[4:16])
            if packed != length or block > max(expected, 1) or head[3] == 0:
                return "has a damaged blosc header"
        elif self.compressor == "zstd":
            stated = _zstd_content_size(head)
            if stated is None:  # the codec would then inflate whatever comes
                file.seek(offset)
                return _zstd_refusal(file.read(length), expected)
        elif self.compressor == "lz4":
            stated = int.from_bytes(head[:4], "little")
        elif length > _DEFLATE_FROM:
            file.seek(offset)
            stated = _inflated_size(file.read(length), expected)
        if stated not in (None, expected):
            return f"claims to hold {stated} bytes, expected {expected}"
        return ""


def _zstd_content_size(head: bytes) -> int | None:
    """The size a zstd frame states; None where it leaves it out, as some writers do."""
    if len(head) < 6 or not head.startswith(b"\x28\xb5\x2f\xfd"):
        return -1
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if not width:
        return None
    at = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    return int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0)


def _zstd_refusal(raw: bytes, expected: int) -> str:
    """Why a zstd frame that states no size must not be decoded; empty where it may be."""
    from numcodecs.zstd import decompress

    try:
        decompress(raw, bytearray(expected))
    except (RuntimeError, ValueError):
        return f"does not hold {expected} bytes"
    return ""


def _inflated_size(raw: bytes, expected: int) -> int:
    """Bytes that gzip or zlib data holds, counted no further than one beyond `expected`."""
    inflater = zlib.decompressobj(47)  # 32 + 15: either header
    size, rest = 0, raw
    while rest and size <= expected and not inflater.eof:
        size += len(inflater.decompress(rest, 1 << 20))
        rest = inflater.unconsumed_tail
    return min(size, expected + 1)


def chunk_layout(metadata: dict[str, Any]) -> ChunkLayout | str:
    """The layout of an array's files, or why they are not read.

    >>> chunk_layout({"chunks": [10, 2], "compressor": {"id": "pickle"}, "filters": None})
    "uses the codec 'pickle'; use zstd, gzip or blosc"
    """
    if metadata.get("zarr_format") == 3:
        shape = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
        return _from_codecs(shape, [_named(codec) for codec in metadata["codecs"]])
    shape = tuple(metadata["chunks"])
    codecs = [*(metadata.get("filters") or []), metadata.get("compressor")]
    return _from_codecs(shape, [(codec["id"], codec) for codec in codecs if codec is not None])


def _named(codec: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(codec, str):
        return codec, {}
    return str(codec["name"]), codec.get("configuration") or {}


def _from_codecs(
    shape: tuple[int, ...], codecs: list[tuple[str, dict[str, Any]]]
) -> ChunkLayout | str:
    if any(type(n) is not int or n < 1 for n in shape):
        return f"has chunks of the impossible shape {shape}"
    names = [name for name, _ in codecs]
    if names == ["sharding_indexed"]:
        return _from_shard(shape, codecs[0][1])
    compressor, trailer = "", 0
    for name in names:
        if name in _COMPRESSORS and not compressor and not trailer:
            compressor = name
        elif name == "crc32c" and not trailer:
            trailer = 4
        elif name not in _NEUTRAL or compressor or trailer:
            return f"uses the codec {name!r}; use zstd, gzip or blosc"
    return ChunkLayout(shape, shape, compressor, trailer)


def _from_shard(shape: tuple[int, ...], options: dict[str, Any]) -> ChunkLayout | str:
    index = [_named(codec) for codec in options["index_codecs"]]
    if [name for name, _ in index] != ["bytes", "crc32c"] or index[0][1].get("endian") == "big":
        return "has shards with an unusual index; write it with zarr's own settings"
    inner_shape = tuple(options["chunk_shape"])
    inner = _from_codecs(inner_shape, [_named(codec) for codec in options["codecs"]])
    if isinstance(inner, str):
        return inner
    if inner.sharded or any(n % c for n, c in zip(shape, inner_shape, strict=True)):
        return "has shards inside shards, or chunks that do not divide them"
    at_end = options.get("index_location", "end") == "end"
    return ChunkLayout(shape, inner_shape, inner.compressor, inner.trailer, at_end)
