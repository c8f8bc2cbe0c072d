"""Where a job's output goes: one file, or a folder of parts, on a disk or in a store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ood_toolkit.errors import BadParameter
from ood_toolkit.io.manifest import Parts
from ood_toolkit.io.object_files import url_stamp
from ood_toolkit.io.object_lock import object_lock
from ood_toolkit.io.object_store import UrlStore, file_system, is_url, plain_path
from ood_toolkit.io.part_folder import (
    LOCK,
    FolderStore,
    already_whole,
    finish,
    hidden_name,
    locked_folder,
    remove_parts,
)
from ood_toolkit.io.part_formats import PART_FORMATS
from ood_toolkit.io.parts import PartStore
from ood_toolkit.io.scores import score_format

__all__ = ["Destination"]


@dataclass(frozen=True, slots=True)
class Destination:
    """What a job writes.

    Attributes
    ----------
    output : str
        As the user named it; a `file://` URL as the path that it is.
    format : str
        Of the file, or of each part.
    shown : bool
        Whether the parts themselves are the output: a folder of them and their manifest.
    """

    output: str
    format: str
    shown: bool

    @classmethod
    def of(
        cls, output: str, format: str | None = None, formats: tuple[str, ...] = PART_FORMATS
    ) -> Destination:
        """The destination that a name stands for: `FOLDER/*.suffix` is a folder of parts.

        Raises
        ------
        BadParameter, DataError
            If there is no such format.

        Examples
        --------
        >>> Destination.of("scores/*.parquet")
        Destination(output='scores/*.parquet', format='parquet', shown=True)
        >>> Destination.of("scores.csv").shown
        False
        """
        name = plain_path(output)
        path = file_system(name)[1] if is_url(name) else name
        last = path.rpartition("/")[2]
        if not last.startswith("*."):
            return cls(name, score_format(path, format), False)
        suffix = last[2:].lower()
        if suffix not in formats or format not in (None, suffix):
            raise BadParameter(f"{output}: parts are written as {', '.join(formats)}")
        return cls(name, suffix, True)

    @contextmanager
    def locked(self) -> Iterator[PartStore]:
        """Where the parts lie, for this process alone.

        Raises
        ------
        DataError
            If another process is at work on the same output, or it cannot be written.
        """
        if is_url(self.output):
            last = file_system(self.output)[1].rpartition("/")[2]
            folder = "" if self.shown else hidden_name(last)
            with object_lock(UrlStore(self.output, folder), self.output) as store:
                yield store
        else:
            place = (os.path.dirname(self.output) or ".") if self.shown else None
            with locked_folder(self.output, place) as store:
                yield store

    def parts(self, store: PartStore, job: Any, plan: Any) -> Parts:
        """The parts of a job on their way to this destination."""
        if self.shown:
            return Parts(self.output, store, job, plan, self.format, True)
        return Parts(self.output, store, job, plan)

    @property
    def part_format(self) -> str:
        """What each part is written as."""
        return self.format if self.shown else "npz"

    def is_whole(self, parts: Parts) -> bool:
        """Whether an earlier run had finished the output and was killed after that."""
        if self.shown:
            return parts.finished is not None and not parts.missing()
        if is_url(self.output):
            return parts.finished is not None and parts.finished == _stamp(self.output)
        return already_whole(parts, self.output)

    def finish(self, parts: Parts, store: PartStore, write: Callable[[Any], Any]) -> None:
        """Make the output of its parts, or say that they are whole.

        Parameters
        ----------
        parts : Parts
            All done.
        store : PartStore
            Where they lie.
        write : callable
            Writes one file of all parts to the path that it is given.

        Raises
        ------
        DataError
            If a part is missing, or the output cannot be written; what was there is then intact.
        """
        if self.shown:
            parts.refuse_missing()
            for name in store.names():
                if name.startswith(".") and name != LOCK:
                    store.remove(name)
            parts.finished = {"parts": len(parts.plan)}
            parts.save(at_once=True)
        elif isinstance(store, FolderStore):
            finish(parts, store, self.output, write)
        else:
            self._upload(parts, write)
            remove_parts(store)

    def _upload(self, parts: Parts, write: Callable[[Any], Any]) -> None:
        if self.is_whole(parts):
            return
        parts.refuse_missing()
        last = file_system(self.output)[1].rpartition("/")[2]
        with tempfile.TemporaryDirectory(prefix="ood_toolkit-") as folder:
            path = os.path.join(folder, "whole")
            write(path)
            UrlStore(self.output, "").upload(path, last)
        parts.finished = _stamp(self.output)
        parts.save(at_once=True)


def _stamp(output: str) -> dict[str, Any] | None:
    """What tells the output from one that was written at another time; None where it is not."""
    fs, path = file_system(output)
    fs.invalidate_cache()
    if not fs.exists(path):
        return None
    stamp = url_stamp(output)
    return {"bytes": stamp["bytes"], "key": stamp["key"]}
