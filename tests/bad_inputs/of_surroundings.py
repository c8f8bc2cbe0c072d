"""Rows 76 to 80: what is asked for, and where the command runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from unittest import mock

from tests.bad_inputs.table import refused, row
from tests.cli.running import TOOL, csv_rows, tool


@row(76)
def unknown_or_wrong_settings(good: Path, folder: Path) -> None:
    score = ("score", good / "test.npz", "-m", "energy", "--set")
    refused(2, "did you mean temperature", run=(*score, "temprature=1"))
    refused(2, "temperature takes float, got 'warm'", run=(*score, "temperature=warm"))
    refused(2, "write 512MiB", run=("score", good / "test.npz", "-m", "energy", "--memory", "lots"))
    table = ("evaluate", "--id", good / "test.npz", "--ood", f"a={good / 'far.npz'}", "-m", "msp")
    with mock.patch.dict(os.environ, {"OOD_TOOLKIT_CACHE": str(folder / "one")}):
        run = tool(*map(str, table), "--cache", str(folder / "two"), "--show-config", "--json")
    assert run.document["settings"]["--cache"]["value"] == str(folder / "two")
    assert list(folder.iterdir()) == []


@row(77)
def unknown_methods(good: Path, folder: Path) -> None:
    score = ("score", good / "test.npz", "-m")
    refused(2, "unknown method 'energie'; did you mean energy", run=(*score, "energie"))
    run = tool(*map(str, score), "energy,energy", "-m", "energy")
    assert run.status == 0
    assert csv_rows(run.out)[0].count("energy") == 1
    refused(2, "--resume", run=(*score, "energy", "--resume"))
    refused(2, "--json", run=(*score, "energy", "--json"))


@row(78)
def negative_seed(good: Path, folder: Path) -> None:
    refused(2, "seed", run=("evaluate", "--id", good / "test.npz", "--ood",
                            f"a={good / 'far.npz'}", "-m", "msp", "--seed", "-1"))  # fmt: skip


SURROUNDINGS = {
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "HOME": "/nowhere"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "dumb and narrow": {"COLUMNS": "1", "TERM": "dumb", "NO_COLOR": "1"},
}


def same_in(environment: dict[str, str], good: Path) -> None:
    arguments = ["score", str(good / "test.npz"), "-m", "msp,energy"]
    expected = tool(*arguments)
    run = subprocess.run([TOOL, *arguments], env=environment, stdin=subprocess.DEVNULL,
                         capture_output=True, check=False)  # fmt: skip
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode("ascii") == expected.out


@row(79)
def surroundings(good: Path, folder: Path) -> None:
    for environment in SURROUNDINGS.values():
        same_in(environment, good)


@row(80)
def one_thread_and_a_clock_that_goes_back(good: Path, folder: Path) -> None:
    later = 4_000_000_000
    os.utime(good / "test.npz", (later, later))
    same_in({"NUMBA_NUM_THREADS": "1", "NUMBA_CACHE_DIR": "/proc/nowhere"}, good)
    same_in({"OOD_TOOLKIT_THREADS": "1", "OMP_NUM_THREADS": "1"}, good)
