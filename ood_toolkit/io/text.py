"""CSV and TSV tables: read twice, once for their shape and once for each array asked for."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.columns import group_columns
from ood_toolkit.io.gate import Limits, available_memory, readable_file, refusing
from ood_toolkit.io.keys import known_name
from ood_toolkit.io.stored import RowCursor, StoredArray, stack_text
from ood_toolkit.outputs import Array

__all__ = ["TextSource", "numbered_lines", "open_csv", "open_tsv", "parse_number"]
__all__ += ["table_arrays", "text_source"]

_LONGEST_LINE = 64 << 20
_BLOCK = 1024
_PIECE = 1 << 20
_OTHER_DIALECT = re.compile(r"\s*[-+]?\d.*[,;]")

_NO_TEXT = (
    "is no UTF-8 text; save the table as UTF-8, or give the file the suffix of what it is",
    "standard input is read as CSV or JSON lines, and this is no UTF-8 text; name the file instead",
)

TextSource = str | bytes
"""A path, or the content of a pipe, which can be read only once."""


def text_source(path: str, limits: Limits) -> TextSource:
    """What to read lines from: `-` is standard input, a pipe is drained into memory."""
    with refusing(path):
        if path == "-":
            return _drain(path, cast(io.BufferedReader, sys.stdin.buffer), limits)
        if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
            with open(path, "rb") as stream:
                return _drain(path, stream, limits)
        readable_file(path)
        return path


def _drain(path: str, stream: io.BufferedReader, limits: Limits) -> bytes:
    most = limits.max_bytes or available_memory() // 4
    content = bytearray()
    # A piece at a time: inside one large read an interrupt would not be seen.
    while piece := stream.read1(_PIECE):
        content += piece
        if len(content) > most:
            raise DataError(path, "", f"more than {most} bytes came through the pipe; use a file")
    if not content:
        raise DataError(path, "", "is empty")
    return bytes(content)


def numbered_lines(path: str, source: TextSource) -> Iterator[str]:
    """Lines of UTF-8 text with their ends, none longer than 64 MiB; a byte order mark is cut."""
    raw = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
        try:
            while line := stream.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise DataError(path, "", f"a line is longer than {_LONGEST_LINE} characters")
                yield line
        except UnicodeDecodeError as reason:
            raise DataError(path, "", _NO_TEXT[path == "-"]) from reason


def parse_number(text: str) -> float:
    """A decimal number, `inf` or `nan`.

    Raises
    ------
    ValueError
        For anything else; the message says what is wrong and what to do.

    Examples
    --------
    >>> parse_number(" -1.5e3")
    -1500.0
    """
    try:
        value = float(text)
        if "_" in text:
            raise ValueError
    except ValueError:
        if not text.strip():
            raise ValueError("a cell is empty; every row needs every column") from None
        hint = "; separate columns as the suffix says, and write decimals with a point"
        hint = hint if "," in text or ";" in text else ""
        raise ValueError(f"{text[:40]!r} is not a number{hint}") from None
    if math.isinf(value) and any(letter.isdigit() for letter in text):
        raise ValueError(f"{text[:40]} is too large for a number; write inf if you mean it")
    return value


def _numbers(cells: list[str]) -> list[float]:
    """A row of numbers; the careful parser runs only where something is odd."""
    try:
        values = list(map(float, cells))
    except ValueError:
        return [parse_number(cell) for cell in cells]
    if math.inf in values or -math.inf in values or "_" in "".join(cells):
        return [parse_number(cell) for cell in cells]
    return values


def open_csv(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Arrays of a comma-separated table."""
    return table_arrays(path, text_source(path, limits), ",", limits)


def open_tsv(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Arrays of a tab-separated table."""
    return table_arrays(path, text_source(path, limits), "\t", limits)


def table_arrays(
    path: str, source: TextSource, delimiter: str, limits: Limits
) -> dict[str, StoredArray]:
    """Arrays of a delimited table, wherever its text comes from."""
    table = Table(path, source, delimiter)
    with refusing(path):
        names, rows = table.scan()
    if names is None:
        width = table.width
        return {"": table.array("", tuple(range(width)), (rows, width), np.dtype("f8"), limits)}
    arrays: dict[str, StoredArray] = {}
    for key, columns, matrix in group_columns(path, names, [True] * len(names)):
        shape = (rows, len(columns)) if matrix else (rows,)
        dtype = np.dtype("U") if known_name(key) == "text" else np.dtype("f8")
        arrays[key] = table.array(key, columns, shape, dtype, limits)
    return arrays


_OTHER_SEPARATOR = re.compile(r"\w[,;\t]\w")
_SEPARATE = {
    ",": "separate columns with commas, or name a table with tabs .tsv",
    "\t": "separate columns with tabs, or name a table with commas .csv",
}


@dataclass
class Table:
    """A delimited table, with or without a header."""

    path: str
    source: TextSource
    delimiter: str
    width: int = 0
    header: bool = False

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row, the header included; blank last lines are not."""
        lines = numbered_lines(self.path, self.source)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        blank = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as reason:
                raise self._error(reader.line_num, str(reason)) from reason
            if not cells:
                blank = blank or reader.line_num
                continue
            if blank:
                raise self._error(blank, "is blank; delete it")
            if self.width and len(cells) != self.width:
                raise self._error(
                    reader.line_num,
                    f"has {len(cells)} cells, expected {self.width}; decimals are written with "
                    "a point",
                )
            yield reader.line_num, cells

    def _error(self, line: int, reason: str) -> DataError:
        return DataError(self.path, f"line {line}", reason)

    def scan(self) -> tuple[list[str] | None, int]:
        """Column names, None without a header, and the number of rows; every row is checked."""
        rows = 0
        names: list[str] | None = None
        for line, cells in self.records():
            if not self.width:
                self.width = len(cells)
                self.header = _is_header(cells)
                names = [cell.strip() for cell in cells] if self.header else None
                if self.header and self.width == 1 and _OTHER_SEPARATOR.search(cells[0]):
                    raise self._error(line, f"is one cell: {_SEPARATE[self.delimiter]}")
            rows += 1
        if not self.width:
            raise DataError(self.path, "", "holds no rows")
        return names, rows - self.header

    def array(
        self,
        key: str,
        columns: tuple[int, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
        limits: Limits,
    ) -> TextArray:
        """Some of the columns as an array that is parsed when it is read."""
        return TextArray(
            path=self.path,
            key=key,
            shape=shape,
            dtype=dtype,
            limits=limits,
            typed=False,
            table=self,
            columns=columns,
        )

    def body(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row but the header."""
        return islice(self.records(), int(self.header), None)

    def numbers(self, line: int, cells: list[str]) -> list[float]:
        """The numbers of some cells of a line."""
        try:
            return _numbers(cells)
        except ValueError as reason:
            raise self._error(line, str(reason)) from reason


def _is_header(cells: list[str]) -> bool:
    """A row of names; 0, 1, 2, … too, which no row of outputs is."""
    if [cell.strip() for cell in cells] == [str(i) for i in range(len(cells))]:
        return True
    if any(_OTHER_DIALECT.match(cell) for cell in cells):
        return False  # numbers, in a notation whose error is raised with the line
    try:
        for cell in cells:
            float(cell)
    except ValueError:
        return True
    return False


@dataclass(kw_only=True)
class TextArray(StoredArray):
    """Columns of a table; numbers become float64, whose digits text can hold."""

    table: Table
    columns: tuple[int, ...]
    rows: RowCursor[tuple[int, list[str]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rows = RowCursor(self.table.body)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            if self.dtype == np.dtype("f8"):
                numbers = np.empty((last - first, len(self.columns)))
                for row, (line, cells) in enumerate(self.rows.take(first, last)):
                    numbers[row] = self.table.numbers(line, [cells[c] for c in self.columns])
                return numbers if len(self.shape) == 2 else numbers[:, 0]
            texts = (cells[self.columns[0]] for _, cells in self.rows.take(first, last))
            blocks = iter(lambda: list(islice(texts, _BLOCK)), [])
            return stack_text(self.path, self.key, last - first, blocks, self.limits)
