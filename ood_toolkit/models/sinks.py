"""Where outputs go batch by batch, when nobody knows how many rows there will be."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import atomic_write, load
from ood_toolkit.io.growing_zarr import GrowingZarr
from ood_toolkit.outputs import Array, Outputs

__all__ = ["MemorySink", "Part", "SafetensorsSink", "Sink", "ZarrSink", "as_outputs", "check_rows"]

Part = Mapping[str, Array]
"""Arrays of the rows of one batch, by the keys of an outputs file."""

_SAFETENSORS = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
}
_COPIED = 16 << 20


class Sink(Protocol):
    """Takes parts one after the other, and gives the record at the end."""

    def begin(self, constants: Part) -> int:
        """Rows that are there already and need not come again."""
        ...

    def add(self, part: Part) -> None:
        """Take the rows of one batch."""
        ...

    def finish(self, constants: Part) -> Outputs:
        """Take what does not grow with the rows, such as the head; the record of it all."""
        ...

    def discard(self) -> None:
        """Something went wrong: leave nothing half-written."""
        ...


def check_rows(known: Mapping[str, tuple[Any, ...]], part: Part) -> dict[str, tuple[Any, ...]]:
    """The width and type of each array of a part, which must be those of the parts before.

    Raises
    ------
    InputError
        If a batch has other arrays, widths or types than the ones before.
    """
    found = {key: (array.shape[1:], array.dtype) for key, array in part.items()}
    if known and found != known:
        for key in sorted(known.keys() ^ found.keys()):
            state = "has no" if key in known else "has"
            raise InputError(f"a batch {state} {key}, unlike the ones before")
        key = next(key for key in known if known[key] != found[key])
        raise InputError(
            f"{key} of a batch: {_said(found[key])}, but the ones before had {_said(known[key])}"
        )
    return found


def _said(kind: tuple[Any, ...]) -> str:
    shape, dtype = kind
    return f"rows of shape {shape} and type {dtype}"


def as_outputs(arrays: Mapping[str, Array], source: str = "") -> Outputs:
    """A record from the arrays of an outputs file by key."""
    from ood_toolkit.outputs import Head

    parts: dict[str, Any] = dict(arrays)
    layers = {key: parts.pop(key) for key in list(parts) if key.startswith("layers/")}
    weight, bias = parts.pop("head_weight", None), parts.pop("head_bias", None)
    head = Head(weight, bias) if weight is not None else None
    named = {key.removeprefix("layers/"): array for key, array in layers.items()}
    return Outputs(**parts, layers=named, head=head, source=source)


class MemorySink:
    """Keeps everything."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}
        self._known: dict[str, tuple[Any, ...]] = {}

    def begin(self, constants: Part) -> int:
        """Nothing is there already."""
        return 0

    def add(self, part: Part) -> None:
        """Take the rows of one batch."""
        self._known = check_rows(self._known, part)
        for key, array in part.items():
            self._parts.setdefault(key, []).append(array)

    def finish(self, constants: Part) -> Outputs:
        """The record."""
        joined = {key: np.concatenate(self._parts.pop(key)) for key in list(self._parts)}
        return as_outputs({**joined, **constants})

    def discard(self) -> None:
        """Forget it."""
        self._parts = {}


class SafetensorsSink:
    """One `.safetensors` file: arrays grow in temporary files and are joined at the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        target = Path(os.path.realpath(path)).parent
        if not target.is_dir():
            raise DataError(path, "", f"there is no folder {target}; make it first")
        self._closing = ExitStack()
        self._folder = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=target))
        self._closing.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._files: dict[str, BinaryIO] = {}
        self._known: dict[str, tuple[Any, ...]] = {}
        self._rows = 0

    def begin(self, constants: Part) -> int:
        """Nothing is there already."""
        return 0

    def add(self, part: Part) -> None:
        """Take the rows of one batch."""
        self._known = check_rows(self._known, part)
        for number, (key, array) in enumerate(part.items()):
            if key not in self._files:
                file = (self._folder / str(number)).open("w+b")
                self._files[key] = self._closing.enter_context(file)
            self._files[key].write(np.ascontiguousarray(array).tobytes())
            rows = len(array)
        self._rows += rows

    def finish(self, constants: Part) -> Outputs:
        """Write the file at once, then read it back."""
        header: dict[str, Any] = {}
        begin = 0
        for key, (shape, dtype) in self._known.items():
            begin = _entry(header, key, (self._rows, *shape), dtype, begin)
        for key, array in constants.items():
            begin = _entry(header, key, array.shape, array.dtype, begin)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with self._closing, atomic_write(self._path) as target:
            target.write(len(text).to_bytes(8, "little") + text)
            for file in self._files.values():
                file.seek(0)
                shutil.copyfileobj(file, target, _COPIED)
            for array in constants.values():
                target.write(np.ascontiguousarray(array).tobytes())
        return load(self._path)

    def discard(self) -> None:
        """Remove the temporary files."""
        self._closing.close()


def _entry(
    header: dict[str, Any], key: str, shape: tuple[int, ...], dtype: np.dtype[Any], begin: int
) -> int:
    end = begin + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    header[key] = {
        "dtype": _SAFETENSORS[dtype.name],
        "shape": list(shape),
        "data_offsets": [begin, end],
    }
    return end


class ZarrSink:
    """One `.zarr` folder, whose arrays grow chunk by chunk."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = GrowingZarr(path)
        self._known: dict[str, tuple[Any, ...]] = {}

    def begin(self, constants: Part) -> int:
        """Nothing is there already."""
        return 0

    def add(self, part: Part) -> None:
        """Take the rows of one batch; full chunks are written."""
        self._known = check_rows(self._known, part)
        for key, array in part.items():
            self._file.append(key, array)

    def finish(self, constants: Part) -> Outputs:
        """Write what is left, put the folder in its place, and read it back."""
        self._file.finish(constants)
        return load(self._path)

    def discard(self) -> None:
        """Remove the temporary folder."""
        self._file.discard()
