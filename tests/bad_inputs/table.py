"""How a row of the table is written down, and what every one of them promises."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.cli.running import Run, tool

__all__ = [
    "ROWS",
    "Check",
    "can_watch",
    "peak_since_reset",
    "refused",
    "reset_peak",
    "resident",
    "row",
]

Check = Callable[[Path, Path], None]
"""Takes a folder of small good files and an empty one; asserts the outcome."""

ROWS: dict[int, Check] = {}


def row(number: int) -> Callable[[Check], Check]:
    """Register the case of one row."""

    def register(check: Check) -> Check:
        assert number not in ROWS, number
        ROWS[number] = check
        return check

    return register


def refused(status: int, *words: str, run: tuple[object, ...]) -> Run:
    """A command that must leave with this status, say these words and write nothing.

    What it says is one line, but for the help on usage.
    """
    found = tool(*(os.fspath(w) if isinstance(w, os.PathLike) else str(w) for w in run))
    said = " ".join(found.err.replace("│", " ").split())
    assert found.status == status, (run, found.err)
    assert "Traceback" not in found.err
    assert found.out == ""
    for word in words:
        assert word in said, (word, said)
    if status == 3:
        assert found.error  # one line, after the warnings
    return found


def resident() -> int:
    """Bytes of memory that this process takes."""
    return _field("VmRSS")


def reset_peak() -> None:
    """Begin anew to watch for the most memory taken."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_since_reset() -> int:
    """The most memory taken since then."""
    return _field("VmHWM")


def _field(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(name)


def can_watch() -> bool:
    """Whether this system lets a process ask for its peak."""
    return os.access("/proc/self/clear_refs", os.W_OK)
