"""A part's rows as bytes, in each format that a part can have.

What a part consists of is a mapping of names to bytes: one file has the empty name, a Zarr
folder the names of its files.  So a part can be hashed, sent and stored without a disk.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from ood_toolkit.errors import BadParameter, InputError, MissingDependency
from ood_toolkit.io.npz import write_npz
from ood_toolkit.io.score_writer import write_file
from ood_toolkit.outputs import Array

__all__ = ["PART_FORMATS", "Content", "captured", "content_digest", "content_size", "table_content"]

PART_FORMATS = ("csv", "jsonl", "npy", "npz", "parquet", "zarr")
"""What the parts of a table of scores can be written as."""

Content = Mapping[str, bytes]
"""The files of a part by name; of a part that is one file, the empty name."""


def content_digest(content: Content) -> str:
    """The sha256 of a part: of its file, or of its files' checksums and names, one a line.

    >>> content_digest({"": b"1,2"})[:8]
    '17f8af97'
    """
    if set(content) == {""}:
        return hashlib.sha256(content[""]).hexdigest()
    lines = (f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in sorted(content))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_size(content: Content) -> int:
    """Bytes of all files of a part."""
    return sum(map(len, content.values()))


def table_content(table: Mapping[str, Array], format: str) -> Content:
    """Columns of a table as the files of a part; the same bytes for the same columns.

    Parameters
    ----------
    table : mapping of str to (N,) array
        As `checked_table` makes it.
    format : str
        One of `PART_FORMATS`; ``npy`` is one array of named fields, ``zarr`` a group with
        an array of one chunk for each column.

    Raises
    ------
    BadParameter
        If there is no such format.
    InputError
        If the format cannot hold a column.
    MissingDependency
        If the format's library is not installed.
    """
    if format == "npz":
        stream = io.BytesIO()
        write_npz(table, stream)
        return {"": stream.getvalue()}
    if format == "npy":
        return {"": _npy(table)}
    if format == "zarr":
        return _zarr(table)
    if format not in PART_FORMATS:
        raise BadParameter(f"parts are written as {', '.join(PART_FORMATS)}, not {format!r}")
    return captured(f".{format}", lambda path: write_file(lambda: [table], path, format, "a part"))


def _npy(table: Mapping[str, Array]) -> bytes:
    rows = len(next(iter(table.values())))
    fields = np.empty(rows, dtype=[(name, column.dtype) for name, column in table.items()])
    for name, column in table.items():
        fields[name] = column
    stream = io.BytesIO()
    np.save(stream, fields, allow_pickle=False)
    return stream.getvalue()


def _zarr(table: Mapping[str, Array]) -> Content:
    try:
        import zarr
    except ImportError as reason:
        raise MissingDependency("zarr", "zarr", "writing Zarr parts") from reason
    texts = [name for name, column in table.items() if column.dtype.kind == "U"]
    if texts:
        raise InputError(f"Zarr parts cannot hold texts ({', '.join(texts)}); use parquet")
    store = zarr.storage.MemoryStore()
    group = zarr.open_group(store=store, mode="w")
    for name, column in table.items():
        stored = group.create_array(
            name,
            shape=column.shape,
            dtype=column.dtype,
            chunks=(max(1, len(column)),),
            # Left out, a chunk of zeros could not be told from a lost one.
            config={"write_empty_chunks": True},
        )
        if len(column):
            stored[:] = column
    return {key: value.to_bytes() for key, value in sorted(store._store_dict.items())}


def captured(suffix: str, write: Callable[[str], None]) -> Content:
    """What a function writes to a file or folder of its own, read back and removed.

    >>> from pathlib import Path
    >>> captured(".txt", lambda path: Path(path).write_bytes(b"abc"))
    {'': b'abc'}
    """
    with tempfile.TemporaryDirectory(prefix="ood_toolkit-") as folder:
        path = os.path.join(folder, f"part{suffix}")
        write(path)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return {"": file.read()}
        found = {}
        for place, _, names in os.walk(path):
            for name in names:
                file_path = os.path.join(place, name)
                with open(file_path, "rb") as file:
                    key = os.path.relpath(file_path, path).replace(os.sep, "/")
                    found[key] = file.read()
        return dict(sorted(found.items()))
