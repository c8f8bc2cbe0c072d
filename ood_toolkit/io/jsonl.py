"""JSON lines: one object a row, e.g. `{"logits": [1.5, -0.2], "label": 0}`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import Limits, refusing
from ood_toolkit.io.stored import RowCursor, StoredArray, stack_text
from ood_toolkit.io.text import TextSource, numbered_lines, parse_number, text_source
from ood_toolkit.outputs import Array

__all__ = ["json_arrays", "json_rows", "open_jsonl"]

_BLOCK = 1024


def open_jsonl(path: str, limits: Limits) -> dict[str, StoredArray]:
    """One array a key; the first row says which keys there are and how long each list is."""
    return json_arrays(path, text_source(path, limits), limits)


def json_arrays(path: str, source: TextSource, limits: Limits) -> dict[str, StoredArray]:
    """Arrays of JSON lines, wherever their text comes from."""
    shapes: dict[str, tuple[int, ...]] = {}
    texts: set[str] = set()
    rows = 0
    with refusing(path):
        for line, record in json_rows(path, source):
            if not rows:
                shapes = {key: _shape(value) for key, value in record.items()}
                texts = {key for key, value in record.items() if isinstance(value, str)}
            elif record.keys() != shapes.keys():
                differing = sorted(record.keys() ^ shapes.keys())[0]
                raise DataError(path, f"line {line}", f"{differing!r} is not in every row")
            rows += 1
    if not rows:
        raise DataError(path, "", "holds no rows")
    return {
        key: JsonArray(
            path=path,
            key=key,
            shape=(rows, *shape),
            dtype=np.dtype("U") if key in texts else np.dtype("f8"),
            limits=limits,
            typed=False,
            source=source,
        )
        for key, shape in shapes.items()
    }


def _shape(value: Any) -> tuple[int, ...]:
    return (len(value),) if isinstance(value, list) else ()


def json_rows(path: str, source: TextSource) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of each row; blank lines are passed over."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    for number, line in enumerate(numbered_lines(path, source), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=unique, parse_float=parse_number)
        except json.JSONDecodeError as reason:
            raise DataError(path, f"line {number}", f"is not JSON: {reason}") from reason
        except (ValueError, RecursionError) as reason:
            raise DataError(path, f"line {number}", str(reason)) from reason
        if not isinstance(record, dict):
            raise DataError(path, f"line {number}", "is not a JSON object")
        yield number, record


@dataclass(kw_only=True)
class JsonArray(StoredArray):
    """The values of one key."""

    source: TextSource
    rows: RowCursor[tuple[int, dict[str, Any]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rows = RowCursor(lambda: json_rows(self.path, self.source))

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop."""
        first, last = self.span(start, stop)
        with refusing(self.path, self.key):
            rows = self.rows.take(first, last)
            if self.dtype != np.dtype("f8"):
                texts = (self._text(line, record[self.key]) for line, record in rows)
                blocks = iter(lambda: list(islice(texts, _BLOCK)), [])
                return stack_text(self.path, self.key, last - first, blocks, self.limits)
            result = np.empty((last - first, *self.shape[1:]))
            for row, (line, record) in enumerate(rows):
                result[row] = self._numbers(line, record[self.key])
            return result

    def _text(self, line: int, value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(self.path, f"line {line}", f"{self.key!r} is not a text")
        return value

    def _numbers(self, line: int, value: Any) -> Any:
        if _shape(value) != self.shape[1:]:
            raise DataError(
                self.path,
                f"line {line}",
                f"{self.key!r} has {_shape(value)} numbers, expected {self.shape[1:]}",
            )
        for number in value if isinstance(value, list) else [value]:
            if type(number) not in (int, float):
                raise DataError(
                    self.path,
                    f"line {line}",
                    f"{self.key!r} holds {str(number)[:40]!r}, not a number",
                )
        return value
