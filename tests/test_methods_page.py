"""The page of methods: what every method costs, where it works, and the figures it shows."""

from __future__ import annotations

import dataclasses
import re
import warnings

import numpy as np
import pytest

from docs.method_notes import method_notes, read_notes
from docs.methods_page import figures, methods_page
from docs.open_cases import results
from ood_toolkit.detectors import make_detector, registered
from ood_toolkit.detectors.planner import fit_method
from tests.cases import record

ROWS = {row.name: row for row in registered()}
each_method = pytest.mark.parametrize("name", list(ROWS))


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Text of each method's section by its name."""
    _, *parts = re.split(r"^\(method-(\w+)\)=\n", methods_page(), flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@each_method
def test_a_method_says_what_it_costs_and_where_it_works(name: str) -> None:
    row = ROWS[name]
    notes = method_notes(row.detector)
    assert bool(notes.fit_time) == bool(notes.fit_memory) == row.fits
    assert "N" in notes.score_time
    assert len(notes.works) > 30
    assert len(notes.fails) > 30


@each_method
def test_every_letter_of_a_cost_is_explained(name: str) -> None:
    notes = method_notes(ROWS[name].detector)
    costs = " ".join((notes.fit_time, notes.fit_memory, notes.score_time, notes.score_memory))
    letters = set(re.findall(r"[A-Za-z]+", re.sub(r"\bO\(|\blog\b", " ", costs)))
    explained = {"N", "C", "D", "B", *re.findall(r"\w+", notes.more)}
    explained |= {parameter.name for parameter in ROWS[name].parameters}
    assert letters <= explained


def test_no_verdict_is_given_twice() -> None:
    verdicts = [(n.works, n.fails) for n in (method_notes(row.detector) for row in ROWS.values())]
    assert len({works for works, _ in verdicts}) == len(verdicts)
    assert len({fails for _, fails in verdicts}) == len(verdicts)


COST = "Fit O(N D) time, O(D) memory; score O(N (C + D)) time, O(N) memory; k rows."
VERDICT = "Works where rows are far apart, as here; fails where not."


def test_the_form_of_notes() -> None:
    found = read_notes("a", [COST[:30], COST[30:], "", VERDICT])
    assert (found.fit_time, found.fit_memory) == ("O(N D)", "O(D)")
    assert (found.score_time, found.score_memory, found.more) == ("O(N (C + D))", "O(N)", "k rows")
    assert (found.works, found.fails) == ("rows are far apart, as here", "not")
    nothing = read_notes("a", ["Fit nothing; score O(N) time, O(1) memory.", "", VERDICT])
    assert (nothing.fit_time, nothing.fit_memory, nothing.more) == ("", "", "")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [COST],
        [VERDICT],
        [VERDICT, "", COST],
        [COST, "", VERDICT, "", VERDICT],
        [COST.replace("; score", ". Score"), "", VERDICT],
        [COST.replace(" memory; k rows", ""), "", VERDICT],
        [COST, "", VERDICT.partition(";")[0] + "."],
    ],
)
def test_notes_of_another_form_are_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="a: the Notes of its docstring must be"):
        read_notes("a", lines)


def held(value: object) -> int:
    """Numbers in the arrays of a fitted scorer."""
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, list | tuple):
        return sum(map(held, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
        return sum(held(getattr(value, field)) for field in fields if field != "detector")
    return 0


@pytest.mark.parametrize("name", [row.name for row in ROWS.values() if row.fits])
def test_a_cost_counts_training_rows_where_the_scorer_keeps_them(name: str) -> None:
    """What is kept grows with the training rows where B is in the cost, and nowhere else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small training sets: clamped k
        few, many = (
            held(fit_method(make_detector(name), record(rows, seed=3))) for rows in (300, 1200)
        )
    if "B" in re.findall(r"\w+", method_notes(ROWS[name].detector).score_time):
        assert many > 2 * few
    else:
        assert many < 1.5 * max(few, 8)


@each_method
def test_the_page_shows_cost_and_verdict(name: str, sections: dict[str, str]) -> None:
    notes, text = method_notes(ROWS[name].detector), sections[name]
    assert f"score `{notes.score_time}` time, `{notes.score_memory}` memory" in text
    assert ("Cost: fit `" in text) == ROWS[name].fits
    assert f"Works where {notes.works}; fails where {notes.fails}." in text


@each_method
def test_the_table_shows_the_times(name: str) -> None:
    notes = method_notes(ROWS[name].detector)
    [line] = [part for part in methods_page().split("\n") if part.startswith(f"| [`{name}`](")]
    fit = f"`{notes.fit_time}`" if notes.fit_time else ""
    assert line.endswith(f" | {fit} | `{notes.score_time}` |")


@each_method
def test_the_page_shows_the_figures_of_the_open_cases(name: str, sections: dict[str, str]) -> None:
    shown = {}
    for line in re.findall(r"^On the open cases, AUROC in percent: (.*)\.$", sections[name], re.M):
        shown = dict(re.findall(r"`(\w+)` ([\d.*]+)", line))
    ran = {case: found["mean"] for case, found in results().items() if name in found["mean"]}
    assert set(shown) == set(ran)
    for case, mean in ran.items():
        assert shown[case].strip("*") == f"{100 * mean[name]:.2f}"
        assert shown[case].startswith("**") == all(mean[name] >= other for other in mean.values())
    if not ran:
        assert "On the open cases: none; it needs " in sections[name]


def test_figures_of_a_method() -> None:
    cases = {
        "x": {"mean": {"a": 0.9, "b": 0.8}, "absent": {"c": "needs members"}},
        "y": {"mean": {"b": 0.75}, "absent": {"a": "needs head", "c": "needs members"}},
    }
    assert figures("a", cases) == "On the open cases, AUROC in percent: `x` **90.00**."
    assert figures("b", cases) == "On the open cases, AUROC in percent: `x` 80.00, `y` **75.00**."
    assert figures("c", cases) == "On the open cases: none; it needs members."
    assert figures("d", cases) == ""
