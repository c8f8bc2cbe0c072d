"""What was measured, and the ratios that are read from it; plain numbers, saved as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "Case",
    "Report",
    "Spread",
    "Subject",
    "figure",
    "magnitude",
    "read_report",
    "spread",
    "write_report",
]

DIGITS = 4


@dataclass(frozen=True)
class Spread:
    """A median with the smallest and the largest of what it was taken of."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        middle, least, most = map(magnitude, (self.median, self.least, self.most))
        return middle if least == most else f"{middle} ({least} … {most})"


@dataclass
class Case:
    """One set of arrays and what was measured on it.

    Attributes
    ----------
    name : str
        As targets name it; the same at every scale.
    size : str
        What the arrays were.
    seconds : mapping of str to list of float
        Candidate -> seconds of one call, a number a round.  Entry i of every list is of round
        i, but slow candidates have fewer.
    figures : mapping of str to list of float
        Other readings; the name says the unit, as in "peak, MB".
    absent : mapping of str to str
        Candidate or figure -> why it was not measured.
    notes : list of str
        What a reader of the numbers must know.
    read_bytes : int
        Bytes that one read of the array takes; 0 where no limit is a read.
    """

    name: str
    size: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    read_bytes: int = 0


@dataclass
class Subject:
    """Every case of one benchmark module.

    Attributes
    ----------
    rounds : int
    load : float
        What else the machine did: runnable processes in the minute before.
    cases : list of Case
    """

    rounds: int
    load: float
    cases: list[Case]

    def case(self, name: str) -> Case | None:
        """A case by its name."""
        return next((case for case in self.cases if case.name == name), None)


@dataclass
class Report:
    """Everything measured on one machine with one set of libraries, at one scale."""

    scale: str
    machine: dict[str, str]
    versions: dict[str, str]
    subjects: dict[str, Subject]


def spread(values: Iterable[float]) -> Spread:
    """Median, least and most of some numbers."""
    numbers = list(values)
    return Spread(statistics.median(numbers), min(numbers), max(numbers))


def figure(case: Case, reading: str) -> Spread | None:
    """A reading by its name, or a ratio "A / B" of two of them round by round.

    None where one of them was not measured.
    """
    above, _, below = reading.partition(" / ")
    numbers = case.seconds.get(above) or case.figures.get(above)
    if not numbers:
        return None
    if not below:
        return spread(numbers)
    others = case.seconds.get(below) or case.figures.get(below)
    # the rounds that both ran in; slow candidates leave after the first
    return spread(a / b for a, b in zip(numbers, others, strict=False)) if others else None


def magnitude(value: float) -> str:
    """Three digits, without an exponent where that reads well."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    if abs(value) < 0.1:
        decimals = 4
    return f"{value:,.{decimals}f}"


def read_report(path: Path) -> Report:
    """A report as `write_report` wrote it."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Report(
        stored["scale"],
        stored["machine"],
        stored["versions"],
        {
            name: Subject(
                subject["rounds"], subject["load"], [Case(**case) for case in subject["cases"]]
            )
            for name, subject in stored["subjects"].items()
        },
    )


def write_report(report: Report, path: Path) -> None:
    """Write a report, numbers to four digits, a list a line."""
    path.write_text(_text(_rounded(asdict(report))) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _text(value: Any, indent: str = "") -> str:
    """JSON that a reader of a difference can follow: lists of numbers stay on one line."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        lines = [f"{inner}{_text(item, inner)}" for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
