"""Cases and verdicts as rows of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.results import Case, Spread, figure, magnitude, spread
from benchmarks.targets import Target, Verdict

__all__ = ["CASE_HEAD", "VERDICT_HEAD", "aligned", "case_rows", "duration", "verdict_rows"]

CASE_HEAD = ("", "median", "relative to ours", "")
VERDICT_HEAD = ("benchmark", "case", "figure", "median (range)", "bar", "")

SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
ABSOLUTE = {"kernel", "ours"}
"""Readings of targets that are seconds when they stand alone."""


def duration(seconds: float) -> str:
    """Three digits in the unit that suits."""
    for unit, size in SECONDS:
        if abs(seconds) >= size:
            return f"{magnitude(seconds / size)} {unit}"
    return f"{seconds:.3g} s"


def case_rows(case: Case) -> list[tuple[str, ...]]:
    """A row a candidate and a figure: name, median, ratio to ours, what else there is to say."""
    ours = next((name for name in case.seconds if name.startswith("ours")), "")
    rows: list[tuple[str, ...]] = []
    for name, seconds in case.seconds.items():
        ratio = figure(case, f"{name} / {ours}") if ours and name != ours else None
        told = str(ratio) if ratio else "1" if name == ours else ""
        rate = ""
        if name == "one read" and case.read_bytes:
            rate = f"{spread(case.read_bytes / s / 1e9 for s in seconds)} GB/s"
        rows.append((name, duration(spread(seconds).median), told, rate))
    for name, values in case.figures.items():
        rows.append((name, str(spread(values)), "", ""))
    for name, reason in case.absent.items():
        rows.append((name, "", "", reason))
    return rows


def verdict_rows(found: Iterable[Verdict]) -> list[tuple[str, ...]]:
    """A row a target."""
    return [
        (
            verdict.target.subject,
            verdict.target.case,
            verdict.target.reading,
            _told(verdict.target, verdict.found),
            _bar(verdict.target),
            verdict.word,
        )
        for verdict in found
    ]


def _is_duration(target: Target) -> bool:
    return target.reading in ABSOLUTE


def _bar(target: Target) -> str:
    if _is_duration(target):
        return f"{target.sense} {duration(target.bar)}"
    return target.told()


def _told(target: Target, found: Spread | None) -> str:
    if found is None:
        return ""
    if _is_duration(target):
        return f"{duration(found.median)} ({duration(found.least)} … {duration(found.most)})"
    return str(found)


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns of text, as wide as they must be."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        indent + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
