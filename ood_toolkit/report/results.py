"""The results document of an evaluation, read for drawing: which sets, methods and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ood_toolkit.errors import InputError, UnknownName

__all__ = ["ALL", "OodSet", "Results", "Tab", "front", "number"]

SCHEMA = 1
ALL = "all"
"""The group of every set but synthetic ones."""
_FIRST = (ALL, "near", "far")
_NEEDED = ("convention", "id", "results", "means")

_KEYS = {
    "convention": ("fpr_at_tpr",),
    "id": ("name", "n"),
    "results": ("method", "ood", "group", "n_ood", "auroc", "fpr"),
    "means": ("method", "group", "auroc"),
    "pictures.methods": ("method",),
    "pictures.pairs": ("method", "ood", "histogram", "at_or_above"),
    "pictures.extremes": ("method", "set", "rows"),
    "pictures.specimens": ("set", "row"),
}
"""What the entries of the document's parts hold at least."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OodSet:
    """One out-of-distribution set: its name, group ("" for none) and number of rows."""

    name: str
    group: str
    rows: int


@dataclass(frozen=True, slots=True)
class Tab:
    """A group of sets that methods are ranked on."""

    group: str
    sets: tuple[OodSet, ...]


class Results:
    """A results document of schema 1, with its parts by method and set.

    Parameters
    ----------
    document : mapping
        What `evaluate --json-out` writes, or `Evaluation.to_json` returns.

    Raises
    ------
    InputError
        If it is no such document, or holds no results.
    """

    def __init__(self, document: Document) -> None:
        _check(document)
        self.document = document
        self.methods: tuple[str, ...] = tuple(dict.fromkeys(r["method"] for r in self._rows()))
        self.sets: tuple[OodSet, ...] = tuple(
            dict.fromkeys(OodSet(r["ood"], r["group"] or "", r["n_ood"]) for r in self._rows())
        )
        self._pairs = {(r["method"], r["ood"]): r for r in self._rows()}
        self._means = {(m["method"], m["group"]): m for m in document["means"]}
        pictures = document.get("pictures") or {}
        self.pictures: Document = pictures
        self._ties = {
            table["group"]: _letters(table["tie_groups"])
            for table in (document.get("comparisons") or {}).get("tables", ())
            if "group" in table
        }
        self._of_method = {p["method"]: p for p in pictures.get("methods", ())}

    def _rows(self) -> Sequence[Document]:
        rows: Sequence[Document] = self.document["results"]
        return rows

    def tabs(self) -> tuple[Tab, ...]:
        """All sets first, then near, far, and other groups as they come; one without groups."""
        groups = dict.fromkeys(group for _, group in self._means)
        order = [g for g in _FIRST if g in groups] + [g for g in groups if g not in _FIRST]
        tabs = [Tab(group, self._sets_of(group)) for group in order]
        if len({tab.sets for tab in tabs}) == 1:
            return tuple(tabs[:1])
        return tuple(tabs)

    def _sets_of(self, group: str) -> tuple[OodSet, ...]:
        if group != ALL:
            return tuple(s for s in self.sets if s.group == group)
        return tuple(s for s in self.sets if s.group != "synthetic") or self.sets

    def pair(self, method: str, ood: str) -> Document:
        """The result of a method on a set; empty where there is none."""
        return self._pairs.get((method, ood), {})

    def mean(self, method: str, group: str) -> dict[str, Any]:
        """The published mean over a group, with that of the other metrics beside it."""
        found = dict(self._means.get((method, group), {}))
        pairs = [self.pair(method, s.name) for s in self._sets_of(group)]
        for metric in ("auroc", "fpr", "aupr_in", "aupr_out"):
            values = [number(p.get(metric)) for p in pairs]
            if metric not in found and values and None not in values:
                found[metric] = math.fsum(v for v in values if v is not None) / len(values)
        return found

    def ranked(self, group: str) -> tuple[str, ...]:
        """Methods by mean AUROC, the best first."""

        def key(method: str) -> float:
            value = number(self.mean(method, group).get("auroc"))
            return math.inf if value is None else -value

        return tuple(sorted(self.methods, key=key))

    def known(self, methods: Sequence[str]) -> Sequence[str]:
        """The methods asked for, or all where there are none; refuses one without results."""
        for method in methods:
            if method not in self.methods:
                raise UnknownName(f"the results have no method {method!r}")
        return methods or self.methods

    def first_of_families(self, ranked: Sequence[str]) -> list[str]:
        """The first method of each family, in the order given."""
        first: dict[str, str] = {}
        for method in ranked:
            first.setdefault(self.family(method), method)
        return list(first.values())

    def about(self, method: str) -> Document:
        """Family, reference and curves of a method; empty where the document has none."""
        found: Document = self._of_method.get(method, {})
        return found

    def family(self, method: str) -> str:
        """The parts of a classifier that the method reads; "other" where that is unknown."""
        return str(self.about(method).get("family", "other"))

    def tie(self, method: str, group: str) -> str:
        """Letters of the groups of methods that cannot be told apart; "" where not tested."""
        return self._ties.get(group, {}).get(method, "")

    def seconds(self, method: str, stage: str) -> float | None:
        """Seconds that fitting or scoring took in all.

        None where they are not known, or where an earlier run did some of it.
        """
        spent = (self.document.get("timings") or {}).get(method, {})
        kept = "fit_from_cache" if stage == "fit" and spent.get("fit") else "sets_from_cache"
        return None if spent.get(kept) else number(spent.get(stage))

    def cost(self, method: str) -> float | None:
        """Seconds that scoring takes for ten thousand rows; None where it is not known."""
        rows = self.pictures.get("scored_rows")
        seconds = self.seconds(method, "score")
        return None if not rows or seconds is None else seconds / rows * 1e4


def number(value: Any) -> float | None:
    """A finite figure of the document; None where it is undefined or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def front(marks: Sequence[tuple[float, float, str]]) -> list[str]:
    """Methods that no cheaper one beats, of marks (cost, AUROC, method)."""
    best = -math.inf
    found = []
    for _, auroc, method in sorted(marks, key=lambda mark: (mark[0], -mark[1])):
        if auroc > best:
            best = auroc
            found.append(method)
    return found


def _letters(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """A letter for each group that cannot be told apart; a method has those of all its groups."""
    found: dict[str, str] = {}
    for number_, group in enumerate(groups):
        letter = chr(ord("a") + number_ % 26) + "′" * (number_ // 26)
        for method in group:
            found[method] = found.get(method, "") + letter
    return found


def _check(document: Document) -> None:
    """Refuse what `evaluate` has not written."""
    hint = "give the file that evaluate or benchmark writes with --json-out"
    if not isinstance(document, Mapping) or any(key not in document for key in _NEEDED):
        raise InputError(f"these are no results of an evaluation; {hint}")
    if document.get("schema") != SCHEMA:
        raise InputError(
            f"the results have schema {document.get('schema')!r}, and this version reads {SCHEMA}"
        )
    if not document["results"]:
        raise InputError("the evaluation has no results: no method could run")
    pictures = document.get("pictures") or {}
    for place, keys in _KEYS.items():
        part, _, name = place.rpartition(".")
        holder = pictures if part else document
        found = holder.get(name) if isinstance(holder, Mapping) else None
        entries = [found] if isinstance(found, Mapping) else found or []
        for number_, entry in enumerate(entries):
            lacking = [k for k in keys if not isinstance(entry, Mapping) or k not in entry]
            if lacking:
                raise InputError(f"{place}: entry {number_} has no {lacking[0]!r}; {hint}")
