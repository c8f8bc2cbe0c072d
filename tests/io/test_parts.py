"""Parts, their receipts and their manifest: what a killed run leaves is used or made again."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ood_toolkit.errors import DataError
from ood_toolkit.io.manifest import MANIFEST, Parts
from ood_toolkit.io.part_folder import FolderStore, finish, locked_folder, parts_folder
from ood_toolkit.io.parts import ALIGNMENT, decoded, encoded, plan_parts, write_part

JOB = {"methods": {"energy": {"temperature": 1.0}}, "inputs": [{"file": "x.npy", "rows": 5}]}
PLAN = plan_parts([3 * ALIGNMENT - 5, 0, 7], [1, 1, 1])


def arrays(number: int) -> dict[str, Any]:
    rows = len(PLAN[number])
    return {"index": np.arange(rows), "energy": np.full(rows, number / 7)}


def begun(folder: Path, job: Any = JOB, **options: bool) -> Parts:
    folder.mkdir(exist_ok=True)
    parts = Parts("scores.npz", FolderStore(str(folder)), job, PLAN)
    parts.begin(**options)
    return parts


def made(parts: Parts, *numbers: int) -> Parts:
    for number in numbers:
        parts.note(write_part(parts.store, PLAN[number], arrays(number)))
    parts.save(at_once=True)
    return parts


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**5)), min_size=1, max_size=4))
def test_a_plan_covers_every_row_once_and_cuts_no_chunk(sizes: list[tuple[int, int]]) -> None:
    plan = plan_parts([rows for rows, _ in sizes], [wanted for _, wanted in sizes])
    assert [part.number for part in plan] == list(range(len(plan)))
    for source, (rows, wanted) in enumerate(sizes):
        own = [part for part in plan if part.source == source]
        assert own[0].start == 0
        assert own[-1].stop == rows
        for before, after in itertools.pairwise(own):
            assert before.stop == after.start
            assert after.start % ALIGNMENT == 0
            assert wanted <= len(before) < wanted + ALIGNMENT


def test_the_same_arrays_are_the_same_bytes_and_come_back() -> None:
    data = encoded(arrays(3))
    assert data == encoded(arrays(3))
    back = decoded("x", data)
    assert list(back) == ["index", "energy"]
    for key, array in arrays(3).items():
        np.testing.assert_array_equal(back[key], array)
        assert back[key].dtype == array.dtype


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_what_is_no_part_is_refused(cut: int) -> None:
    with pytest.raises(DataError, match="damaged"):
        decoded("x", encoded(arrays(3))[:cut])


def test_a_run_goes_on_where_it_was_left(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(begun(folder), 0, 2)
    with pytest.raises(DataError, match=r"2 of 5 parts; go on with --resume, or .* --force"):
        begun(folder)
    parts = begun(folder, resume=True)
    assert [part.number for part in parts.missing()] == [1, 3, 4]
    made(parts, 1, 3, 4)
    for number, (part, table) in enumerate(parts.tables()):
        assert part == PLAN[number]
        np.testing.assert_array_equal(table["energy"], arrays(number)["energy"])
    assert begun(folder, resume=True).missing() == []
    assert len(begun(folder, force=True).missing()) == len(PLAN)
    assert os.listdir(folder) == [MANIFEST]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_part_that_changed_between_runs_is_made_again(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(begun(folder), 0, 1, 2)
    victim = folder / PLAN[1].name
    raw = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(raw[:-7] if damage == "cut" else raw[:90] + b"?" + raw[91:])
    parts = begun(folder, resume=True)
    assert parts.remade == [1]
    assert [part.number for part in parts.missing()] == [1, 3, 4]
    with pytest.raises(DataError, match="is missing or was changed"):
        parts.table(PLAN[1])
    made(parts, 1)
    assert victim.read_bytes() == raw


@pytest.mark.parametrize("key", ["methods", "inputs"])
def test_parts_of_another_job_are_refused(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(begun(folder), 0)
    other = {**JOB, key: "other"}
    with pytest.raises(DataError, match=f"an unfinished run is there that differs in {key};"):
        begun(folder, other, resume=True)
    assert len(begun(folder, other, force=True).missing()) == len(PLAN)


MANIFESTS = [
    ("", "is damaged"),
    ("[]", "is damaged"),
    ('{"format": 1}', "is damaged"),
    ('{"format": 1, "job": {}, "parts": [{"number": 0}]}', "is damaged"),
    ('{"format": 2, "job": {}, "parts": []}', "is of a later toolkit"),
]


@pytest.mark.parametrize(("text", "words"), MANIFESTS)
def test_a_damaged_manifest_is_refused_unless_forced(text: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(begun(folder), 0)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=words):
        begun(folder, resume=True)
    assert begun(folder, force=True).done == {}


def test_files_of_others_are_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(begun(folder), 0)
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match=r"thesis\.tex: lies among its parts and is none"):
        begun(folder, force=True)
    assert (folder / PLAN[0].name).exists()


def test_the_manifest_says_what_the_parts_are(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    parts = made(begun(folder), 2, 0)
    parts.note_failure(PLAN[1], "its worker died")
    parts.save(at_once=True)
    found = json.loads((folder / MANIFEST).read_text())
    assert found["job"]["methods"] == JOB["methods"]
    assert found["job"]["toolkit"]
    assert [receipt["number"] for receipt in found["parts"]] == [0, 2]
    assert found["parts"][0]["rows"] == ALIGNMENT
    assert found["failed"] == [{"part": 1, "reason": "its worker died"}]
    assert made(parts, 1).failed == {}


def test_the_output_takes_its_place_and_the_parts_go(tmp_path: Path) -> None:
    output = tmp_path / "x" / "scores.txt"
    output.parent.mkdir()
    output.write_text("old")

    def run(*numbers: int, writes: str) -> None:
        with locked_folder(output) as store:
            parts = Parts(str(output), store, JOB, PLAN)
            parts.begin(resume=True)
            made(parts, *numbers)
            finish(parts, store, str(output), lambda path: path.write_text(writes))

    with pytest.raises(DataError, match="is missing"):
        run(0, 1, writes="too early")
    assert output.read_text() == "old"
    assert sorted(os.listdir(output.parent)) == [".scores.txt.parts", "scores.txt"]
    run(2, 3, 4, writes="new")
    assert output.read_text() == "new"
    assert os.listdir(output.parent) == ["scores.txt"]


def test_a_run_killed_after_the_output_was_put_in_place_is_only_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.txt"

    def killed(self: FolderStore, name: str) -> None:
        raise KeyboardInterrupt

    def run(writes: str, *numbers: int) -> None:
        with locked_folder(output) as store:
            parts = Parts(str(output), store, JOB, PLAN)
            parts.begin(resume=True)
            made(parts, *numbers)
            finish(parts, store, str(output), lambda path: path.write_text(writes))

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            run("whole", *range(len(PLAN)))
    assert output.read_text() == "whole"
    run("not written again")
    assert output.read_text() == "whole"
    assert os.listdir(tmp_path) == ["scores.txt"]


def test_a_name_as_long_as_can_be_has_a_folder_of_parts(tmp_path: Path) -> None:
    output = tmp_path / ("a" * 251 + ".csv")
    with locked_folder(output) as store:
        store.write("x", b"1")
        assert store.read("x") == b"1"
    assert os.path.isdir(parts_folder(output))


HOLDER = """
import sys, time
from ood_toolkit.io.manifest import MANIFEST, Parts
from ood_toolkit.io.part_folder import locked_folder

with locked_folder(sys.argv[1]):
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "scores.csv")], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holding\n"
        yield process
        process.kill()


def test_of_two_writers_one_is_refused_until_the_other_is_dead(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    output = tmp_path / "scores.csv"
    words = f"is being written by process {holder.pid} on "
    for _ in range(2):  # a refusal takes nothing away from who holds the lock
        with pytest.raises(DataError, match=words), locked_folder(output):
            pass
    with locked_folder(tmp_path / "other.csv"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked_folder(output):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("absent", "file"):
        output = tmp_path / folder / "x.csv"
        with pytest.raises(DataError, match="there is no folder"), locked_folder(output):
            pass


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else is writing there, and waiting would not help."""
    import fcntl

    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(DataError, match=r"cannot be written: .*No locks available"),
        locked_folder(tmp_path / "x.csv"),
    ):
        pass
