"""Long scores are killed, taken up again, locked, and end the same to the last bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit import scoring
from ood_toolkit.io.manifest import MANIFEST
from ood_toolkit.io.part_folder import locked_folder, parts_folder
from ood_toolkit.io.parts import ALIGNMENT
from tests.cli.running import Run, tool

PARTS = 14
ROWS = PARTS * ALIGNMENT - 100

SLOW = """
import os, sys, time
from pathlib import Path
from ood_toolkit import scoring
from ood_toolkit.io.manifest import Parts

scoring.PART_BYTES = scoring.SMALL_BYTES = 1
save = Parts.save
Parts.save = lambda folder, *, at_once=False: save(folder, at_once=True)
write_part, most = scoring.write_part, int(os.environ["MOST_PARTS"])
folder, go = Path(os.environ["PARTS_FOLDER"]), Path(os.environ["GO"])

def slowly(*arguments):
    time.sleep(0.1)
    while len(list(folder.glob("0*.npz"))) >= most and not go.exists():
        time.sleep(0.005)
    return write_part(*arguments)

scoring.write_part = slowly
sys.argv[0] = "ood-toolkit"
from ood_toolkit_cli.main import main
main()
"""
"""The command with small parts, each noted at once; where so many are there, it waits until a
file says go."""


@pytest.fixture(scope="module")
def logits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "x.npz"
    rng = np.random.default_rng(0)
    np.savez(path, logits=rng.normal(size=(ROWS, 4)).astype(np.float32), labels=np.arange(ROWS) % 4)
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PART_BYTES", 1)
    monkeypatch.setattr(scoring, "SMALL_BYTES", 1)


def score(path: Path, out: Path, *options: str, methods: str = "msp,energy") -> Run:
    return tool("score", path, "-m", methods, "-o", out, *options)


@pytest.fixture(scope="module")
def expected(logits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that nobody disturbs writes."""
    folder = tmp_path_factory.mktemp("expected")
    found = {}
    for suffix in ("csv", "npz"):
        run = score(logits, folder / f"s.{suffix}")
        assert run.status == 0, run.err
        found[suffix] = (folder / f"s.{suffix}").read_bytes()
    return found


def go(out: Path) -> Path:
    """The file that a run which waits is waiting for."""
    return out.parent.with_name(f"{out.parent.name}.go")


def started(
    logits: Path, out: Path, *options: str, parts: int = PARTS + 1
) -> subprocess.Popen[bytes]:
    """A run that waits once so many parts are there, however slow the machine is."""
    command = ["score", str(logits), "-m", "msp,energy", "-o", str(out), *options]
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *command],
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "MOST_PARTS": str(parts),
            "PARTS_FOLDER": str(parts_folder(out)),
            "GO": str(go(out)),
        },
    )


def parts_there(out: Path) -> int:
    return len(list(Path(parts_folder(out)).glob("0*.npz")))


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    for _ in range(120_000):
        if parts_there(out) >= count or process.poll() is not None:
            return
        time.sleep(0.005)
    raise AssertionError(f"waited for minutes, and there are {parts_there(out)} parts")


def test_killed_four_times_the_output_is_the_same_and_nothing_is_left(
    logits: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "s.npz"
    out.write_bytes(b"old")
    chance = random.Random(5)
    reached = []
    for number in range(4):
        wanted, more = 2 * (number + 1), ["--resume"] if number else []
        with started(logits, out, *more, parts=wanted + 1) as process:
            wait_for_parts(process, out, wanted)
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=600)
        assert out.read_bytes() == b"old"
        reached.append(parts_there(out))
    assert reached == sorted(reached)
    assert 2 <= reached[0] <= reached[-1] < PARTS
    with started(logits, out, "--resume") as process:
        assert process.wait(timeout=600) == 0
    assert out.read_bytes() == expected["npz"]
    assert os.listdir(tmp_path) == ["s.npz"]


@pytest.fixture
def half_done(logits: Path, tmp_path: Path, small_parts: None) -> Path:
    """An output whose run was killed after some of its parts."""
    out = tmp_path / "s.csv"
    with started(logits, out, parts=7) as process:
        wait_for_parts(process, out, 6)
        process.kill()
    assert 6 <= parts_there(out) < PARTS
    return out


def test_an_unfinished_run_is_neither_forgotten_nor_mixed_with_another(
    logits: Path, expected: dict[str, bytes], half_done: Path
) -> None:
    run = score(logits, half_done)
    assert run.status == 3
    assert f"of {PARTS} parts; go on with --resume, or begin anew with --force" in run.error
    run = score(logits, half_done, "--resume", methods="msp")
    assert run.status == 3
    assert "an unfinished run is there that differs in methods; repeat that one, write" in run.error
    assert not half_done.exists()
    assert score(logits, half_done, "--force").status == 0
    assert half_done.read_bytes() == expected["csv"]
    assert os.listdir(half_done.parent) == ["s.csv"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_part_that_was_damaged_between_runs_is_made_again(
    damage: str, logits: Path, expected: dict[str, bytes], half_done: Path
) -> None:
    part = Path(parts_folder(half_done)) / "00000002.npz"
    raw = part.read_bytes()
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(raw[:-1] if damage == "cut" else raw[:500] + b"?" + raw[501:])
    run = score(logits, half_done, "--resume")
    assert run.status == 0
    assert "Warning: " in run.err
    assert "1 parts had changed and were made again" in run.err
    assert half_done.read_bytes() == expected["csv"]


def test_a_finished_run_of_other_methods_is_said_to_be_finished(
    files: Path, tmp_path: Path
) -> None:
    given = ("score", files / "test.npz", "-o", tmp_path / "parts" / "*.parquet", "-m")
    assert tool(*given, "msp").status == 0
    run = tool(*given, "energy")
    assert run.status == 3
    assert run.error.endswith(
        "a finished run is there that differs in methods; write elsewhere, or begin anew with "
        "--force"
    )
    assert tool(*given, "energy", "--force").status == 0


def test_an_input_that_changed_is_another_job(half_done: Path, logits: Path) -> None:
    os.utime(logits)
    run = score(logits, half_done, "--resume")
    assert run.status == 3
    assert "an unfinished run is there that differs in inputs; " in run.error


def test_of_two_drivers_one_is_refused(
    logits: Path, expected: dict[str, bytes], tmp_path: Path, small_parts: None
) -> None:
    out = tmp_path / "s.csv"
    with started(logits, out, parts=2) as process:
        wait_for_parts(process, out, 1)
        for options in ([], ["--resume"], ["--force"]):
            run = score(logits, out, *options)
            assert run.status == 3
            assert f"is being written by process {process.pid} on " in run.error
        go(out).touch()
        assert process.wait(timeout=600) == 0
    assert out.read_bytes() == expected["csv"]
    assert os.listdir(tmp_path) == ["s.csv"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_be_taken_up(
    number: signal.Signals, logits: Path, expected: dict[str, bytes], tmp_path: Path,
    small_parts: None,
) -> None:  # fmt: skip
    out = tmp_path / "s.csv"
    with started(logits, out, parts=4) as process:
        wait_for_parts(process, out, 3)
        process.send_signal(number)
        go(out).touch()
        assert process.wait(timeout=600) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert not out.exists()
    assert score(logits, out, "--resume").status == 0
    assert out.read_bytes() == expected["csv"]


def test_a_row_that_cannot_be_scored_leaves_no_parts(tmp_path: Path, small_parts: None) -> None:
    rows = np.zeros((3 * ALIGNMENT, 2), np.float32)
    rows[2 * ALIGNMENT + 5, 1] = np.nan
    np.save(tmp_path / "x.npy", rows)
    out = tmp_path / "s.npz"
    out.write_bytes(b"old")
    run = score(tmp_path / "x.npy", out)
    assert run.status == 3
    assert f"logits: row {2 * ALIGNMENT + 5} holds NaN" in run.error
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["s.npz", "x.npy"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz", "parquet"])
def test_parts_or_not_the_output_is_the_same(
    suffix: str, logits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / f"whole.{suffix}", tmp_path / f"parts.{suffix}"
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((5, 4), np.float32))
    monkeypatch.setattr(scoring, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(scoring, "SMALL_BYTES", 1)
    assert tool("score", logits, other, "-m", "energy", "-o", parts).status == 0
    monkeypatch.setattr(scoring, "SMALL_BYTES", 1 << 30)
    monkeypatch.setattr(scoring, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(scoring.ScoreJob, "small", lambda self, room: True)
    assert tool("score", logits, other, "-m", "energy", "-o", whole).status == 0
    assert parts.read_bytes() == whole.read_bytes()
    if suffix == "csv":
        monkeypatch.setattr(scoring.ScoreJob, "small", lambda self, room: False)
        printed = tool("score", logits, other, "-m", "energy")
        assert printed.out.encode() == whole.read_bytes()
        first, second = whole.read_text().splitlines()[1], whole.read_text().splitlines()[-1]
        assert first.split(",")[1] == "0"
        assert second.split(",")[:4] == [str(other), "4", "0", "-1"]


def mounted(folder: Path) -> bool:
    """Whether a file system of one mebibyte could be mounted there."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return False
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_leaves_the_old_output_and_can_be_taken_up(
    logits: Path, expected: dict[str, bytes], tmp_path: Path, small_parts: None
) -> None:
    folder = tmp_path / "small"
    if not mounted(folder):
        pytest.skip("no small file system can be mounted here")
    try:
        out = folder / "s.csv"
        out.write_text("old")
        run = score(logits, out)
        assert run.status == 3
        assert "cannot be written: the disk is full; what was there is intact" in run.error
        assert out.read_text() == "old"
        grown = ["mount", "-o", "remount,size=64m", str(folder)]
        subprocess.run(grown, check=True, capture_output=True)
        assert score(logits, out, "--resume").status == 0
        assert out.read_bytes() == expected["csv"]
        assert os.listdir(folder) == ["s.csv"]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_that_cannot_be_written_is_told(
    logits: Path, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    run = score(logits, tmp_path / "s.csv")
    assert run.status == 3
    assert "cannot be written; choose another" in run.error


def test_the_lock_of_a_dead_process_stands_in_nobodys_way(tmp_path: Path) -> None:
    folder = Path(parts_folder(tmp_path / "s.csv"))
    folder.mkdir()
    (folder / ".lock").write_text("process 1 on nowhere")
    (folder / ".abc.partial").write_text("half of it")
    with locked_folder(tmp_path / "s.csv") as store:
        assert MANIFEST not in store.names()
    assert os.listdir(tmp_path) == []


SIZES = [("4096", 4096), ("250MB", 250_000_000), ("512MiB", 1 << 29), ("1.5 kB", 1500), ("2g", 2e9)]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    from ood_toolkit_cli.kinds import Size

    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "lots", "-1MB", "1iB", "1 XB"])
def test_what_is_no_size_is_wrong_usage(text: str, logits: Path) -> None:
    run = tool("score", logits, "-m", "msp", "--memory", text)
    assert run.status == 2
    assert "no size" in " ".join(run.err.split())


def test_too_little_memory_is_told(logits: Path) -> None:
    run = tool("score", logits, "-m", "msp", "--memory", "1MB")
    assert run.status == 3
    assert "is too little: this process takes" in run.error
