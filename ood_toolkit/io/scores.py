"""Score tables: one row an input, one column a method, in Parquet, CSV, NumPy or JSON lines.

CSV, Parquet and NumPy hold infinities as such.  JSON has no number for them: JSON lines hold
the texts `"inf"`, `"-inf"` and `"nan"` instead, and `load_scores` reads them back.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ood_toolkit.errors import BadParameter, DataError, InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_write
from ood_toolkit.io.gate import Limits, refusing
from ood_toolkit.io.jsonl import json_rows
from ood_toolkit.io.npz import open_npz, write_npz
from ood_toolkit.io.parquet import open_table
from ood_toolkit.io.text import numbered_lines, text_source
from ood_toolkit.outputs import Array

__all__ = ["SCORE_FORMATS", "load_scores", "save_scores"]

SCORE_FORMATS = ("csv", "jsonl", "npz", "parquet")
_BLOCK = 8192
_NOT_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def save_scores(columns: Mapping[str, Any], path: str | Path, format: str | None = None) -> None:
    """Write a table of scores, replacing the file at once or not at all.

    Parameters
    ----------
    columns : mapping of str to (N,) array
        Name -> integers, floats, bools or texts; all of one length.  Floats come back to
        the same bits; scores may be infinite.
    path : str or Path
        ``.parquet``, ``.csv``, ``.npz`` or ``.jsonl``; ``"-"`` is standard output.
    format : {"csv", "jsonl", "npz", "parquet"}, optional
        The format, where the suffix does not say it; CSV on standard output.

    Raises
    ------
    InputError
        If the columns differ in length or a column is none of these types.
    DataError
        If the file cannot be written.
    MissingDependency
        If pyarrow is needed and not installed.

    Examples
    --------
    >>> import numpy as np
    >>> save_scores({"index": np.arange(2), "msp": np.array([0.9, -np.inf])}, "-")
    index,msp
    0,0.9
    1,-inf
    """
    name = os.fspath(path)
    chosen = _format(name, format)
    table = _checked(columns)
    if name == "-":
        if chosen not in ("csv", "jsonl"):
            raise BadParameter(f"standard output takes csv or jsonl, not {chosen}")
        _TEXT_WRITERS[chosen](table, sys.stdout)
        sys.stdout.flush()
    elif chosen in _TEXT_WRITERS:
        with atomic_write(name) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _TEXT_WRITERS[chosen](table, text)
            text.flush()
            text.detach()
    elif chosen == "npz":
        with atomic_write(name) as file:
            write_npz(table, file)
    else:
        _write_parquet(table, name)


def _format(name: str, given: str | None) -> str:
    if given is not None:
        if given not in SCORE_FORMATS:
            raise BadParameter(f"format {given!r} is not one of {', '.join(SCORE_FORMATS)}")
        return given
    if name == "-":
        return "csv"
    suffix = os.path.splitext(name)[1].lower()
    if suffix.removeprefix(".") not in SCORE_FORMATS:
        known = " ".join(f".{known}" for known in SCORE_FORMATS)
        raise DataError(name, "", f"scores are written as {known}, by suffix or by format=")
    return suffix.removeprefix(".")


def _checked(columns: Mapping[str, Any]) -> dict[str, Array]:
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
            array = np.array([_printable(text) for text in array.tolist()], dtype=np.str_)
        elif array.dtype.kind not in "biuf":
            raise InputError(f"column {name!r} of dtype {array.dtype} cannot be written")
        table[name] = array
    lengths = {name: len(array) for name, array in table.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"columns must be of one length, got {lengths or 'none'}")
    return table


def _printable(text: str) -> str:
    """A text that UTF-8 can hold: bytes of a file name that are not UTF-8 become hex escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    return text


def _rows(table: Mapping[str, Array]) -> Iterator[Sequence[Any]]:
    """Rows of Python values, a block of columns converted at a time."""
    total = len(next(iter(table.values())))
    for start in range(0, total, _BLOCK):
        yield from zip(
            *(array[start : start + _BLOCK].tolist() for array in table.values()), strict=True
        )


def _write_csv(table: Mapping[str, Array], out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
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


_TEXT_WRITERS: dict[str, Callable[[Mapping[str, Array], TextIO], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}


def _write_parquet(table: Mapping[str, Array], name: str) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as reason:
        raise MissingDependency("pyarrow", "parquet", f"writing {name}") from reason
    columns = {
        key: pa.array(array.tolist() if array.dtype.kind == "U" else array)
        for key, array in table.items()
    }
    with atomic_write(name) as file:
        parquet.write_table(pa.table(columns), file)


def load_scores(path: str | Path) -> dict[str, Array]:
    """Read a table of scores back.

    Parameters
    ----------
    path : str or Path
        A file that `save_scores` wrote.

    Returns
    -------
    dict of str to (N,) array
        int64, float64 (the width they have in ``.npz`` and ``.parquet``), bool or text.
        CSV and JSON lines have no types: a column is the first of int64, bool and float64
        that all its values fit, else text.

    Raises
    ------
    DataError
        If the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> from ood_toolkit.io import save_scores
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "scores.csv")
    ...     save_scores({"energy": [2.5, 1.0]}, path)
    ...     load_scores(path)
    {'energy': array([2.5, 1. ])}
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower().removeprefix(".")
    if suffix in ("npz", "parquet"):
        stored = (open_npz if suffix == "npz" else open_table)(name, Limits())
        table = {}
        for key, array in stored.items():
            array.admit()
            table[key] = array.load()
        return table
    if suffix == "csv":
        return _read_csv(name)
    if suffix == "jsonl":
        return _read_jsonl(name)
    raise DataError(name, "", "is not a score table: .parquet, .csv, .npz or .jsonl")


def _read_csv(name: str) -> dict[str, Array]:
    with refusing(name):
        lines = numbered_lines(name, text_source(name, Limits()))
        rows = csv.reader(lines, strict=True)
        header = next(rows, [])
        body = [row for row in rows if row]
        ragged = next((i for i, row in enumerate(body) if len(row) != len(header)), None)
        if ragged is not None:
            raise DataError(name, f"row {ragged}", f"has {len(body[ragged])} cells")
        columns = zip(*body, strict=True) if body else ((),) * len(header)
        return {key: _typed(list(cells)) for key, cells in zip(header, columns, strict=True)}


def _typed(cells: list[str]) -> Array:
    """A column of texts as the narrowest type that holds them all."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    if set(cells) <= {"true", "false"}:
        return np.array([cell == "true" for cell in cells])
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells, dtype=np.str_)


def _read_jsonl(name: str) -> dict[str, Array]:
    with refusing(name):
        if os.path.isfile(name) and os.path.getsize(name) == 0:
            return {}  # a table without rows has no place for the names of its columns
        rows = [row for _, row in json_rows(name, text_source(name, Limits()))]
        if any(row.keys() != rows[0].keys() for row in islice(rows, 1, None)):
            raise DataError(name, "", "rows differ in their keys")
        return {key: _from_json([row[key] for row in rows]) for key in (rows[0] if rows else {})}


def _from_json(values: list[Any]) -> Array:
    kinds = {type(value) for value in values}
    texts = {value for value in values if isinstance(value, str)}
    if texts and texts <= _NOT_NUMBERS.keys() and kinds <= {float, int, str}:
        values = [_NOT_NUMBERS[v] if isinstance(v, str) else float(v) for v in values]
    return np.array(values)
