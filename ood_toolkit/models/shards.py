"""A folder of shards that an interrupted run left is continued, not begun again."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io import atomic_write, load, save_outputs
from ood_toolkit.io.manifest import MANIFEST
from ood_toolkit.models.sinks import Part, as_outputs, check_rows
from ood_toolkit.outputs import Array, Outputs

__all__ = ["NOTES", "ShardSink", "shard_pattern"]

NOTES = ".extract.json"
"""What a folder's shards were made of; a leading dot keeps it out of what `load` reads."""


def shard_pattern(path: str) -> tuple[Path, str] | None:
    """Folder and suffix of `FOLDER/*.suffix`, or of a folder; None for any other name."""
    folder, name = os.path.split(path)
    if name.startswith("*."):
        return Path(folder or "."), name[1:]
    if not os.path.splitext(name)[1] or path.endswith(os.sep):
        return Path(path), ".safetensors"
    return None


class ShardSink:
    """Shards of equal length, each written whole; those that are there are not made again.

    Parameters
    ----------
    path : str
        What `load` reads them back by.
    folder : Path
        Made where it does not exist.
    suffix : str
        Format of the shards.
    rows : int
        Rows of each but the last.
    made_of : mapping
        JSON-ready: what the outputs depend on.  Shards made of something else are refused.
    """

    def __init__(
        self, path: str, folder: Path, suffix: str, rows: int, made_of: dict[str, Any]
    ) -> None:
        if rows < 1:
            raise BadParameter(f"shard_rows must be at least 1, got {rows}")
        self._path, self._folder, self._suffix, self._rows = path, folder, suffix, rows
        self._made_of = {**made_of, "shard_rows": rows, "suffix": suffix}
        self._waiting: dict[str, list[Array]] = {}
        self._known: dict[str, tuple[Any, ...]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.complete = False
        self._count = self._there()
        self._constants: Part = {}

    def begin(self, constants: Part) -> int:
        """Rows of the whole shards that are there; each shard gets the constants."""
        self._constants = constants
        return sys.maxsize if self.complete else self._count * self._rows

    def _shards(self) -> list[Path]:
        return sorted(p for p in self._folder.glob(f"*{self._suffix}") if p.name[0] != ".")

    def _there(self) -> int:
        """Shards of an earlier run, which must have been the same."""
        shards, notes = self._shards(), self._folder / NOTES
        if not notes.exists():
            if (self._folder / MANIFEST).exists():
                raise DataError(
                    self._path, "", "was begun with --dask; go on with it, or choose another folder"
                )
            if shards:
                raise DataError(
                    self._path, "", f"holds {shards[0].name}, which no extraction wrote; remove it"
                )
            self._note(complete=False)
            return 0
        try:
            found = json.loads(notes.read_text(encoding="utf-8"))
            before, self.complete = dict(found["made_of"]), bool(found["complete"])
        except (ValueError, KeyError, TypeError) as reason:
            raise DataError(str(notes), "", f"is damaged ({reason}); remove the folder") from None
        changed = [key for key in self._made_of if before.get(key) != self._made_of[key]]
        if changed:
            raise DataError(
                self._path,
                "",
                f"holds shards made with another {' and '.join(changed)}; remove them or choose "
                "another folder",
            )
        expected = [self._name(number) for number in range(len(shards))]
        if [p.name for p in shards] != expected:
            raise DataError(self._path, "", "a shard is missing in between; remove the folder")
        return len(shards)

    def _name(self, number: int) -> str:
        return f"{number:06d}{self._suffix}"

    def _note(self, *, complete: bool) -> None:
        with atomic_write(self._folder / NOTES) as file:
            text = json.dumps({"made_of": self._made_of, "complete": complete}, sort_keys=True)
            file.write(text.encode())

    def add(self, part: Part) -> None:
        """Take rows; full shards are written."""
        self._known = check_rows(self._known, part)
        for key, array in part.items():
            self._waiting.setdefault(key, []).append(array)
        while self._held() >= self._rows:
            self._write(self._rows)

    def _held(self) -> int:
        first = next(iter(self._waiting.values()), [])
        return sum(map(len, first))

    def _write(self, rows: int) -> None:
        shard = {}
        for key, arrays in self._waiting.items():
            whole = np.concatenate(arrays)
            shard[key], self._waiting[key] = whole[:rows], [whole[rows:]]
        save_outputs(
            as_outputs({**shard, **self._constants}), self._folder / self._name(self._count)
        )
        self._count += 1

    def finish(self, constants: Part) -> Outputs:
        """Write the last, shorter shard; the record of them all."""
        self._constants = constants
        if self._held():
            self._write(self._held())
        self._note(complete=True)
        return load(str(self._folder))

    def discard(self) -> None:
        """Whole shards stay, for the next run to continue from."""
