"""The Notes of a detector's docstring: what the method costs, where it works and where it fails.

They have a fixed form, so that the page of methods can show each part in its place.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass

from numpydoc.docscrape import NumpyDocString

__all__ = ["ORDER", "MethodNotes", "method_notes", "read_notes"]

ORDER = r"O\((?:[^()]|\([^()]*\))*\)"
"""An order of growth, with parentheses in it or without."""

COST = re.compile(
    rf"Fit (?:nothing|(?P<fit_time>{ORDER}) time, (?P<fit_memory>{ORDER}) memory); "
    rf"score (?P<score_time>{ORDER}) time, (?P<score_memory>{ORDER}) memory(?:; (?P<more>.+))?\."
)

VERDICT = re.compile(r"Works where (?P<works>[^;]+); fails where (?P<fails>[^;]+)\.")


@dataclass(frozen=True, slots=True)
class MethodNotes:
    """What the Notes say.

    Attributes
    ----------
    fit_time, fit_memory : str
        Orders of growth; empty where nothing is fitted.
    score_time, score_memory : str
        The same of scoring.
    more : str
        What letters mean, or when the cost is another; may be empty.
    works, fails : str
        What follows "where".
    """

    fit_time: str
    fit_memory: str
    score_time: str
    score_memory: str
    more: str
    works: str
    fails: str


def method_notes(detector: type) -> MethodNotes:
    """The notes of a detector.

    Raises
    ------
    ValueError
        If its docstring has none in the fixed form.
    """
    lines = NumpyDocString(inspect.getdoc(detector) or "")["Notes"]
    return read_notes(detector.__name__, lines)


def read_notes(name: str, lines: Iterable[str]) -> MethodNotes:
    """Notes from the lines of the section: a paragraph on cost, then one on where it works.

    Raises
    ------
    ValueError
        If they have another form.
    """
    paragraphs = [" ".join(text.split()) for text in "\n".join(lines).strip().split("\n\n")]
    found = [COST.fullmatch(paragraphs[0]), VERDICT.fullmatch(paragraphs[-1])]
    if len(paragraphs) != 2 or None in found:
        raise ValueError(
            f"{name}: the Notes of its docstring must be two paragraphs, `Fit O(...) time, O(...) "
            "memory; score O(...) time, O(...) memory.` (or `Fit nothing; score ...`) and `Works "
            "where ...; fails where ....`"
        )
    parts = {key: text or "" for match in found if match for key, text in match.groupdict().items()}
    return MethodNotes(**parts)
