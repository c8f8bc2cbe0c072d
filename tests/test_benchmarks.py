"""The benchmarks run, on arrays small enough for a test, and what they write is read right."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.limits import _parity, one_read
from benchmarks.peers import MISSING, installed
from benchmarks.results import (
    Case,
    Report,
    Spread,
    Subject,
    figure,
    magnitude,
    read_report,
    write_report,
)
from benchmarks.suite import PEERS, SUBJECTS
from benchmarks.tables import case_rows, duration
from benchmarks.targets import AT_MOST, TARGETS, Target, verdicts
from benchmarks.timing import agree, interleaved
from docs.performance_page import performance_page

ROOT = Path(__file__).resolve().parents[1]


class Run(NamedTuple):
    """A run of every benchmark at tiny scale."""

    printed: str
    path: Path
    report: Report


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("benchmarks") / "tiny.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--scale", "tiny", "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return Run(done.stdout, path, read_report(path))


def test_every_subject_is_measured_and_every_missing_peer_named(tiny: Run) -> None:
    assert tuple(tiny.report.subjects) == SUBJECTS
    for name in PEERS:
        assert (f"left out: {name}\n" in tiny.printed) != installed(name)


def test_every_target_has_a_figure_or_a_reason(tiny: Run) -> None:
    found = verdicts(tiny.report)
    assert [verdict.target for verdict in found] == list(TARGETS)
    known = (MISSING, "peak memory is read from /proc", "measured at full scale only")
    for verdict in found:
        if verdict.found is None:
            assert verdict.word.endswith(known), verdict
        else:
            assert verdict.word == ("reached" if verdict.word[0] == "r" else "not reached")
            assert np.isfinite(verdict.found.median)
    assert sum(verdict.found is not None for verdict in found) > 40


def test_ours_reaches_what_does_not_depend_on_size(tiny: Run) -> None:
    """Accuracy, and imports of the command line."""
    words = {
        (v.target.subject, v.target.case, v.target.reading): v.word for v in verdicts(tiny.report)
    }
    for dtype in ("float32", "float64"):
        assert words["accuracy", "all", f"ours, {dtype}, ulp"] == "reached"
    for command in ("--help", "score"):
        assert words["commands", command, "of torch and scikit-learn, ms"] == "reached"


def test_results_name_neither_host_nor_folder(tiny: Run) -> None:
    texts = (tiny.path.read_text(encoding="utf-8"), tiny.printed, performance_page(tiny.report))
    for text in texts:
        for private in (str(ROOT), str(tiny.path.parent), sys.prefix):
            assert private not in text
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)


def test_the_page_shows_every_figure(tiny: Run) -> None:
    page = performance_page(tiny.report)
    for target in TARGETS:
        assert f"| {target.subject} | {target.case} | {target.reading} |" in page
    for subject in tiny.report.subjects.values():
        for case in subject.cases:
            assert f"**{case.name}**" in page


def test_one_subject_replaces_its_part_only(tiny: Run, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    energy = Subject(9, 0.0, [Case("old")])
    write_report(replace(tiny.report, subjects={"energy": energy, "vim": energy}), path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "vim", "--scale", "tiny", "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    after = read_report(path)
    assert after.subjects["energy"] == energy
    assert [case.name for case in after.subjects["vim"].cases] == ["D = 1,024", "D = 4,096"]
    assert "energy" not in done.stdout


def test_results_of_another_machine_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_report(Report("full", {"processor": "another"}, {}, {}), path)
    with pytest.raises(SystemExit, match="another machine"):
        main(["vim", "--scale", "tiny", "--json", str(path)])


def test_a_subject_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["energies"])
    assert "no subject 'energies'" in capsys.readouterr().err


# The parts


def test_each_round_calls_everything_once_and_begins_elsewhere() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls[-6:] == ["a", "b", "b", "a", "a", "b"]
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_quick_candidates_are_called_until_the_time_is_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    # by this clock every call takes a thousandth of a second
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: 1e-3 * len(calls))
    seconds = interleaved({"a": lambda: calls.append(1)}, 1, least=0.0255)
    assert len(calls) == 1 + 1 + 26  # to compile it, to time it, and for as long as was asked
    assert seconds["a"] == [pytest.approx(1e-3)]


def test_slow_candidates_run_less(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = {"quick": 0.1, "slow": 2.0, "very slow": 9.0, "endless": 30.0}
    calls: list[str] = []

    def timed(call: object, times: int) -> float:
        name = call()  # type: ignore[operator]
        calls.append(name)
        return durations[name] * times

    monkeypatch.setattr("benchmarks.timing._timed", timed)
    seconds = interleaved({name: (lambda name=name: name) for name in durations}, 5)
    assert {name: len(values) for name, values in seconds.items()} == {
        "quick": 5,
        "slow": 3,
        "very slow": 1,
        "endless": 1,
    }
    assert calls.count("very slow") == 2  # the first call may have compiled
    assert calls.count("endless") == 1


def test_a_candidate_that_computes_something_else_is_not_timed() -> None:
    calls = {"ours": lambda: np.ones(3), "peer": lambda: np.array([1.0, 1.0, 1.1])}
    agree(calls, ["peer", "absent"], 0.2)
    with pytest.raises(AssertionError, match="peer"):
        agree(calls, ["peer"], 0.01)


def test_one_read_reads_all_words() -> None:
    words = np.random.default_rng(0).integers(0, 2**63, 700_001).astype(np.uint64)
    assert _parity(words) == np.bitwise_xor.reduce(words)
    assert one_read(words)() is None


def test_ratios_are_taken_round_by_round() -> None:
    case = Case("c", seconds={"a": [3.0, 4.0, 5.0], "ours": [1.0, 2.0, 1.0], "slow": [8.0]})
    assert figure(case, "a / ours") == Spread(3.0, 2.0, 5.0)
    assert figure(case, "slow / ours") == Spread(8.0, 8.0, 8.0)
    assert figure(case, "ours") == Spread(1.0, 1.0, 2.0)
    assert figure(case, "a / none") is figure(case, "none / a") is None
    assert case_rows(case)[0] == ("a", "4.00 s", "3.00 (2.00 … 5.00)", "")


def test_a_bar_can_be_met_from_either_side() -> None:
    least, most = Target("s", "c", "x", "≥", 2.0), Target("s", "c", "x", AT_MOST, 2.0)
    assert [least.reached(x) for x in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [most.reached(x) for x in (1.9, 2.0, 2.1)] == [True, True, False]


def test_targets_are_named_once_and_of_known_subjects() -> None:
    keys = [(t.subject, t.case, t.reading) for t in TARGETS]
    assert len(set(keys)) == len(keys)
    assert {t.subject for t in TARGETS} <= set(SUBJECTS)


def test_a_report_comes_back_as_written(tmp_path: Path) -> None:
    case = Case(
        "c", "3 × 4", {"ours": [0.12346, 2e-7]}, {"peak, MB": [5.0]}, {"jax": MISSING}, ["é"], 48
    )
    report = Report("full", {"processor": "p"}, {"numpy": "2"}, {"s": Subject(2, 0.5, [case])})
    write_report(report, tmp_path / "r.json")
    case.seconds["ours"] = [0.1235, 2e-7]
    assert read_report(tmp_path / "r.json") == report


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "0"), (0.0123, "0.0123"), (0.5, "0.50"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_numbers_have_three_digits(value: float, told: str) -> None:
    assert magnitude(value) == told


def test_durations_have_units() -> None:
    assert [duration(s) for s in (2.0, 0.0131, 6.2e-7)] == ["2.00 s", "13.1 ms", "620 ns"]
