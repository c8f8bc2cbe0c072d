"""Parts in a store that fsspec reaches by its URL: `s3://`, `gs://`, `abfs://`, `memory://`, …

An object store has neither renames nor locks, and needs no rename: an object is there only when
all of it is.  Where a store writes in place, an object is written under another name and moved.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ood_toolkit.errors import BadParameter, DataError, MissingDependency, ToolkitError
from ood_toolkit.io.gate import one_line
from ood_toolkit.io.part_formats import Content

__all__ = [
    "UrlStore",
    "absolute_path",
    "file_system",
    "is_url",
    "plain_path",
    "renamed",
    "saying_which",
]

_DRIVERS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "az": ("adlfs", "azure"),
}
_WHOLE = frozenset(_DRIVERS) | {"memory", "oss", "oci", "adl"}
"""Protocols of stores in which an object appears with all its bytes."""

_FIRST_SEEN_LAST = "zarr.json"


def is_url(name: str) -> bool:
    """Whether a name is one of a store, and not of a file of this machine.

    >>> is_url("s3://bucket/x.npy"), is_url("file:///tmp/x.npy"), is_url("a/b.npy")
    (True, False, False)
    """
    return re.match(r"[a-z][a-z0-9+]*:(//|:)", name) is not None and not name.startswith("file://")


def plain_path(name: str) -> str:
    """A `file://` URL as the path of this machine that it is; any other name unchanged.

    >>> plain_path("file:///tmp/x.npy")
    '/tmp/x.npy'
    """
    return name.removeprefix("file://") if name.startswith("file://") else name


def absolute_path(name: str) -> str:
    """A name as every process of this machine understands it: URLs stay as they are.

    >>> absolute_path("s3://bucket/x.npy"), absolute_path("file:///tmp/x.npy")
    ('s3://bucket/x.npy', '/tmp/x.npy')
    """
    path = plain_path(name)
    return path if is_url(path) else os.path.abspath(path)


def renamed(url: str, name: str) -> str:
    """The URL of a sibling: its last component is `name`; chained URLs keep their chain.

    >>> renamed("s3://bucket/a/x.npy", "y.npy")
    's3://bucket/a/y.npy'
    >>> renamed("simplecache::s3://bucket/*.npy", "y.npy")
    'simplecache::s3://bucket/y.npy'
    """
    links = url.split("::")
    at = next((i for i, link in enumerate(links) if "://" in link), 0)
    links[at] = links[at].rpartition("/")[0] + "/" + name
    return "::".join(links)


def file_system(url: str) -> tuple[Any, str]:
    """Fsspec's file system for a URL, and the path in it.

    Raises
    ------
    BadParameter
        If no store has such URLs.
    MissingDependency
        If fsspec, or the library for this store, is not installed.
    """
    fs, path = _opened(url)
    return fs, path


@lru_cache(maxsize=64)
def _opened(url: str) -> tuple[Any, str]:
    try:
        core = importlib.import_module("fsspec.core")
    except ImportError as reason:
        raise MissingDependency("fsspec", "distributed", f"opening {url}") from reason
    try:
        fs, path = core.url_to_fs(url)
    except ImportError as reason:
        for link in url.split("::"):
            library, extra = _DRIVERS.get(link.partition("://")[0], ("", ""))
            if library:
                raise MissingDependency(library, extra, f"opening {url}") from reason
        raise BadParameter(f"{url}: {one_line(reason)}") from reason
    except ValueError as reason:
        raise BadParameter(f"{url}: {one_line(reason)}") from reason
    return fs, path


@contextmanager
def saying_which(url: str, done: str) -> Iterator[None]:
    """Turn whatever a store's library raises into one `DataError` that names the object."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, ToolkitError):
        raise
    except Exception as reason:  # every library has errors of its own
        said = one_line(reason) or type(reason).__name__
        raise DataError(url, "", f"cannot be {done}: {said}") from reason


@dataclass(frozen=True, slots=True)
class UrlStore:
    """A place in a store as a `PartStore`; small enough to be sent to other processes.

    Parameters
    ----------
    url : str
        Any URL of the place: the last component is replaced by `folder`.
    folder : str
        Name of the folder; objects lie below it.
    """

    url: str
    folder: str

    @property
    def _fs(self) -> Any:
        return file_system(self.url)[0]

    def path(self, name: str = "") -> str:
        """Where an object, or the folder itself, lies in the file system."""
        around = file_system(self.url)[1].rpartition("/")[0]
        return "/".join(part for part in (around, self.folder, name) if part)

    def shown(self, name: str) -> str:
        """The object's URL."""
        return renamed(self.url, f"{self.folder}/{name}".strip("/"))

    def write(self, name: str, data: bytes) -> None:
        """Write an object; nobody sees it before all of it is there."""
        with saying_which(self.shown(name), "written"):
            self._put(self.path(name), data)

    def upload(self, file: str, name: str) -> None:
        """As `write`, of a file of this machine of any size."""
        with saying_which(self.shown(name), "written"), self._place(self.path(name)) as path:
            self._fs.put_file(file, path)

    def _put(self, path: str, data: bytes) -> None:
        with self._place(path) as place:
            self._fs.pipe_file(place, data)

    @contextmanager
    def _place(self, path: str) -> Iterator[str]:
        """Where to write what shall appear at a path with all its bytes."""
        protocols = self._fs.protocol
        names = {protocols} if isinstance(protocols, str) else set(protocols)
        if names & _WHOLE:
            yield path
            return
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/.{secrets.token_hex(8)}.partial"
        self._fs.makedirs(folder, exist_ok=True)
        try:
            yield temporary
            self._fs.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(temporary)
            raise

    def write_folder(self, name: str, files: Content) -> None:
        """Write a Zarr folder; what makes it readable as one is written last."""
        self.remove(name)
        with saying_which(self.shown(name), "written"):
            for key in sorted(files, key=lambda key: key == _FIRST_SEEN_LAST):
                self._put(self.path(f"{name}/{key}"), files[key])

    def read(self, name: str) -> bytes:
        """The bytes of an object; `FileNotFoundError` where there is none."""
        with saying_which(self.shown(name), "read"):
            self._fs.invalidate_cache()
            data: bytes = self._fs.cat_file(self.path(name))
            return data

    def read_folder(self, name: str) -> Content:
        """The files of a Zarr folder; `FileNotFoundError` where there is none."""
        top = self.path(name)
        with saying_which(self.shown(name), "read"):
            self._fs.invalidate_cache()
            found = self._fs.find(top)
            start = len(self._fs._strip_protocol(top)) + 1
            if not found:
                raise FileNotFoundError(self.shown(name))
            return {path[start:]: self._fs.cat_file(path) for path in sorted(found)}

    def names(self) -> list[str]:
        """What lies there."""
        with saying_which(self.shown(""), "listed"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self.path(), detail=False)
            except FileNotFoundError:
                return []
            own = os.path.basename(self.folder)
            names = {path.rstrip("/").rpartition("/")[2] for path in found}
            return sorted(names - {own, ""})

    def remove(self, name: str) -> None:
        """Remove an object or folder if it is there."""
        with saying_which(self.shown(name), "removed"), suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm(self.path(name), recursive=name.endswith(".zarr"))

    def remove_if_empty(self) -> None:
        """Remove the folder itself, where a store has folders and nothing lies in it."""
        if self.folder and not self.names():
            with suppress(Exception):  # most stores have none: there is nothing to remove
                self._fs.rmdir(self.path())
