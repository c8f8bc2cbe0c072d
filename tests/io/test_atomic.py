"""Writing: whole or not at all, whatever goes wrong on the way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.errors import DataError
from ood_toolkit.io import atomic_write, load, save_outputs
from ood_toolkit.io.atomic import atomic_folder
from ood_toolkit.outputs import Outputs

SUFFIXES = [".npz", ".npy", ".safetensors", ".h5", ".parquet", ".pt", ".csv", ".zarr"]
OLD = Outputs(logits=np.zeros((3, 2)))


def test_the_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_bytes_reach_the_disk_before_the_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        steps.append(("folder", 0) if stat.S_ISDIR(status.st_mode) else ("file", status.st_size))

    replace = os.replace

    def note_and_replace(source: str, target: str) -> None:
        steps.append(("replace", 0))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", note_and_replace)
    with atomic_write(tmp_path / "x") as file:
        file.write(b"12345")
    assert steps == [("file", 5), ("replace", 0), ("folder", 0)]


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    reason: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise reason

    with pytest.raises(reason):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "real" / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path)
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x"):
        pass
    (tmp_path / "usual").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".npy")
    save_outputs(OLD, path)
    assert len(load(path)) == 3


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            for place in [tmp_path, *tmp_path.parents]:
                if place == Path(tempfile.gettempdir()):
                    break
                place.chmod(0o755)
            os.seteuid(65534)
        # access(2) asks for the real user, who may be root: then creating the file fails
        with pytest.raises(DataError, match="cannot be written"), atomic_write(folder / "x"):
            pass
    finally:
        os.seteuid(user)
    assert list(folder.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from ood_toolkit.errors import DataError
from ood_toolkit.io import save_outputs, save_scores
from ood_toolkit.outputs import Outputs

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for path in sys.argv[1:]:
    try:
        save_outputs(Outputs(logits=np.random.default_rng(0).normal(size=(20_000, 10))), path)
    except DataError as reason:
        print(str(reason).removeprefix(path))
    else:
        print("written")
"""


def test_a_full_disk_leaves_the_old_result(tmp_path: Path) -> None:
    paths = [tmp_path / f"x{suffix}" for suffix in SUFFIXES]
    for path in paths:
        save_outputs(OLD, path)
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = run.stdout.splitlines()
    assert len(said) == len(paths)
    assert all("cannot be written" in line for line in said), said
    assert run.stderr == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
    for path in paths:
        np.testing.assert_array_equal(load(path).logits, OLD.logits)


SLOW_WRITER = """
import sys, time
from ood_toolkit.io import atomic_write

with atomic_write(sys.argv[1]) as file:
    file.write(b"half of it")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_writer_leaves_the_old_file(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    writer = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.send_signal(number)
        assert writer.wait(timeout=600) != 0
    assert path.read_bytes() == b"old"
    if number == signal.SIGINT:
        assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_zarr_replaces_only_zarr(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    save_outputs(OLD, path)
    save_outputs(Outputs(logits=np.ones((2, 2))), path)
    np.testing.assert_array_equal(load(path).logits, np.ones((2, 2)))
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "one").touch()
    with pytest.raises(DataError, match="not a Zarr folder"), atomic_folder(precious):
        pass
    (tmp_path / "y.zarr").symlink_to(precious)
    with pytest.raises(DataError, match="not a Zarr folder"):
        save_outputs(OLD, tmp_path / "y.zarr")
    assert (precious / "one").exists()


def test_an_interrupted_zarr_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    save_outputs(OLD, path)

    def write_half() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    np.testing.assert_array_equal(load(path).logits, OLD.logits)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]
