"""The simulation behind the page of decisions, with fewer repetitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import decision_guarantees as simulation
from ood_toolkit import decision

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore::ood_toolkit.errors.ToolkitWarning")
@pytest.mark.parametrize("number", range(len(simulation.CHECKS)))
def test_every_promise_holds(number: int) -> None:
    rng = np.random.default_rng((simulation.SEED, number))
    found = list(simulation.CHECKS[number](rng, 120))
    assert [row.row() for row in found if not row.holds] == []


def test_a_broken_promise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold at the plain rate, in place of the guaranteed one, fails every other time."""
    plain = decision.Threshold.at_tpr
    monkeypatch.setattr(
        decision.Threshold, "guaranteed", lambda scores, tpr, delta: plain(scores, tpr)
    )
    rows = list(simulation.thresholds(np.random.default_rng(0), 120))
    assert not any(row.holds for row in rows)
    assert all("**no**" in row.row() for row in rows)


def test_bands_are_those_of_the_binomial_law() -> None:
    exact = simulation.Count("a", "b", "c", 0.05, False, 100, 2000)
    assert exact.band == (0.038, 0.063)  # 2.58 sd are 0.0126
    assert exact.holds
    assert not simulation.Count("a", "b", "c", 0.05, False, 75, 2000).holds
    assert simulation.Count("a", "b", "c", 0.05, True, 75, 2000).holds
    assert not simulation.Count("a", "b", "c", 0.05, True, 130, 2000).holds
    low = simulation.Mean("a", "b", "c", 0.1, np.linspace(0.0, 0.2, 101))
    assert low.holds
    assert not simulation.Mean("a", "b", "c", 0.05, low.values).holds


def test_the_tables_are_written_between_their_markers(tmp_path: Path, monkeypatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- begin: benchmarks.decision_guarantees -->\nold\n"
                    "<!-- end: benchmarks.decision_guarantees -->\nb\n")  # fmt: skip
    monkeypatch.setattr(simulation, "CHECKS", (simulation.thresholds, simulation.batches))
    options = ["--repetitions", "60", "--streams", "3", "--write", str(page)]
    assert simulation.main(options) == 0
    text = page.read_text()
    assert text.startswith("a\n")
    assert text.endswith("b\n")
    assert "\nold\n" not in text
    assert text.count("| guaranteed threshold |") == 3
    assert text.count("| row 1000 |") == 2


def test_the_page_shows_what_held() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- begin: benchmarks.decision_guarantees -->")
    table, _, _ = rest.partition("<!-- end: benchmarks.decision_guarantees -->")
    rows = [line for line in table.splitlines() if line.endswith(("| yes |", "| **no** |"))]
    assert len(rows) >= 25
    assert simulation.promises.HEADER in table
    promises = {row.split("|")[1].strip() for row in rows}
    assert {"guaranteed threshold", "p-value", "monitor", "selective risk"} <= promises
