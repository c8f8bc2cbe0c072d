"""Arrays of a file as streamed arrays: rows are read and converted where they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ood_toolkit.composed import StackedRows
from ood_toolkit.errors import DataError
from ood_toolkit.io.convert import float_conversion
from ood_toolkit.io.flat import FlatArray
from ood_toolkit.io.gate import MAP_FROM, refusing, size_text
from ood_toolkit.io.labels import LabelRange, label_conversion
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.streamed import Memory, StreamedArray, as_streamed

__all__ = [
    "FileRows",
    "arrays_in_files",
    "fitting",
    "streamed_floats",
    "streamed_from",
    "streamed_labels",
    "streamed_members",
]

_LEAST = 1 << 20
_BLOCK_BYTES = 8 << 20
_BLOCKS = 4  # that are kept: threads ask for rows that lie near each other, not quite in order

Conversion = Callable[[Array, int], Array]
"""Makes the rows of a record of those of a file; told the number of the first one."""


class FileRows(StreamedArray):
    """Rows of an array in a file.

    Plain numbers are read where they lie, by each thread for itself; all else is decoded a
    block at a time, by one thread, and the last blocks are kept.

    Parameters
    ----------
    stored : StoredArray
        Where they lie.
    convert : callable
        Makes the rows of a record of those of the file.
    memory : Memory
        What may be taken.
    """

    def __init__(self, stored: StoredArray, convert: Conversion, memory: Memory) -> None:
        self.stored, self.convert, self.memory = stored, convert, memory
        none = convert(np.empty((0, *stored.shape[1:]), stored.element.newbyteorder("=")), 0)
        self.shape, self.dtype = (stored.shape[0], *none.shape[1:]), none.dtype
        self.first, self.grain = 0, 1
        self.what = ": ".join(part for part in (stored.path, stored.key) if part)
        self._begin = 0
        self._flat = stored if isinstance(stored, FlatArray) and stored.row_by_row else None
        self._blocks = None if self._flat is not None else _Blocks(stored)
        self._refuse_large_grain()

    def _refuse_large_grain(self) -> None:
        takes = self.stored.grain * max(1, self.stored.nbytes // max(1, self.shape[0]))
        if takes > _BLOCK_BYTES and 2 * takes > (room := self.memory.room()):
            raise DataError(
                self.stored.path,
                self.stored.key,
                f"{size_text(takes)} of it can only be read together, and --memory (memory=) "
                f"leaves {size_text(room)}; allow more, or save it row by row as .npy, "
                ".safetensors or .parquet",
            )

    def fetch(self, start: int, stop: int) -> Array:
        """Rows start ... stop, converted."""
        first = self._begin + start
        with refusing(self.stored.path, self.stored.key):
            read = self.stored.read if self._blocks is None else self._blocks.read
            return self.convert(read(first, self._begin + stop), first)

    def window(self, start: int, stop: int) -> Array:
        """As `fetch`; plain numbers go where the thread's last window was."""
        if self._flat is None:
            return self.fetch(start, stop)
        first = self._begin + start
        return self.convert(self._flat.window(first, self._begin + stop), first)

    def part(self, start: int, stop: int) -> FileRows:
        """Some of the rows; blocks that are kept are shared."""
        some = object.__new__(FileRows)
        some.__dict__.update(self.__dict__)
        some.shape = (stop - start, *self.shape[1:])
        some.first = some._begin = self._begin + start
        return some


class _Blocks:
    """The last blocks of rows that were decoded, for several threads."""

    def __init__(self, stored: StoredArray) -> None:
        self._stored = stored
        rows = max(1, stored.shape[0])
        grain = stored.grain
        self._step = max(1, _BLOCK_BYTES // max(1, stored.nbytes // rows) // grain) * grain
        self._kept: OrderedDict[int, Array] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, first: int, last: int) -> Array:
        """Rows first ... last."""
        step, numbers = self._step, range(first // self._step, -(-last // self._step))
        blocks = [self._block(number) for number in numbers]
        cut = [
            block[max(first - number * step, 0) : last - number * step]
            for number, block in zip(numbers, blocks, strict=True)
        ]
        if len(cut) == 1:
            return cut[0]
        return np.concatenate(cut) if cut else self._stored.read(0, 0)

    def _block(self, number: int) -> Array:
        with self._lock:
            found = self._kept.get(number)
            if found is None:
                found = self._stored.read(number * self._step, (number + 1) * self._step)
                self._kept[number] = found
                if len(self._kept) > _BLOCKS:
                    self._kept.popitem(last=False)
            return found


def arrays_in_files(record: Outputs) -> list[StoredArray]:
    """What the rows of a record, and of any part of it, are still to be read from."""
    each = ("logits", "features", "members", "token_logits", "labels")
    arrays = [*(getattr(record, name) for name in each), *record.layers.values()]
    streamed = [rows for array in arrays if (rows := as_streamed(array)) is not None]
    single = [one for r in streamed for one in (r.layers if isinstance(r, StackedRows) else [r])]
    return [rows.stored for rows in single if isinstance(rows, FileRows)]


def streamed_from(memory: Memory) -> int:
    """Bytes from which an array is not read at once: a sixteenth of what is left, at most 64 MiB.

    Which it is changes no result.
    """
    return min(MAP_FROM, max(_LEAST, memory.room() // 16))


def fitting(stored: StoredArray, memory: Memory | None) -> StoredArray:
    """The array, which is about to be read whole, if it may.

    Raises
    ------
    DataError
        If it takes more than is left.
    """
    if memory is not None and stored.nbytes > _LEAST and stored.nbytes > (room := memory.room()):
        raise DataError(
            stored.path,
            stored.key,
            f"takes {size_text(stored.nbytes)} and is read at once; --memory (memory=) leaves "
            f"{size_text(room)}: allow more, or split the file",
        )
    return stored


def streamed_floats(
    stored: StoredArray, name: str, word: np.dtype | None, memory: Memory
) -> FileRows:
    """As `convert.floats`, with the numbers left where they are."""
    conversion = float_conversion(stored, name, word)
    stored.admit()
    return FileRows(stored, lambda rows, first: conversion(rows), memory)


def streamed_members(
    stored: StoredArray, word: np.dtype | None, memory: Memory
) -> StackedRows | None:
    """As `streamed_floats`, of a stack; None where its members can only be read together."""
    layers = stored.layers() if len(stored.shape) == 3 else []
    if not layers:
        return None
    stored.admit()
    return StackedRows([streamed_floats(layer, "logits", word, memory) for layer in layers])


def streamed_labels(stored: StoredArray, classes: int, memory: Memory) -> FileRows:
    """As `labels.whole_labels` and a lenient `check_labels`; one pass looks at all of them first.

    Raises
    ------
    DataError
        As these do.
    """
    convert = label_conversion(stored)
    stored.admit()
    rows = FileRows(stored, convert, memory)
    kept = LabelRange(stored, classes, "lenient")
    for start, stop in rows.blocks():
        kept.look(rows.fetch(start, stop), start)
    kept.tell()
    rows.convert = lambda values, first: kept.known(convert(values, first))
    return rows
