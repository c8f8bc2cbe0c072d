"""Parts in a hidden folder beside the file that they will become."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError
from ood_toolkit.io.atomic import atomic_write, replace_by, saying_why, usable_folder
from ood_toolkit.io.lock import exclusive_lock
from ood_toolkit.io.manifest import MANIFEST, Parts

__all__ = ["FolderStore", "already_whole", "finish", "locked_folder", "parts_folder"]

_LOCK = ".lock"
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A folder of this machine as a `PartStore`; small enough to be sent to other processes.

    Parameters
    ----------
    folder : str
        Where the files lie; it must be there.
    """

    folder: str

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; it is on the disk when this returns."""
        with atomic_write(os.path.join(self.folder, name)) as file:
            file.write(data)

    def read(self, name: str) -> bytes:
        """The bytes of a file; `FileNotFoundError` where there is none."""
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def names(self) -> list[str]:
        """The files that are there."""
        return sorted(os.listdir(self.folder))

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            os.remove(os.path.join(self.folder, name))


def parts_folder(output: str | os.PathLike[str]) -> str:
    """Where the parts of an output lie until it is whole: a hidden folder beside it.

    >>> parts_folder("/data/scores.parquet")
    '/data/.scores.parquet.parts'
    """
    folder, name = os.path.split(os.path.realpath(os.fspath(output)))
    hidden = f".{name}.parts"
    if len(os.fsencode(hidden)) > _LONGEST:
        hidden = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.parts"
    return os.path.join(folder, hidden)


@contextmanager
def locked_folder(output: str | os.PathLike[str]) -> Iterator[FolderStore]:
    """The folder of an output's parts, made where there is none, for one process alone.

    It stays when the block is left: `finish` removes it.

    Raises
    ------
    DataError
        If another process is at work on the same output, or the folder cannot be written.
    """
    name, folder = os.fspath(output), parts_folder(output)
    usable_folder(name, os.path.dirname(folder))
    with exclusive_lock(os.path.join(folder, _LOCK), name):
        with saying_why(name):
            for left in os.listdir(folder):
                if left.endswith(".partial"):  # what a killed process was writing
                    os.remove(os.path.join(folder, left))
        try:
            yield FolderStore(folder)
        finally:
            if set(os.listdir(folder)) <= {_LOCK}:
                shutil.rmtree(folder, ignore_errors=True)


def finish(parts: Parts, store: FolderStore, output: str, write: Callable[[Path], Any]) -> None:
    """Make the output of its parts, put it in its place at once, and remove the parts.

    Killed at any moment, the next run finds the parts, or an output that is whole.

    Parameters
    ----------
    parts : Parts
        All done.
    store : FolderStore
        Where they lie.
    output : str
        What is to be written.
    write : callable
        Writes all of it to the path that it is given.

    Raises
    ------
    DataError
        If a part is missing, or the output cannot be written; what was there is then intact.
    """
    if not already_whole(parts, output):
        parts.save(at_once=True)
        if missing := parts.missing():
            raise DataError(output, missing[0].name, "is missing; make it with --resume")
        with saying_why(output):
            temporary = Path(store.folder) / ".whole.partial"
            try:
                write(temporary)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            replace_by(temporary, output)
        parts.finished = _stamp(output)
        parts.save(at_once=True)
    for name in sorted(store.names(), key=lambda name: name == MANIFEST):
        if name != _LOCK:
            store.remove(name)


def already_whole(parts: Parts, output: str) -> bool:
    """Whether an earlier run had put the output in its place and was killed after that."""
    return parts.finished is not None and parts.finished == _stamp(output)


def _stamp(output: str) -> dict[str, int] | None:
    """What tells a file from one that was written at another time."""
    try:
        status = os.stat(output)
    except OSError:
        return None
    return {"bytes": status.st_size, "written_ns": status.st_mtime_ns}
