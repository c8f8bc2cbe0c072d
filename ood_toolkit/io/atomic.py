"""Writing so that a crash leaves the old file or the new one, never half of either."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import one_line

__all__ = [
    "atomic_folder",
    "atomic_path",
    "atomic_write",
    "refuse_unwritable",
    "replace_by",
    "saying_why",
    "usable_folder",
    "why_not",
]

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file grows larger than this system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an error",
}


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only when all of it is on disk.

    Parameters
    ----------
    path : path-like
        The file to write or replace; a symbolic link is followed.

    Yields
    ------
    BinaryIO
        Opened for writing and reading; seekable.

    Raises
    ------
    DataError
        If the folder is missing or cannot be written, if `path` is not a regular file, or
        if the disk is full.  After any exception the old file is as it was and no temporary
        file is left.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(os.path.join(folder, "a.txt")) as file:
    ...         _ = file.write(b"all or nothing")
    ...     os.listdir(folder)
    ['a.txt']
    """
    with atomic_path(path) as temporary, open(temporary, "r+b") as file:
        yield file


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `atomic_write`, for libraries that open files by name: yields an empty sibling."""
    name = os.fspath(path)
    target, old = _target(name)
    temporary = _sibling(name, target)
    with saying_why(name), _removed_on_error(temporary):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield Path(temporary)
        _put(temporary, target, old)


def replace_by(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Put a finished file of the same file system in the place of `path`, at once."""
    target, old = _target(os.fspath(path))
    _put(os.fspath(temporary), target, old)


def _put(temporary: str, target: str, old: os.stat_result | None) -> None:
    """Bytes first, then the name, then the folder: each on the disk before the next."""
    if old is not None:
        os.chmod(temporary, stat.S_IMODE(old.st_mode))
    _to_disk(temporary)
    os.replace(temporary, target)
    _to_disk(os.path.dirname(target))


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `atomic_path`, for a format that is a folder; replaces only a folder of its suffix.

    Two renames replace an existing folder: killed between them, the old one is still there,
    under a hidden name beside the new one.
    """
    name = os.fspath(path)
    target = os.path.realpath(name)
    if os.path.lexists(target) and not (os.path.isdir(target) and target.endswith(".zarr")):
        raise DataError(name, "", "exists and is not a Zarr folder; remove it or choose another")
    temporary, aside = _sibling(name, target), _sibling(name, target)
    with saying_why(name), _removed_on_error(temporary):
        os.mkdir(temporary)
        yield Path(temporary)
        for place, _, files in os.walk(temporary):
            for file in files:
                _to_disk(os.path.join(place, file))
            _to_disk(place)
        if os.path.isdir(target):
            os.rename(target, aside)
        os.rename(temporary, target)
        _to_disk(os.path.dirname(target))
        shutil.rmtree(aside, ignore_errors=True)


def _target(name: str) -> tuple[str, os.stat_result | None]:
    """Where the bytes go, and the status of what is there."""
    target = os.path.realpath(name)
    try:
        old = os.stat(name)  # a pipe behind /dev/stdout has no path of its own
    except OSError:
        return target, None
    if not stat.S_ISREG(old.st_mode):
        raise DataError(name, "", "exists and is not a regular file; choose another name")
    return target, old


def _sibling(name: str, target: str) -> str:
    """A new name in the same folder; short, for the target's may be as long as can be."""
    folder = os.path.dirname(target)
    usable_folder(name, folder)
    return os.path.join(folder, f".{secrets.token_hex(8)}.partial")


def refuse_unwritable(path: str | os.PathLike[str]) -> None:
    """Refuse, before the work whose result it is, a file that cannot be put where it is to go.

    Raises
    ------
    DataError
        If the folder is missing or cannot be written, or `path` is a device or a pipe.

    Examples
    --------
    >>> refuse_unwritable("scores.csv")
    >>> refuse_unwritable("/absent/scores.csv")
    Traceback (most recent call last):
        ...
    ood_toolkit.errors.DataError: /absent/scores.csv: there is no folder /absent; make it first
    """
    name = os.fspath(path)
    target = os.path.realpath(name)
    if not os.path.isdir(target):  # a Zarr folder, say, which whoever writes it looks at
        _target(name)
    usable_folder(name, os.path.dirname(target))


def usable_folder(name: str, folder: str) -> None:
    """Refuse to begin what could not be written into the folder."""
    if not os.path.isdir(folder):
        raise DataError(name, "", f"there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(name, "", f"the folder {folder} cannot be written; choose another")


@contextmanager
def _removed_on_error(temporary: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if os.path.isdir(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            os.remove(temporary)
        raise


@contextmanager
def saying_why(name: str) -> Iterator[None]:
    """Turn what the system says against writing into one `DataError` that names the file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as reason:
        what = f"cannot be written: {why_not(reason)}; what was there is intact; write elsewhere"
        raise DataError(name, "", what) from reason


def why_not(reason: OSError) -> str:
    """What the system says against writing, without the name of a temporary file."""
    return _DISK.get(reason.errno or 0, reason.strerror or one_line(reason))


def _to_disk(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
