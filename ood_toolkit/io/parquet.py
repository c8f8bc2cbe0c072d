"""Parquet files: a list column is a matrix, and so are numbered columns of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.columns import ColumnGroup, group_columns
from ood_toolkit.io.gate import Limits, check_expansion, check_names, readable_file, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray, stack_text
from ood_toolkit.outputs import Array

__all__ = ["open_parquet", "open_table", "parquet_file"]

_BATCH_BYTES = 16 << 20
_BATCH_TEXT = 64 << 20
_THRIFT_STRING = 16 << 20
_THRIFT_CONTAINER = 1_000_000


@contextmanager
def parquet_file(path: str, columns: int = 1, texts: Sequence[str] = ()) -> Iterator[Any]:
    """The file, opened by pyarrow with bounds on what its footer may hold.

    So many columns are read through buffers, and not whole ahead of time (`pre_buffer`), for a
    column of a row group may be of any size.  Columns of texts come as numbers of distinct
    ones: a text of any length can stand in any number of rows, and takes no room in the file.
    """
    try:
        from pyarrow import parquet
    except ImportError as reason:
        raise MissingDependency("pyarrow", "parquet", f"reading {path}") from reason
    # A Python file: pyarrow itself cannot open names that are not UTF-8.
    with refusing(path), open(path, "rb") as stream:
        yield parquet.ParquetFile(
            stream,
            thrift_string_size_limit=_THRIFT_STRING,
            thrift_container_size_limit=_THRIFT_CONTAINER,
            buffer_size=max(1 << 14, (1 << 24) // max(16, columns)),
            pre_buffer=False,
            read_dictionary=list(texts),
        )


def open_parquet(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every array of the table, from its footer alone; numbered columns make a matrix."""

    def grouped(fields: list[Any]) -> list[ColumnGroup]:
        numeric = [_numpy_type(field.type) is not None for field in fields]
        return group_columns(path, [field.name for field in fields], numeric)

    return _open(path, limits, grouped)


def open_table(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every column of the table as an array of its own."""

    def alone(fields: list[Any]) -> list[ColumnGroup]:
        return [ColumnGroup(field.name, (i,), False) for i, field in enumerate(fields)]

    return _open(path, limits, alone)


def _open(
    path: str, limits: Limits, sort: Callable[[list[Any]], list[ColumnGroup]]
) -> dict[str, StoredArray]:
    size = readable_file(path).st_size
    with parquet_file(path) as file:
        fields = list(file.schema_arrow)
        check_names(path, (field.name for field in fields))
        groups = sort(fields)
        return {group.key: _array(path, file, fields, group, size, limits) for group in groups}


def _numpy_type(arrow: Any) -> np.dtype | None:
    """The type of a number column; None for any other."""
    import pyarrow as pa

    if pa.types.is_floating(arrow) or pa.types.is_integer(arrow) or pa.types.is_boolean(arrow):
        kind: np.dtype = np.dtype(arrow.to_pandas_dtype())
        return kind
    return None


def _array(
    path: str,
    file: Any,
    fields: list[Any],
    group: ColumnGroup,
    size: int,
    limits: Limits,
) -> StoredArray:
    import pyarrow as pa

    rows = int(file.metadata.num_rows)
    if rows < 0:
        raise DataError(path, "", f"declares {rows} rows: it is damaged")
    chosen = [fields[column] for column in group.columns]
    kind = chosen[0].type
    shape: tuple[int, ...] = (rows,)
    dtype: np.dtype | None
    if group.matrix:
        dtype = np.result_type(*(_numpy_type(field.type) for field in chosen))
        shape = (rows, len(chosen))
    elif _is_list(kind):
        dtype = _numpy_type(kind.value_type)
        fixed = pa.types.is_fixed_size_list(kind)
        shape = (rows, kind.list_size if fixed else _first_length(file, group.key))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        dtype = np.dtype("U")
    else:
        dtype = _numpy_type(kind)
    common: dict[str, Any] = {"path": path, "key": group.key, "shape": shape, "limits": limits}
    if dtype is None:
        return RefusedArray(
            **common, dtype=None, foreign=str(kind), reason=f"columns of {kind} cannot be used"
        )
    return ParquetArray(
        **common,
        dtype=dtype,
        columns=tuple(field.name for field in chosen),
        matrix=group.matrix,
        file_size=size,
        **(_pages(file, chosen[0].name) if dtype.kind == "U" else {}),
    )


def _pages(file: Any, name: str) -> dict[str, Any]:
    """Of a column of texts: bytes of its pages, as the footer states them, and whether by steps."""
    total, steps = 0, False
    for number in range(file.metadata.num_row_groups):
        row_group = file.metadata.row_group(number)
        for column in (row_group.column(at) for at in range(row_group.num_columns)):
            if column.path_in_schema == name:
                total += column.total_uncompressed_size
                steps = steps or any(e.startswith("DELTA") for e in column.encodings)
    return {"unpacked": total, "by_steps": steps}


def _first_length(file: Any, name: str) -> int:
    """Numbers in the first row's list; the others must have as many."""
    for batch in file.iter_batches(1, columns=[name]):
        first = batch.column(batch.schema.get_field_index(name))[0]
        return len(first) if first.is_valid else 0
    return 0


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    )


@dataclass(kw_only=True)
class ParquetArray(StoredArray):
    """One array of a table; rows are decoded a batch at a time."""

    columns: tuple[str, ...]
    matrix: bool
    file_size: int
    unpacked: int = 0
    by_steps: bool = False
    _following: Iterator[tuple[int, Any]] | None = field(default=None, init=False, repr=False)
    _left: Any = field(default=None, init=False, repr=False)
    _at: int = field(default=0, init=False)

    def admit(self) -> None:
        """Refuse a table that would be far larger than its file."""
        super().admit()
        declared = max(self.nbytes, self.shape[0], self.unpacked)
        check_expansion(self.path, self.key, self.shape, declared, self.file_size, self.limits)

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        if self.element.kind == "U":
            return self._strings(first, last)
        result = np.empty((last - first, *self.shape[1:]), self.element)
        for at, batch in self._in_order(first, last):
            result[at - first : at - first + batch.num_rows] = self._values(at, batch)
        return result

    def _in_order(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """As `_batches`; who asks for what follows the last rows does not begin again."""
        following, left = self._following, self._left
        self._following = self._left = None  # gone, should something be wrong on the way
        if following is None or self._at != first:
            following, left = self._batches(first, self.shape[0]), None
        at = first
        while at < last:
            batch = left if left is not None else next(following, (at, None))[1]
            if batch is None:
                raise DataError(self.path, self.key, f"ends after {at} of {last} rows")
            taken = batch.slice(0, last - at)
            yield at, taken
            at += taken.num_rows
            left = batch.slice(taken.num_rows) if taken.num_rows < batch.num_rows else None
        if at < self.shape[0]:
            self._following, self._left, self._at = following, left, at

    def _batches(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Row number and record batch, cut to first ... last; other row groups stay unread."""
        width = self.element.itemsize * (self.shape[1] if len(self.shape) > 1 else 1)
        rows = max(1, _BATCH_BYTES // max(8, width))
        texts = self.columns if self.element.kind == "U" and not self.by_steps else ()
        if self.by_steps:  # which pyarrow cannot number: no text is longer than all pages
            rows = max(1, min(rows, _BATCH_TEXT // max(1, self.unpacked)))
        with parquet_file(self.path, len(self.columns), texts) as file:
            metadata = file.metadata
            if int(metadata.num_rows) != self.shape[0]:
                raise DataError(self.path, self.key, "changed while it was read")
            at, begin = 0, 0
            groups: list[int] = []
            for group in range(metadata.num_row_groups):
                count = int(metadata.row_group(group).num_rows)
                if at < last and at + count > first:
                    begin = begin if groups else at
                    groups.append(group)
                at += count
            done = begin
            if not groups:
                return
            for batch in file.iter_batches(rows, row_groups=groups, columns=list(self.columns)):
                low, high = max(first, done), min(last, done + batch.num_rows)
                if low < high:
                    yield low, batch.slice(low - done, high - low)
                done += batch.num_rows
            if done < last:
                raise DataError(self.path, self.key, f"ends after {done} of {last} rows")

    def _values(self, at: int, batch: Any) -> Array:
        parts = [self._column(at, batch, name) for name in self.columns]
        return np.stack(parts, axis=1) if self.matrix else parts[0]

    def _column(self, at: int, batch: Any, name: str) -> Array:
        column = batch.column(batch.schema.get_field_index(name))
        self._refuse_null(at, column, name)
        if not _is_list(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        width = self.shape[1]
        self._refuse_ragged(at, column, name, width)
        # `.values` would ignore the slice; `.flatten` honours it and drops only null rows.
        values = column.flatten()
        if values.null_count:
            place = int(np.flatnonzero(np.asarray(values.is_null()))[0])
            raise DataError(self.path, name, f"row {at + place // width} holds a null")
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), width)

    def _refuse_null(self, at: int, column: Any, name: str) -> None:
        if column.null_count:
            row = at + int(np.flatnonzero(np.asarray(column.is_null()))[0])
            raise DataError(
                self.path, name, f"row {row} is null; fill it or drop it before scoring"
            )

    def _refuse_ragged(self, at: int, column: Any, name: str, width: int) -> None:
        from pyarrow import compute

        lengths = np.asarray(compute.list_value_length(column))
        wrong = np.flatnonzero(lengths != width)
        if wrong.size:
            row = int(wrong[0])
            raise DataError(
                self.path,
                name,
                f"row {at + row} has {lengths[row]} numbers, expected {width}; all lists must "
                "be of one length",
            )

    def _strings(self, first: int, last: int) -> Array:
        def blocks() -> Iterator[list[str]]:
            for at, batch in self._in_order(first, last):
                column = batch.column(batch.schema.get_field_index(self.columns[0]))
                self._refuse_null(at, column, self.columns[0])
                if self.by_steps:
                    yield column.to_pylist()
                else:
                    known = column.dictionary.to_pylist()
                    yield [known[number] for number in column.indices.tolist()]

        return stack_text(self.path, self.key, last - first, blocks(), self.limits)
