"""The benchmarks run, on arrays small enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.timing import interleaved, report

ROOT = Path(__file__).resolve().parents[1]


def test_every_benchmark_runs_and_prints_its_ratios() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--scale", "0.01", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for title in ("energy, ", "AUROC + AUPR + FPR95", "knn, bank", "mahalanobis fit"):
        assert title in done.stdout
    assert done.stdout.count("1.00 x ours") >= 6


def test_ratios_are_medians_of_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"ours": np.array([1.0, 2.0, 1.0]), "peer": np.array([3.0, 4.0, 5.0])}
    assert report("title", seconds) == {"ours": 1.0, "peer": 3.0}
    assert "3.00 x ours   (2.00 ... 5.00)" in capsys.readouterr().out


def test_each_round_calls_everything_once() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(v) for v in seconds.values()] == [2, 2]
