"""What a file's first bytes say it is, whatever its name says."""

from __future__ import annotations

import string

from ood_toolkit.errors import DataError

__all__ = ["check_magic", "looks_like"]

_SIGNATURES = (
    (b"\x93NUMPY", "npy", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "zip", "a zip archive (.npz or .pt)"),
    (b"PK\x05\x06", "zip", "an empty zip archive"),
    (b"PAR1", "parquet", "Parquet (.parquet)"),
    (b"\x89HDF\r\n\x1a\n", "hdf5", "HDF5 (.h5)"),
    (b"ARROW1", "arrow", "an Arrow file; convert it to .parquet"),
    (b"\xff\xff\xff\xff", "arrow", "an Arrow stream; convert it to .parquet"),
    (b"\x1f\x8b", "gzip", "gzip; decompress it first"),
    (b"BZh", "bzip2", "bzip2; decompress it first"),
    (b"\xfd7zXZ\x00", "xz", "xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd; decompress it first"),
    (b"MATLAB 5.0", "mat", "a MATLAB file; convert it to .npz or .h5"),
    (b"\xff\xfe", "utf16", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "utf16", "UTF-16 text; save it as UTF-8"),
)
_PICKLE = ("pickle", "a Python pickle, which is never read; save arrays instead")
_MAGIC_OF_FORMAT = {"npz": "zip", "torch": "zip"}
_HEAD = 512
_TEXT = frozenset(string.printable.encode()) | frozenset(range(0x80, 0x100))
_TEXT_FORMATS = ("csv", "tsv", "jsonl")


def looks_like(head: bytes, size: int) -> tuple[str, str] | None:
    """Kind and description of a file from its first bytes; None where nothing is known.

    >>> looks_like(b"PAR1....", 100)
    ('parquet', 'Parquet (.parquet)')
    """
    for signature, kind, description in _SIGNATURES:
        if head.startswith(signature):
            return kind, description
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors", "safetensors (.safetensors)"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    if head[257:262] == b"ustar":
        return "tar", "a tar archive; unpack it first"
    if head and _TEXT.issuperset(head):
        return "text", "text"
    return None


def check_magic(path: str, file_format: str) -> None:
    """Refuse a file whose first bytes contradict its suffix, and name what they look like."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
    found = looks_like(head, size)
    if file_format in _TEXT_FORMATS:
        if found is not None and found[0] != "text":
            raise DataError(path, "", f"is named .{file_format} but looks like {found[1]}")
        return
    if found is None:
        return  # its own reader says what is wrong
    if found[0] != _MAGIC_OF_FORMAT.get(file_format, file_format):
        raise DataError(path, "", f"is named as {file_format} but looks like {found[1]}")
