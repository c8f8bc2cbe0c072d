"""Files of a store, brought to this machine one at a time, and read through the same gate."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ood_toolkit.errors import DataError
from ood_toolkit.io.formats import FORMATS, suffix_format
from ood_toolkit.io.gate import size_text
from ood_toolkit.io.object_store import file_system, is_url, renamed, saying_which
from ood_toolkit.io.shards import parts_of

__all__ = ["Copies", "files_of", "is_object", "saying_whose", "url_files", "url_stamp"]

_TOKENS = ("ETag", "etag", "md5Hash", "crc32c", "LastModified", "last_modified", "mtime", "created")
_SPARE = 256 << 20
_KEPT = 2


def url_files(url: str) -> list[str]:
    """The URLs of the files that a URL or a pattern stands for, in the order of their names.

    Raises
    ------
    DataError
        If none is there, or they are of several formats or of an unknown one.
    """
    fs, path = file_system(url)
    with saying_which(url, "listed"):
        fs.invalidate_cache()
        found = sorted(fs.glob(path)) if any(c in path for c in "*?[") else [path]
        if not found or (found == [path] and not fs.exists(path)):
            raise DataError(url, "", "there is no such object")
    names = [place.rstrip("/").rpartition("/")[2] for place in found]
    names = [name for name in names if not name.startswith((".", "_"))]
    formats = {suffix_format(name) for name in names}
    if len(formats) != 1 or None in formats:
        raise DataError(url, "", f"objects must be of one format of {' '.join(FORMATS)}")
    folders = {place.rstrip("/").rpartition("/")[0] for place in found}
    if len(folders) > 1:
        raise DataError(url, "", "the pattern spans several folders; give one for each")
    return [renamed(url, name) for name in names]


def url_stamp(url: str) -> dict[str, Any]:
    """What tells an object from one that was written at another time: `file`, `bytes`, `key`.

    Raises
    ------
    DataError
        If it is not there.
    """
    found = _listed(url)
    tokens = [_token(found[name]) for name in sorted(found)]
    key = tokens[0] if len(tokens) == 1 else hashlib.sha256("\n".join(tokens).encode()).hexdigest()
    return {"file": url, "bytes": sum(int(p["size"]) for p in found.values()), "key": key}


def _listed(url: str) -> dict[str, dict[str, Any]]:
    """What the store says of an object, or of each of a folder's, by its path."""
    fs, path = file_system(url)
    with saying_which(url, "read"):
        fs.invalidate_cache()
        found: dict[str, dict[str, Any]]
        if fs.isfile(path):
            found = {path: fs.info(path)}
        else:
            found = fs.find(path, detail=True) if fs.exists(path) else {}
    if not found:
        raise DataError(url, "", "there is no such object")
    return found


def _token(info: Mapping[str, Any]) -> str:
    return next((str(info[name]) for name in _TOKENS if info.get(name) is not None), "")


@dataclass(eq=False)
class _Copy:
    """A file of this machine, how many need it, and whether all of it is here."""

    place: str
    users: int = 0
    whole: bool = False
    fetching: threading.Lock = field(default_factory=threading.Lock)


class Copies:
    """Objects as files of this machine, in a folder that ends with the process.

    Those that rows are still read from are kept, whatever thread reads them, and the last few.

    Parameters
    ----------
    around : str, optional
        Where that folder is made; by default where temporary files are.
    most : int, optional
        How many are kept, the last ones; None for all.
    """

    def __init__(self, around: str | None = None, most: int | None = _KEPT) -> None:
        self._folder = tempfile.mkdtemp(prefix="ood_toolkit-", dir=around)
        self._kept: OrderedDict[tuple[str, str], _Copy] = OrderedDict()
        self._count, self._most = 0, most
        self._lock = threading.RLock()  # a record may end while its thread holds it
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def local(self, url: str, stamp: Mapping[str, Any] | None, max_bytes: int | None) -> str:
        """The path of an object's copy, as of `held`; it may be gone once others are asked for."""
        with self.held(url, stamp, max_bytes) as (path, _):
            return path

    @contextmanager
    def held(
        self, url: str, stamp: Mapping[str, Any] | None, max_bytes: int | None
    ) -> Iterator[tuple[str, Callable[[object], None]]]:
        """The path of an object's copy, which is fetched where it is not here yet.

        Yields
        ------
        path : str
            There until the block is left.
        keep : callable
            Given an object, keeps the copy for as long as that lives.

        Raises
        ------
        DataError
            If it is not there, another one than the stamp says, larger than is allowed or than
            fits on the disk; nothing is fetched then.
        """
        found = _listed(url)
        now = url_stamp(url)
        if stamp is not None and dict(stamp) != now:
            raise DataError(url, "", "is another object here than where the job was started")
        with self._lock:
            # a store that says nothing to tell objects apart is asked for each anew
            at = (url, str(now["key"]) or f"copy {self._count}")
            if at not in self._kept:
                self._admit(url, now["bytes"], max_bytes)
                self._count += 1
                self._kept[at] = _Copy(os.path.join(self._folder, str(self._count)))
            copy = self._kept[at]
            copy.users += 1
            self._kept.move_to_end(at)
            self._drop()

        def keep(holder: object) -> None:
            with self._lock:
                copy.users += 1
            weakref.finalize(holder, self._let_go, copy)

        try:
            with copy.fetching:
                if not copy.whole:
                    self._fetch(url, found, copy.place)
                    copy.whole = True
            yield os.path.join(copy.place, _name(url)), keep
        finally:
            self._let_go(copy)

    def _let_go(self, copy: _Copy) -> None:
        with self._lock:
            copy.users -= 1
            self._drop()

    def _drop(self) -> None:
        """Remove what is neither needed nor among the last few, and what never came whole."""
        last = list(self._kept)[-self._most :] if self._most else list(self._kept)
        for at, copy in list(self._kept.items()):
            if copy.users == 0 and not (copy.whole and at in last):
                self._kept.pop(at, None)
                shutil.rmtree(copy.place, ignore_errors=True)

    def _admit(self, url: str, size: int, max_bytes: int | None) -> None:
        if max_bytes is not None and size > max_bytes:
            raise DataError(
                url, "", f"has {size_text(size)}, more than --max-bytes (max_bytes=) {max_bytes}"
            )
        free = shutil.disk_usage(self._folder).free
        if size + _SPARE > free:
            raise DataError(
                url,
                "",
                f"has {size_text(size)} and {size_text(free)} is free in {self._folder}; set "
                "TMPDIR to a larger disk",
            )

    def _fetch(self, url: str, found: Mapping[str, dict[str, Any]], place: str) -> None:
        fs, path = file_system(url)
        target = os.path.join(place, _name(url))
        for name, info in found.items():
            with saying_which(url, "read"):
                inside = PurePosixPath(name).relative_to(PurePosixPath(path))
            if ".." in inside.parts:
                raise DataError(url, str(inside), "leads out of the folder; it is not fetched")
            file = os.path.join(target, *inside.parts)
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with saying_which(url, "read"):
                fs.get_file(name, file)
            if os.path.getsize(file) != int(info["size"]):
                raise DataError(url, "", "changed while it was read; try again")


def _name(url: str) -> str:
    return file_system(url)[1].rstrip("/").rpartition("/")[2]


_loaded: list[Copies] = []
_making = threading.Lock()


def is_object(name: str) -> bool:
    """Whether a name is one of a store, and no file of this machine has it."""
    return is_url(name) and not os.path.lexists(name)


def files_of(name: str, max_bytes: int | None = None) -> dict[str, str]:
    """The files that a name stands for, and where each lies on this machine.

    Objects are fetched; their copies last as long as the process does, as rows of what was
    read may stay in them.

    Parameters
    ----------
    name : str
        A file, a folder, a pattern, or the URL of an object or of a pattern of them.
    max_bytes : int, optional
        Larger objects are not fetched.

    Raises
    ------
    DataError
        As `parts_of` and `url_files`, and if an object cannot be fetched.
    """
    if not is_object(name):
        return {part: part for part in parts_of(name)}
    with _making:
        if not _loaded:
            _loaded.append(Copies(most=None))
    return {url: _loaded[0].local(url, None, max_bytes) for url in url_files(name)}


@contextmanager
def saying_whose(files: Mapping[str, str]) -> Iterator[None]:
    """Within it, an error of a copy names the object that it is of."""
    try:
        yield
    except DataError as reason:
        for name, path in files.items():
            if name != path and reason.path.startswith(path):
                shown = name + reason.path[len(path) :]
                raise DataError(shown, reason.key, reason.reason) from reason
        raise
