"""How a file is read, as a value: what a command was told, or a task on another machine needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io.file_rows import arrays_in_files
from ood_toolkit.io.load import load_described
from ood_toolkit.io.object_files import Copies, saying_whose
from ood_toolkit.io.source import FileDescription
from ood_toolkit.outputs import Head, Outputs

__all__ = ["Reading", "load_url", "with_head"]


@dataclass(frozen=True)
class Reading:
    """The options of `load`, kept for files that are opened later.

    Parameters
    ----------
    head : str, optional
        File with the last layer; wins over one in the file itself.
    keys, as_, dtype, max_bytes, memory
        As for `load`.
    """

    head: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    as_: Literal["logits", "features"] = "logits"
    dtype: str | None = None
    max_bytes: int | None = None
    memory: int | None = None

    def load(
        self,
        path: str,
        *,
        labels: bool | Literal["lenient"] = True,
        otherwise: Head | None = None,
    ) -> Outputs:
        """Read one record; `otherwise` is the head of one that has none.

        Raises
        ------
        DataError
            As `load` does, and if the other head does not fit.
        """
        record, _ = self.load_described(path, labels=labels)
        return with_head(record, path, otherwise)

    def load_described(
        self, path: str, *, labels: bool | Literal["lenient"] = True
    ) -> tuple[Outputs, FileDescription]:
        """Read one record and say which arrays the file holds; it is opened once.

        Raises
        ------
        DataError
            As `load` does.
        """
        return load_described(
            path,
            head=self.head,
            keys=self.keys,
            as_=self.as_,
            labels=labels,
            dtype=self.dtype,
            max_bytes=self.max_bytes,
            memory=self.memory,
        )


def with_head(record: Outputs, path: str, head: Head | None) -> Outputs:
    """The record with a head where it has none of its own."""
    if record.head is not None or head is None:
        return record
    try:
        return replace(record, head=head)
    except InputError as reason:
        raise DataError(path, "", f"{reason}; the head is another input's") from None


_copies: list[Copies] = []
_making = threading.Lock()


def load_url(
    url: str,
    reading: Reading,
    *,
    labels: bool | Literal["lenient"] = True,
    otherwise: Head | None = None,
    stamp: Mapping[str, Any] | None = None,
    around: str | None = None,
) -> Outputs:
    """As `Reading.load`, of one of many objects: of these only the last few copies are kept.

    Parameters
    ----------
    url : str
        One object, or a Zarr folder.
    reading, labels, otherwise
        As for `Reading.load`; an object of more than `max_bytes` is not fetched.
    stamp : mapping, optional
        What `url_stamp` said of it; another object is refused.
    around : str, optional
        Where copies lie, for the first one of this process.

    Raises
    ------
    DataError
        As `load` does, and if the object cannot be fetched.
    """
    with _making:
        if not _copies:
            _copies.append(Copies(around))
    with _copies[0].held(url, stamp, reading.max_bytes) as (path, keep):
        with saying_whose({url: path}):
            record = reading.load(path, labels=labels, otherwise=otherwise)
        for array in arrays_in_files(record):
            keep(array)
    return replace(record, source=url)
