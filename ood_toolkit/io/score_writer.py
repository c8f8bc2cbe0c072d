"""Score tables written as they come: some rows after the other, in each of the formats."""

from __future__ import annotations

import csv
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ood_toolkit.errors import InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_path
from ood_toolkit.io.gate import printable
from ood_toolkit.io.npz import write_array_head
from ood_toolkit.outputs import Array

__all__ = ["TEXT_FORMATS", "checked_table", "save_tables", "write_file", "write_text"]

TEXT_FORMATS = ("csv", "jsonl")
"""Formats that can go to standard output."""

_BLOCK = 8192

Tables = Callable[[], Iterable[Mapping[str, Array]]]
"""Tables of the same columns, first rows first; may be asked for more than once."""


def save_tables(tables: Sequence[Mapping[str, Array]], name: str, format: str) -> None:
    """Write checked tables below each other, to a file at once or not at all; `-` is stdout."""
    if name == "-":
        write_text(tables, format, sys.stdout)
        sys.stdout.flush()
        return
    with atomic_path(name) as temporary:
        write_file(lambda: tables, temporary, format, name)


def write_file(tables: Tables, path: str | Path, format: str, name: str) -> None:
    """Write tables below each other to a file, holding one at a time.

    The same rows give the same bytes in `csv`, `jsonl` and `npz`, however they are cut into
    tables; in `parquet` each table is a row group, or several.

    Parameters
    ----------
    tables : callable
        Checked tables, as `checked_table` makes them; more than one pass is made for `npz`.
    path : path-like
        Written in place: give the temporary file of an atomic write.
    format : {"csv", "jsonl", "npz", "parquet"}
        How.
    name : str
        The file as the user named it, for messages.

    Raises
    ------
    MissingDependency
        If pyarrow is needed and not installed.
    """
    if format in TEXT_FORMATS:
        with open(path, "w", encoding="utf-8", newline="") as out:
            write_text(tables(), format, out)
    elif format == "npz":
        _write_npz(tables, path)
    else:
        _write_parquet(tables(), path, name)


def checked_table(columns: Mapping[str, Any]) -> dict[str, Array]:
    """Columns as arrays of one axis and one length.

    Raises
    ------
    InputError
        If they differ in length, or one is neither numbers nor texts.
    """
    table = {}
    for name, values in columns.items():
        array = np.asarray(values)
        if array.ndim != 1:
            raise InputError(f"column {name!r} must be (N,), got shape {array.shape}")
        if array.dtype.kind == "O":
            if not all(isinstance(value, str) for value in array):
                raise InputError(f"column {name!r} mixes types; give numbers or texts")
            array = array.astype(np.str_)
        if array.dtype.kind == "U":
            array = np.array([printable(text) for text in array.tolist()], dtype=np.str_)
        elif array.dtype.kind not in "biuf":
            raise InputError(f"column {name!r} of dtype {array.dtype} cannot be written")
        table[name] = array
    lengths = {name: len(array) for name, array in table.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"columns must be of one length, got {lengths or 'none'}")
    return table


def write_text(tables: Iterable[Mapping[str, Array]], format: str, out: TextIO) -> None:
    """Write tables below each other as CSV, the header once, or as JSON lines."""
    for number, table in enumerate(tables):
        if format == "csv":
            _write_csv(table, out, header=number == 0)
        else:
            _write_jsonl(table, out)


def _rows(table: Mapping[str, Array]) -> Iterator[Sequence[Any]]:
    """Rows of Python values, a block of columns converted at a time."""
    total = len(next(iter(table.values())))
    for start in range(0, total, _BLOCK):
        yield from zip(
            *(array[start : start + _BLOCK].tolist() for array in table.values()), strict=True
        )


def _write_csv(table: Mapping[str, Array], out: TextIO, *, header: bool) -> None:
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(table)
    flags = [i for i, array in enumerate(table.values()) if array.dtype.kind == "b"]
    for row in _rows(table):
        cells = list(row)
        for i in flags:
            cells[i] = "true" if cells[i] else "false"
        writer.writerow(cells)


def _write_jsonl(table: Mapping[str, Array], out: TextIO) -> None:
    names = list(table)
    for row in _rows(table):
        record = {
            name: _json_number(value) if isinstance(value, float) else value
            for name, value in zip(names, row, strict=True)
        }
        out.write(json.dumps(record, allow_nan=False) + "\n")


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _write_npz(tables: Tables, path: str | Path) -> None:
    """A column after the other, each in a pass of its own."""
    rows, types = 0, dict[str, np.dtype[Any]]()
    for table in tables():
        rows += len(next(iter(table.values())))
        for name, array in table.items():
            types[name] = np.result_type(types.get(name, array.dtype), array.dtype)
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, dtype in types.items():
            with write_array_head(archive, file, name, (rows,), dtype) as stream:
                for table in tables():
                    stream.write(np.ascontiguousarray(table[name], dtype).tobytes())


def _write_parquet(tables: Iterable[Mapping[str, Array]], path: str | Path, name: str) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as reason:
        raise MissingDependency("pyarrow", "parquet", f"writing {name}") from reason
    writer = None
    # A Python file: pyarrow itself cannot open names that are not UTF-8.
    with open(path, "wb") as file:
        try:
            for table in tables:
                columns = {
                    key: pa.array(array.tolist(), pa.string())
                    if array.dtype.kind == "U"
                    else pa.array(array)
                    for key, array in table.items()
                }
                rows = pa.table(columns)
                if writer is None:
                    # scores hardly repeat: a dictionary of them takes time and saves nothing
                    texts = [key for key, array in table.items() if array.dtype.kind == "U"]
                    writer = parquet.ParquetWriter(file, rows.schema, use_dictionary=texts)
                writer.write_table(rows)
        finally:
            if writer is not None:
                writer.close()
