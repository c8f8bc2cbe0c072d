"""Names that look like markup are shown as they are; `-q` keeps what a status is due to."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from ood_toolkit_cli.console import print_table, progress

from tests.cli.running import save, tool

NAMES = ("[red]y", "[bold]", "[link]z[/link]", "a[/]")
SLASHED = "[/b]/x"


def test_sets_of_an_evaluation(files: Path) -> None:
    far = files / "far.npz"
    sets = [word for name in (*NAMES, SLASHED) for word in ("--ood", f"{name}={far}")]
    run = tool("evaluate", "--id", files / "test.npz", *sets, "-m", "msp", "--bootstrap", "0", "-q")
    assert run.status == 0, run.err
    header = run.out.split("──")[0]
    for name in ("[red]y", "[bold]", "[link]z[", "(a[", "[/b]"):
        assert name in header


def test_arrays_that_info_lists(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, **{"logits": np.eye(3), "[/red]": np.zeros(3), "[red]q": np.zeros(3)})
    run = tool("info", path)
    assert run.status == 0, run.err
    lines = run.out.splitlines()
    assert any("[/red]" in line for line in lines)
    assert any("[red]q" in line for line in lines)


def test_files_that_are_compared(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "[bold]run.json"
    words = ("--id", files / "test.npz", "--ood", f"x={files / 'far.npz'}", "-m", "msp", "-q")
    assert tool("evaluate", *words, "--bootstrap", "0", "--json-out", path).status == 0
    held = json.loads(path.read_text())
    for row in (*held["results"], *held["means"]):
        row["method"] = "[/red]"
    path.write_text(json.dumps(held))
    run = tool("compare", path)
    assert run.status == 0, run.err
    assert "[bold]run" in run.out
    assert "[/red]" in run.out


def test_words_of_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with mock.patch.object(sys, "stderr", stream), progress(2, quiet=False) as step:
        step("score [/b]")
        step("rank [red]y")
    assert "rank [red]y" in stream.getvalue()


def test_a_table_of_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["[b]", "x"], [["[/i]", "1"]], left=["[b]"])
    out = capsys.readouterr().out
    assert "[b]" in out
    assert "[/i]" in out


def test_what_a_usage_error_quotes() -> None:
    run = tool("evaluate", "--id", "a.npz", "--ood", "[/b]", "-m", "msp")
    assert run.status == 2
    assert "--ood [/b]: expected [GROUP/]NAME=FILE" in run.err


def test_quiet_keeps_what_failed(files: Path, tmp_path: Path) -> None:
    train = save(tmp_path / "bare.npz", logits=np.eye(4))
    words = ("-m", "msp,knn", "-q", "--train", train)
    near = ("--id", files / "test.npz", "--ood", f"x={files / 'near.npz'}", "--bootstrap", "0")
    for run in (
        tool("evaluate", *near, *words),
        tool("errors", files / "test.npz", *words),
        tool("stress", files / "test.npz", *words),
    ):
        assert run.status == 4
        lines = run.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("Failed: knn: ")
