"""Tables: which columns make up an array.  Parquet, CSV and TSV share these rules.

`logits_0`, `logits_1`, … are the columns of `logits`; plain `0`, `1`, … are those of the one
unnamed array; a column that is none of these is an array of its own, under its name.  Where
no column is numbered, every column that is not known is a class, in the file's order, unless
one of them looks like an index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import check_names
from ood_toolkit.io.keys import known_name

__all__ = ["ColumnGroup", "group_columns"]

_NUMBERED = re.compile(r"(?:(?P<base>.*\D)[_.])?(?P<index>0|[1-9]\d{0,6})", re.DOTALL)
_SINGULAR = {"logit": "logits", "class": "logits", "feature": "features", "feat": "features"}
_INDEX_LIKE = re.compile(
    r"(column \d+|unnamed.*|index|idx|id|row|file|filename|path|name|sample)", re.I
)


class ColumnGroup(NamedTuple):
    """One array of a table: its key, its columns, and whether it has a second axis."""

    key: str
    columns: tuple[int, ...]
    matrix: bool


def group_columns(path: str, names: Sequence[str], numeric: Sequence[bool]) -> list[ColumnGroup]:
    """Sort the columns of a table into arrays.

    Parameters
    ----------
    names : sequence of str
        Column names in the file's order.
    numeric : sequence of bool
        Whether a column could hold numbers.

    Raises
    ------
    DataError
        If a name comes twice, two names mean one column, or a numbered column is missing.

    Examples
    --------
    >>> group_columns("t.csv", ["label", "logits_1", "logits_0"], [True] * 3)
    [ColumnGroup(key='label', columns=(0,), matrix=False), \
ColumnGroup(key='logits', columns=(2, 1), matrix=True)]
    """
    names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    check_names(path, names)
    seen: dict[str, int] = {}
    for column, name in enumerate(names):
        if name in seen:
            raise DataError(path, name, f"columns {seen[name] + 1} and {column + 1} share a name")
        seen[name] = column
    numbered: dict[str, dict[int, int]] = {}
    single: list[ColumnGroup] = []
    for column, name in enumerate(names):
        match = _NUMBERED.fullmatch(name)
        base = (match["base"] or "") if match else ""
        if match and numeric[column]:
            found, index = numbered.setdefault(_SINGULAR.get(base, base), {}), int(match["index"])
            if index in found:
                raise DataError(
                    path,
                    name,
                    f"this column and {names[found[index]]!r} both mean number {index} of "
                    f"{_SINGULAR.get(base, base) or 'the unnamed array'}; rename or drop one",
                )
            found[index] = column
        else:
            single.append(ColumnGroup(name, (column,), False))
    groups = single + [
        g for base, found in numbered.items() for g in _block(path, base, names, found)
    ]
    if any(len(group.columns) > 1 for group in groups):
        return groups
    return _classes(names, numeric, groups)


def _block(
    path: str, base: str, names: Sequence[str], columns: dict[int, int]
) -> list[ColumnGroup]:
    """Numbered columns as one matrix; as arrays of their own where they only look numbered."""
    missing = next((i for i in range(len(columns)) if i not in columns), None)
    if base == "" or known_name(base):
        if missing is not None:
            name = f"{base}_{missing}" if base else str(missing)
            raise DataError(path, name, "this column is missing; columns count from 0 without gaps")
    elif missing is not None or len(columns) == 1:
        return [ColumnGroup(names[column], (column,), False) for column in columns.values()]
    return [ColumnGroup(base, tuple(columns[i] for i in sorted(columns)), True)]


def _classes(
    names: Sequence[str], numeric: Sequence[bool], groups: list[ColumnGroup]
) -> list[ColumnGroup]:
    """Columns named after classes: all that are not known, if none looks like an index."""
    known = [g for g in groups if known_name(g.key)]
    taken = {column for group in known for column in group.columns}
    rest = [i for i in range(len(names)) if i not in taken]
    if any(known_name(g.key) not in ("labels", "text") for g in known) or len(rest) < 2:
        return groups
    if any(_INDEX_LIKE.fullmatch(names[i]) or not numeric[i] for i in rest):
        return groups
    return [*known, ColumnGroup("", tuple(rest), True)]
