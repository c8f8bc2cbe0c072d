"""Questions about files as a whole: is one the other, and what is in them, as a checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import no_such_file, refusing
from ood_toolkit.io.object_files import files_of, is_object, url_files, url_stamp
from ood_toolkit.io.object_store import plain_path
from ood_toolkit.io.shards import parts_of

__all__ = ["file_digest", "file_stamp", "refuse_same_file"]

_CHUNK = 1 << 20


def refuse_same_file(output: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is being read.

    Parameters
    ----------
    output : str or Path
        The file that will be written; ``"-"`` is standard output, which is none of them.
    inputs : iterable of str or Path
        Files, folders or patterns that will be read; of objects in a store no file is one.

    Raises
    ------
    DataError
        If the output is an input, whatever links lead to it, or lies in an input folder.

    Examples
    --------
    >>> refuse_same_file("scores.csv", ["test.npz"])
    >>> refuse_same_file("-", ["-"])
    """
    name = plain_path(os.fspath(output))
    if name == "-":
        return
    target = os.path.realpath(name)
    for given in (plain_path(os.fspath(x)) for x in inputs):
        if is_object(given):
            continue
        if os.path.isdir(given) and os.path.realpath(given) == os.path.dirname(target):
            raise DataError(name, "", f"lies in the input folder {given}; write elsewhere")
        for part in parts_of(given):
            if part == "-":
                continue
            same = os.path.realpath(part) == target
            if os.path.exists(part) and os.path.exists(target):
                same = same or os.path.samefile(part, target)
            if same:
                raise DataError(name, "", f"is also an input ({part}); write to another file")


def file_digest(path: str | Path) -> str:
    """The sha256 of a file, or of a folder's or pattern's files and their names.

    Parameters
    ----------
    path : str or Path
        As for `load`.

    Returns
    -------
    str
        64 hexadecimal digits; empty for standard input and pipes, which are read once only.

    Raises
    ------
    DataError
        If a file cannot be read.

    Examples
    --------
    >>> import os, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.csv")
    ...     _ = pathlib.Path(path).write_text("1,2")
    ...     file_digest(path)[:8]
    '17f8af97'
    """
    name = plain_path(os.fspath(path))
    places = files_of(name)
    files = {file: _sibling(part, place) + file[len(place) :]
             for part, place in places.items() for file in _files(place)}  # fmt: skip
    with refusing(name):
        if not all(os.path.isfile(file) for file in files):
            if name != "-" and not all(os.path.exists(file) for file in files):
                raise DataError(name, "", no_such_file(name))
            return ""
        if list(places) == [name] and list(files) == list(places.values()):
            return _digest(places[name])
        whole = hashlib.sha256()
        first = os.path.dirname(next(iter(files.values())))
        for file, shown in files.items():
            relative = os.path.relpath(shown, first)
            whole.update(f"{_digest(file)}  ".encode() + os.fsencode(relative) + b"\n")
        return whole.hexdigest()


def _sibling(part: str, place: str) -> str:
    """Where a part would lie if copies of objects lay beside each other, as the objects do."""
    return place if part == place else os.path.basename(place)


def _files(part: str) -> Iterator[str]:
    """A part's files; a Zarr store has many."""
    if not os.path.isdir(part):
        yield part
        return
    for place, folders, names in os.walk(part):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(place, name)


def _digest(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def file_stamp(path: str | Path) -> dict[str, Any]:
    """What tells a file, folder or pattern of files from one that was written at another time.

    Bytes and times of the last change: a look at each file's entry, its content is not read.

    Parameters
    ----------
    path : str or Path
        As for `load`.

    Returns
    -------
    dict
        `file`, `bytes` and `written_ns`, the latest of all; standard input and pipes have
        neither.  Of objects in a store `file`, `bytes` and `key`, as `url_stamp` says.

    Raises
    ------
    DataError
        If a file is not there.

    Examples
    --------
    >>> file_stamp("-")
    {'file': '-'}
    """
    name = plain_path(os.fspath(path))
    if is_object(name):
        return _object_stamp(name)
    files = [file for part in parts_of(name) for file in _files(part)]
    with refusing(name):
        if not all(os.path.isfile(file) for file in files):
            return {"file": name}
        found = [os.stat(file) for file in files]
        return {
            "file": name,
            "bytes": sum(status.st_size for status in found),
            "written_ns": max(status.st_mtime_ns for status in found),
        }


def _object_stamp(name: str) -> dict[str, Any]:
    """The stamp of an object, or of a pattern's objects together."""
    stamps = [url_stamp(url) for url in url_files(name)]
    keys = [str(stamp["key"]) for stamp in stamps]
    key = keys[0] if len(keys) == 1 else hashlib.sha256("\n".join(keys).encode()).hexdigest()
    return {"file": name, "bytes": sum(stamp["bytes"] for stamp in stamps), "key": key}
