"""The leaderboard: columns and cells of each tab, as the page prints them without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ood_toolkit.report.results import ALL, OodSet, Results, Tab, number

__all__ = ["Board", "Cell", "Column", "Row", "Strip", "leaderboards", "percent", "significant"]

STRIP = (120.0, 18.0)
"""Width and height of the strip that shows a method's AUROC on each set."""
LEAST = 0.01
"""Milliseconds below which a time is noise."""
MARGIN = 4.0
"""Around the marks of a strip."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, what it holds, and whether small figures come first in it."""

    title: str
    hint: str
    kind: str
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as text, its interval as text, and the value that the column is sorted by."""

    text: str
    value: float | str | None
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """Where in a strip the sets' AUROCs and their mean stand: x of each, and of interval ends."""

    mean: float | None
    marks: tuple[tuple[str, float, float | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A method's line."""

    number: int
    method: str
    family: str
    rank: int
    tie: str
    strip: Strip
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The table of one tab."""

    group: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    low: float
    has_ties: bool


def leaderboards(results: Results) -> tuple[Board, ...]:
    """One table for each group of sets."""
    low = _lowest(results)
    return tuple(_board(results, tab, low) for tab in results.tabs())


def percent(value: Any, digits: int = 2) -> str:
    """A fraction in percent, without the sign; a dash where it is undefined."""
    found = number(value)
    return "–" if found is None else f"{100 * found:.{digits}f}"


def significant(value: float | None, digits: int = 2) -> str:
    """A figure with so many significant digits, thousands apart, no exponent; a dash for None."""
    if value is None:
        return "–"
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:,.0f}"
    return f"{rounded:.{digits - 1 - math.floor(math.log10(abs(rounded)))}f}"


def _lowest(results: Results) -> float:
    """Left end of the strips: a multiple of five percent that nine in ten AUROCs reach."""
    found = sorted(v for v in (number(r["auroc"]) for r in results.document["results"]) if v)
    least = found[len(found) // 10] if found else 0.5
    return min(0.9, int(20 * least) / 20)


def _board(results: Results, tab: Tab, low: float) -> Board:
    rule = results.document["convention"]
    fpr = f"FPR@{100 * rule['fpr_at_tpr']:g}"
    averaged = len(tab.sets) > 1
    of = "mean " if averaged else ""
    columns = [
        Column("AUROC", f"{of}area under the ROC curve, percent", "figure"),
        Column(fpr, f"{of}false-positive rate, percent; less is better", "figure", ascending=True),
        Column("AUPR-in", f"{of}area under precision-recall, ID positive, percent", "figure"),
        Column("AUPR-out", f"{of}area under precision-recall, OOD positive, percent", "figure"),
    ]
    columns += [
        Column(s.name, f"AUROC on {s.name} ({s.group or 'no group'}), percent", "set")
        for s in tab.sets
        if averaged
    ]
    columns += [
        Column("fit, ms", "milliseconds that fitting took", "time", ascending=True),
        Column("score, ms", "milliseconds to score 10,000 rows", "time", ascending=True),
    ]
    numbers = {method: n for n, method in enumerate(results.methods)}
    ties = {method: results.tie(method, tab.group) for method in results.methods}
    rows = [
        Row(
            numbers[method],
            method,
            results.family(method),
            rank,
            ties[method],
            _strip(results, method, tab, low),
            _cells(results, method, tab, averaged),
        )
        for rank, method in enumerate(results.ranked(tab.group), start=1)
    ]
    return Board(
        tab.group,
        _title(tab),
        _note(tab.sets),
        tuple(columns),
        tuple(rows),
        low,
        any(ties.values()),
    )


def _title(tab: Tab) -> str:
    known = {ALL: "All sets", "near": "Near-OOD", "far": "Far-OOD"}
    return known.get(tab.group, tab.group.capitalize())


def _note(sets: Sequence[OodSet]) -> str:
    names = ", ".join(f"{s.name} ({s.rows:,} rows)" for s in sets)
    return f"Unweighted mean over {names}." if len(sets) > 1 else f"One set: {names}."


def _cells(results: Results, method: str, tab: Tab, averaged: bool) -> tuple[Cell, ...]:
    alone = {} if averaged else results.pair(method, tab.sets[0].name)  # its intervals hold
    source = {**alone, **results.mean(method, tab.group)}
    cells = [_figure(source, metric) for metric in ("auroc", "fpr", "aupr_in", "aupr_out")]
    cells += [_figure(results.pair(method, s.name), "auroc") for s in tab.sets if averaged]
    cells += [_milliseconds(s) for s in (results.seconds(method, "fit"), results.cost(method))]
    return tuple(cells)


def _milliseconds(seconds: float | None) -> Cell:
    if seconds is None:
        return Cell(significant(None), None)
    time = 1000 * seconds
    return Cell(significant(time) if time == 0 or time >= LEAST else f"<{LEAST:g}", time)


def _figure(source: Any, metric: str) -> Cell:
    ends = source.get(f"{metric}_ci")
    interval = ""
    if ends and None not in (number(ends[0]), number(ends[1])):
        interval = f"{percent(ends[0], 1)}–{percent(ends[1], 1)}"
    return Cell(percent(source.get(metric)), number(source.get(metric)), interval)


def _strip(results: Results, method: str, tab: Tab, low: float) -> Strip:
    def place(value: Any) -> float | None:
        found = number(value)
        if found is None:
            return None
        share = (max(found, low) - low) / (1.0 - low)
        return round(MARGIN + share * (STRIP[0] - 2 * MARGIN), 1)

    marks = []
    for ood in tab.sets:
        pair = results.pair(method, ood.name)
        at = place(pair.get("auroc"))
        ends = pair.get("auroc_ci") or (None, None)
        if at is not None:
            marks.append((ood.name, at, place(ends[0]), place(ends[1])))
    return Strip(place(results.mean(method, tab.group).get("auroc")), tuple(marks))
