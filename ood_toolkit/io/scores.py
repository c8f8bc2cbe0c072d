"""Score tables: one row an input, one column a method, in Parquet, CSV, NumPy or JSON lines.

CSV, Parquet and NumPy hold infinities as such.  JSON has no number for them: JSON lines hold
the texts `"inf"`, `"-inf"` and `"nan"` instead, and `load_scores` reads them back.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import BadParameter, DataError
from ood_toolkit.io.gate import Limits, refusing
from ood_toolkit.io.jsonl import json_rows
from ood_toolkit.io.npz import open_npz
from ood_toolkit.io.parquet import open_table
from ood_toolkit.io.score_parts import joined_parts, npy_table, score_parts, zarr_table
from ood_toolkit.io.score_writer import TEXT_FORMATS, checked_table, save_tables
from ood_toolkit.io.text import numbered_lines, text_source
from ood_toolkit.outputs import Array

__all__ = ["SCORE_FORMATS", "load_scores", "save_scores", "score_format"]

SCORE_FORMATS = ("csv", "jsonl", "npz", "parquet")
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
    BadParameter
        If neither suffix nor `format` say which format, or they differ.
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
    chosen = score_format(name, format)
    save_tables([checked_table(columns)], name, chosen)


def score_format(name: str, given: str | None) -> str:
    """The format that a score table is written in: the one that is given, or by suffix.

    Raises
    ------
    BadParameter
        If there is no such format, the suffix says none or another one, or standard output
        cannot take it.
    """
    suffix = os.path.splitext(name)[1].lower().removeprefix(".")
    if given is not None:
        if given not in SCORE_FORMATS:
            raise BadParameter(f"format {given!r} is not one of {', '.join(SCORE_FORMATS)}")
        if name == "-" and given not in TEXT_FORMATS:
            raise BadParameter(f"standard output takes csv or jsonl, not {given}")
        if suffix in SCORE_FORMATS and suffix != given:
            raise BadParameter(f"{name} ends in .{suffix}, but the format is {given}; give one")
        return given
    if name == "-":
        return "csv"
    if suffix not in SCORE_FORMATS:
        known = " ".join(f".{known}" for known in SCORE_FORMATS)
        raise BadParameter(
            f"{name}: scores are written as {known}, by suffix or with --format (format=)"
        )
    return suffix


def load_scores(path: str | Path) -> dict[str, Array]:
    """Read a table of scores back.

    Parameters
    ----------
    path : str or Path
        A file that `save_scores` wrote, or `FOLDER/*.suffix`, parts that `score` left: also
        `.npy` and `.zarr`.

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
    parts = score_parts(name)
    if parts is not None:
        return joined_parts(name, parts, load_scores)
    suffix = os.path.splitext(name)[1].lower().removeprefix(".")
    if suffix in ("npy", "zarr"):
        return npy_table(name) if suffix == "npy" else zarr_table(name)
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
        if len(set(header)) != len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise DataError(name, twice, "two columns have this name; rename or drop one")
        body = [row for row in rows if row]
        ragged = next((i for i, row in enumerate(body) if len(row) != len(header)), None)
        if ragged is not None:
            raise DataError(name, f"row {ragged}", f"has {len(body[ragged])} cells")
        columns = zip(*body, strict=True) if body else ((),) * len(header)
        return {key: _typed(list(cells)) for key, cells in zip(header, columns, strict=True)}


def _typed(cells: list[str]) -> Array:
    """A column of texts as the narrowest type that holds them all."""
    if any("_" in cell for cell in cells):  # Python's own digits may be split by it: `2024_01`
        return np.array(cells, dtype=np.str_)
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
