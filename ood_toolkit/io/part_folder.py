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

from ood_toolkit.io.atomic import (
    atomic_folder,
    atomic_write,
    replace_by,
    saying_why,
    usable_folder,
)
from ood_toolkit.io.lock import exclusive_lock
from ood_toolkit.io.manifest import MANIFEST, Parts
from ood_toolkit.io.part_formats import Content
from ood_toolkit.io.parts import PartStore

__all__ = [
    "LOCK",
    "FolderStore",
    "already_whole",
    "finish",
    "hidden_name",
    "locked_folder",
    "parts_folder",
    "remove_parts",
]

LOCK = ".lock"
"""Name of the file that one driver at a time holds."""

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

    def write_folder(self, name: str, files: Content) -> None:
        """Write a folder, whole or not at all: it is renamed when it is on the disk."""
        with atomic_folder(os.path.join(self.folder, name)) as place:
            for key, data in files.items():
                (place / key).parent.mkdir(parents=True, exist_ok=True)
                (place / key).write_bytes(data)

    def read(self, name: str) -> bytes:
        """The bytes of a file; `FileNotFoundError` where there is none."""
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def read_folder(self, name: str) -> Content:
        """The files of a folder; `FileNotFoundError` where there is none."""
        found = {}
        top = Path(self.folder, name)
        for path in sorted(top.rglob("*")):
            if path.is_file():
                found[path.relative_to(top).as_posix()] = path.read_bytes()
        if not found:
            raise FileNotFoundError(top)
        return found

    def names(self) -> list[str]:
        """The files that are there."""
        return sorted(os.listdir(self.folder))

    def remove(self, name: str) -> None:
        """Remove a file or folder if it is there."""
        _removed(os.path.join(self.folder, name))


def _removed(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        return
    with suppress(FileNotFoundError):
        os.remove(path)


def parts_folder(output: str | os.PathLike[str]) -> str:
    """Where the parts of an output lie until it is whole: a hidden folder beside it.

    >>> parts_folder("/data/scores.parquet")
    '/data/.scores.parquet.parts'
    """
    folder, name = os.path.split(os.path.realpath(os.fspath(output)))
    return os.path.join(folder, hidden_name(name))


def hidden_name(name: str) -> str:
    """The name of a folder of parts, from that of what they will become."""
    hidden = f".{name}.parts"
    if len(os.fsencode(hidden)) > _LONGEST:
        hidden = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.parts"
    return hidden


@contextmanager
def locked_folder(
    output: str | os.PathLike[str], folder: str | None = None
) -> Iterator[FolderStore]:
    """The folder of an output's parts, made where there is none, for one process alone.

    It stays when the block is left: `finish` removes it.

    Parameters
    ----------
    output : path-like
        What is being made, as the user named it.
    folder : str, optional
        Where its parts lie; by default a hidden folder beside it.

    Raises
    ------
    DataError
        If another process is at work on the same output, or the folder cannot be written.
    """
    name = os.fspath(output)
    folder = parts_folder(output) if folder is None else os.path.realpath(folder)
    usable_folder(name, os.path.dirname(folder))
    with exclusive_lock(os.path.join(folder, LOCK), name):
        with saying_why(name):
            for left in os.listdir(folder):
                if left.endswith(".partial"):  # what a killed process was writing
                    _removed(os.path.join(folder, left))
        try:
            yield FolderStore(folder)
        finally:
            if set(os.listdir(folder)) <= {LOCK}:
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
        parts.refuse_missing()
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
    remove_parts(store)


def remove_parts(store: PartStore) -> None:
    """Remove all that lies in a store but the lock, the manifest last."""
    for name in sorted(store.names(), key=lambda name: name == MANIFEST):
        if name != LOCK:
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
