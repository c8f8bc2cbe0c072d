"""A results document as a file: read, or said to be what it is instead."""

from __future__ import annotations

import json
from typing import Any

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import one_line, readable_file, refusing
from ood_toolkit.io.magic import looks_like

__all__ = ["EXPECTED", "results_document"]

EXPECTED = "give the file that evaluate or benchmark writes with --json-out"
"""What to do about a file that is no results file."""

_LARGEST = 256 << 20
_SHOWN = 4


def results_document(path: str) -> dict[str, Any]:
    """The JSON object in a results file; what its parts hold is for the caller to judge.

    Raises
    ------
    DataError
        If the file holds something else: what that is, and what was expected.
    """
    if readable_file(path).st_size > _LARGEST:
        raise DataError(path, "", f"is too large for a file of results; {EXPECTED}")
    with refusing(path), open(path, "rb") as file:
        data = file.read()
    try:
        held = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as fault:
        raise DataError(path, "", f"{_said(data, fault)}; {EXPECTED}") from None
    if not isinstance(held, dict) or "results" not in held or "schema" not in held:
        raise DataError(
            path, "", f"is JSON with {_inside(held)}, and no results of an evaluation; {EXPECTED}"
        )
    return held


def _said(data: bytes, fault: Exception) -> str:
    """What a file that is no JSON is: another format, or text that ends or goes wrong."""
    found = looks_like(data[:512], len(data))
    if found is not None and found[0] != "text":
        return f"looks like {found[1].partition(';')[0]}, and results are JSON"
    return f"is no JSON ({one_line(fault)})"


def _inside(held: Any) -> str:
    """The first few keys of an object, or the kind of anything else."""
    if not isinstance(held, dict):
        kinds = {list: "a list", str: "a text", type(None): "null"}
        return kinds.get(type(held), "one number or truth value")
    more = ", …" if len(held) > _SHOWN else ""
    keys = ", ".join(one_line(repr(key), 40) for key in list(held)[:_SHOWN])
    return f"{keys}{more}" if keys else "nothing in it"
