"""A long job as parts: each is one task, one file written at once or not at all, one receipt."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import refusing
from ood_toolkit.io.npy import read_header
from ood_toolkit.io.part_formats import Content, content_digest, content_size, table_content
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Array

__all__ = [
    "ALIGNMENT",
    "Part",
    "PartStore",
    "Receipt",
    "decoded",
    "encoded",
    "plan_parts",
    "put_part",
    "taken",
    "write_part",
]

ALIGNMENT = 8 * CHUNK
"""Parts begin at multiples of so many rows of their file, so that no canonical chunk is cut."""


class PartStore(Protocol):
    """Where parts lie: a folder of this machine, or anything that can do the same.

    `write` and `write_folder` put a part in its place at once or not at all.  Folders are
    Zarr's, and end in `.zarr`.
    """

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def write_folder(self, name: str, files: Content) -> None:
        """Write a folder of files, readable as one only when all are there."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; `FileNotFoundError` where there is none."""

    def read_folder(self, name: str) -> Content:
        """The files of a folder; `FileNotFoundError` where there is none."""

    def names(self) -> list[str]:
        """The files that are there."""

    def remove(self, name: str) -> None:
        """Remove a file or folder if it is there."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows start ... stop of one input, the `number`-th part of a job.

    Attributes
    ----------
    number : int
        Counts from 0 through the whole job, in the order of the rows.
    source : int
        Which of the job's inputs.
    start, stop : int
        Rows of that input.
    """

    number: int
    source: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The part's file, where it is one of those that are joined later."""
        return self.file("npz")

    def file(self, format: str) -> str:
        """The part's file or folder in a format."""
        return f"{self.number:08d}.{format}"

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one part: all that its task has to return.

    Attributes
    ----------
    number, rows : int
        Which part, and how many rows it holds.
    bytes : int
        Size of its file, or of all files of its folder.
    sha256 : str
        Of its file, or as `content_digest` makes it of a folder's.
    """

    number: int
    rows: int
    bytes: int
    sha256: str


def plan_parts(rows: Sequence[int], rows_in_a_part: Sequence[int]) -> list[Part]:
    """Cut each input into parts that begin at canonical chunks.

    Parameters
    ----------
    rows : sequence of int
        How many rows each input has; one without rows is one empty part.
    rows_in_a_part : sequence of int
        How many of them a part should have; rounded up to whole canonical chunks.

    Returns
    -------
    list of Part
        In the order of the rows.

    Examples
    --------
    >>> [(part.source, part.start, part.stop) for part in plan_parts([20_000, 5], [8_192, 1])]
    [(0, 0, 8192), (0, 8192, 16384), (0, 16384, 20000), (1, 0, 5)]
    """
    parts: list[Part] = []
    for source, (total, wanted) in enumerate(zip(rows, rows_in_a_part, strict=True)):
        step = -(-max(1, wanted) // ALIGNMENT) * ALIGNMENT
        for start in range(0, max(1, total), step):
            parts.append(Part(len(parts), source, start, min(total, start + step)))
    return parts


def encoded(arrays: Mapping[str, Array]) -> bytes:
    """A part's file: an `.npz` archive, the same bytes for the same arrays."""
    return table_content(arrays, "npz")[""]


def decoded(name: str, data: bytes) -> dict[str, Array]:
    """The arrays of a part's file, which share its bytes.

    Raises
    ------
    DataError
        If it is no file that `encoded` makes.
    """
    arrays: dict[str, Array] = {}
    with refusing(name), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                header = read_header(stream, name, member.filename)
                sound = member.compress_type == zipfile.ZIP_STORED and not header.dtype.hasobject
                if not sound or header.length + header.nbytes != member.file_size:
                    raise DataError(name, member.filename, "is no array of a part: it is damaged")
                values = np.frombuffer(stream.read(), header.dtype)
            arrays[member.filename.removesuffix(".npy")] = values.reshape(header.shape)
    return arrays


def write_part(
    store: PartStore, part: Part, arrays: Mapping[str, Array], format: str = "npz"
) -> Receipt:
    """Write one part, whole or not at all; what its task returns.

    Parameters
    ----------
    store : PartStore
        Where it goes.
    part : Part
        Which it is.
    arrays : mapping of str to array
        What it holds: columns of scores, or sums.
    format : str
        One of `PART_FORMATS`.

    Returns
    -------
    Receipt
        For `Parts.note`.
    """
    return put_part(store, part, format, table_content(arrays, format))


def put_part(store: PartStore, part: Part, format: str, content: Content) -> Receipt:
    """As `write_part`, of files that are made already."""
    name = part.file(format)
    if set(content) == {""}:
        store.write(name, content[""])
    else:
        store.write_folder(name, content)
    return Receipt(part.number, len(part), content_size(content), content_digest(content))


def taken(store: PartStore, part: Part, format: str) -> Content:
    """The files of a part; `FileNotFoundError` where it is not there."""
    name = part.file(format)
    return store.read_folder(name) if format == "zarr" else {"": store.read(name)}
