"""The command as a process: signals, pipes, streams, odd names and odd surroundings."""

from __future__ import annotations

import csv
import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cli.running import TOOL, save, spawn, tool

READING = sys.modules["ood_toolkit.io.load"]  # whose name in the package is a function's
LONG = 1_500_000
"""Rows whose scores take seconds to write."""


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.npy"
    np.save(path, np.random.default_rng(0).normal(size=(LONG, 2)).astype(np.float32))
    return path


def wait_for(found: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(found)
    for _ in range(60_000):
        if found():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("waited for minutes for nothing")


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, b"Interrupted"), (signal.SIGTERM, 143, b""), (signal.SIGKILL, -9, b"")],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_run_that_is_stopped_leaves_the_old_file(
    number: signal.Signals, status: int, said: bytes, long_file: Path, tmp_path: Path
) -> None:
    """Stopped while the table is being written."""
    out = tmp_path / "scores.csv"
    out.write_text("old")

    def half_written() -> bool:
        return any(p.stat().st_size for p in tmp_path.glob(".*.partial"))

    with spawn("score", long_file, "-m", "msp", "-o", out) as process:
        wait_for(half_written, process)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=600)
    assert (process.returncode, stdout, stderr.strip()) == (status, b"", said)
    assert out.read_text() == "old"
    if number != signal.SIGKILL:  # which no process can tidy up after
        assert os.listdir(tmp_path) == ["scores.csv"]


def test_a_run_that_waits_for_its_input_can_be_interrupted() -> None:
    with spawn("score", "-", "-m", "msp", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"a,b\n" + b"1,2\n" * 100_000)  # returns when most of it was read
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=600) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read().strip()) == (b"", b"Interrupted")


def test_an_early_interruption_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the libraries of the command line are being loaded."""

    class Loading:
        @property
        def run(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ood_toolkit_cli.group", Loading())
    run = tool("methods")
    assert (run.status, run.out, run.err) == (130, "", "Interrupted\n")


def test_a_narrow_terminal_shows_whole_names_of_options() -> None:
    arguments = [TOOL, "evaluate", "--help"]
    for columns in ("60", "100"):
        environment = os.environ | {"COLUMNS": columns}
        run = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        assert "--head-weight-key" in run.stdout
        assert "…" not in run.stdout
        assert max(map(len, run.stdout.splitlines())) <= int(columns)
        for form in ("[GROUP/]NAME=FILE", "NAME[,NAME...]", "[SET=]FILE"):
            assert form in run.stdout


@pytest.mark.parametrize("columns", ["0", "1"])
def test_help_has_words_whatever_the_terminal_says(columns: str) -> None:
    environment = os.environ | {"COLUMNS": columns}
    run = subprocess.run([TOOL, "fit", "--help"], env=environment, capture_output=True,
                         text=True, check=True)  # fmt: skip
    assert "ood-toolkit fit" in run.stdout
    assert "detector." in run.stdout


@pytest.mark.parametrize("encoding", ["iso8859-9", "utf-8"])  # tr_TR has the first
def test_what_a_locale_has_no_letters_for_is_told_by_number(
    encoding: str, files: Path, tmp_path: Path
) -> None:
    path = tmp_path / "\N{SNOWMAN}.npz"
    path.write_bytes((files / "test.npz").read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    for words in (["methods"], ["info", path], ["score", path, files / "test.npz", "-m", "msp"]):
        run = subprocess.run([TOOL, *words], env=environment, capture_output=True, check=False)
        assert (run.returncode, run.stderr) == (0, b""), run.stderr
        said = run.stdout.decode(encoding)
        name = "Mo\u017cejko" if words == ["methods"] else "\N{SNOWMAN}.npz"
        if encoding != "utf-8":
            name = name.encode(encoding, "backslashreplace").decode(encoding)
        assert name in said


def test_a_reader_that_has_enough_is_no_error(long_file: Path) -> None:
    with spawn("score", long_file, "-m", "msp") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"index,prediction,msp\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=600) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # what is buffered is met again at the end
@pytest.mark.parametrize("arguments", ["score test.npz -m msp", "methods --json", "--version"])
def test_a_full_disk_is_told(arguments: str, unbuffered: str, files: Path) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        run = subprocess.run([TOOL, *arguments.split()], cwd=files, env=environment, stdout=full,
                             stderr=subprocess.PIPE, check=False)  # fmt: skip
    what = b"standard output: cannot be written: the disk is full; write elsewhere"
    assert run.stderr == b"Error: " + what + b"\n"
    assert run.returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "status"), [("scor x.npz", 2), ("score x.npz -m msp", 3), ("methods -q", 0)]
)
def test_a_full_disk_behind_the_messages_changes_no_status(
    arguments: str, status: int, unbuffered: str, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        run = subprocess.run([TOOL, *arguments.split()], cwd=tmp_path, env=environment,
                             stdout=subprocess.DEVNULL, stderr=full, check=False)  # fmt: skip
    assert run.returncode == status


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_a_pipe_by_the_name_of_a_file_is_no_file_to_replace(files: Path) -> None:
    arguments = [TOOL, "score", "test.npz", "-m", "msp", "-o", "/dev/stdout", "--format", "csv"]
    run = subprocess.run(arguments, cwd=files, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("Error: /dev/stdout: exists and is not a regular file")


def test_streams_that_are_closed_stop_nothing(files: Path, tmp_path: Path) -> None:
    command = f"'{TOOL}' score '{files / 'test.npz'}' -m msp -o '{tmp_path / 's.csv'}' >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert (tmp_path / "s.csv").exists()
    command = f"'{TOOL}' methods >&-"
    run = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


SURROUNDINGS = {
    "nothing set": {},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "dumb and narrow": {"COLUMNS": "1", "TERM": "dumb", "NO_COLOR": "1", "HOME": "/nowhere"},
    "one thread": {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_change_nothing(name: str, files: Path) -> None:
    arguments = ["evaluate", "--id", files / "test.npz", "--ood", f"far/ö={files / 'far.npz'}",
                 "-m", "energy,msp", "--bootstrap", "20"]  # fmt: skip
    expected = tool(*arguments)
    run = subprocess.run([TOOL, *map(os.fspath, arguments)], env=SURROUNDINGS[name],
                         stdin=subprocess.DEVNULL, capture_output=True, check=False)  # fmt: skip
    assert (run.returncode, run.stderr) == (expected.status, b"") == (0, b"")
    out = run.stdout.decode("utf-8", "replace")
    if name != "C locale":  # whose letters are ASCII
        assert out == expected.out
    assert [c for c in out if c.isdigit()] == [c for c in expected.out if c.isdigit()]


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({"TERM": "xterm-256color"}, True), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
     ({"TERM": "dumb", "COLUMNS": "1"}, False)],
)  # fmt: skip
def test_a_terminal_of_any_kind_shows_the_table(
    environment: dict[str, str], colours: bool, files: Path
) -> None:
    ours, theirs = pty.openpty()
    arguments = ["evaluate", "--id", files / "test.npz", "--ood", f"a={files / 'far.npz'}",
                 "-m", "energy", "--bootstrap", "0"]  # fmt: skip
    with spawn(*arguments, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # how a terminal says that the other side has left
            pass
        assert process.wait(timeout=600) == 0
    os.close(ours)
    assert b"Traceback" not in shown
    if environment.get("COLUMNS") != "1":
        assert b"energy" in shown
    has_colour = any(code in shown for code in (b"\x1b[1m", b"\x1b[3", b"\x1b[9"))
    assert has_colour or not colours
    if "NO_COLOR" in environment:
        assert b"\x1b[3" not in shown


NAMES = [b"-test.npz", b"n\xff\xfe.npz", "🦉 owl.npz".encode(), b"a\nb.npz", b"x" * 251 + b".npz"]


def test_files_of_any_name_are_read_and_named(files: Path, tmp_path: Path) -> None:
    for name in NAMES:
        save(tmp_path / os.fsdecode(name), logits=3 * np.eye(3))
    run = subprocess.run([os.fsencode(TOOL), b"score", b"-m", b"msp", b"--", *NAMES], cwd=tmp_path,
                         capture_output=True, check=False)  # fmt: skip
    assert (run.returncode, run.stderr) == (0, b"")
    rows = list(csv.DictReader(io.StringIO(run.stdout.decode("utf-8", "strict"))))
    expected = [name.decode("utf-8", "backslashreplace") for name in NAMES]
    assert [row["file"] for row in rows] == [name for name in expected for _ in range(3)]
    assert len({row["msp"] for row in rows}) == 1


@pytest.mark.parametrize("name", NAMES, ids=["dash", "bytes", "emoji", "newline", "long"])
def test_a_missing_file_of_any_name_is_one_line(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("no" + os.fsdecode(name[2:]))
    run = tool("score", path, "-m", "msp")
    assert run.status == 3
    assert run.error.endswith(": no such file")
    assert run.error.isprintable()


def test_text_may_come_from_a_pipe(files: Path, tmp_path: Path) -> None:
    logits = ood.load(files / "logits.npz").logits
    text = "\n".join(",".join(map(repr, row)) for row in logits.tolist()) + "\n"
    expected = tool("score", files / "logits.npz", "-m", "energy")
    run = subprocess.run([TOOL, "score", "-", "-m", "energy"], input=text, text=True,
                         capture_output=True, check=True)  # fmt: skip
    assert run.stdout == expected.out
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    refused = tool("score", pipe, "-m", "energy")
    assert refused.status == 3
    assert "pipe" in refused.error


def test_an_unexpected_error_is_one_line_unless_debugged(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(READING, "open_source", broken)
    run = tool("score", files / "test.npz", "-m", "msp")
    assert run.status == 3
    assert run.error.startswith("unexpected RuntimeError: first line second line; ")
    run = tool("score", files / "test.npz", "-m", "msp", "--debug")
    assert run.status == 3  # 1 says that a check has failed
    assert run.err.startswith("Traceback (most recent call last):\n")
    assert run.err.endswith("\nRuntimeError: first line\nsecond line\n")


def test_memory_that_is_not_there_is_told(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(READING, "open_source", hungry)
    run = tool("score", files / "test.npz", "-m", "msp")
    assert run.status == 3
    assert run.error.startswith("not enough memory")


MISSING = [
    ("pyarrow", "parquet", ["-o", "scores.parquet"], None),
    ("pyarrow", "parquet", [], "x.parquet"),
    ("h5py", "hdf5", [], "x.h5"),
    ("zarr", "zarr", [], "x.zarr"),
    ("torch", "torch", [], "x.pt"),
]


@pytest.mark.parametrize(("library", "extra", "options", "name"), MISSING)
def test_a_library_that_is_not_installed_is_named_with_its_command(
    library: str, extra: str, options: list[str], name: str | None, files: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    source = files / "logits.npz"
    if name is not None:
        source = tmp_path / name
        ood.save_outputs(ood.load(files / "logits.npz"), source)
    before = sorted(tmp_path.rglob("*"))
    for module in [m for m in sys.modules if m.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    run = tool("score", source, "-m", "msp", *options)
    assert run.status == 5
    assert run.error.endswith(f"needs {library}: pip install 'ood_toolkit[{extra}]'")
    assert sorted(tmp_path.rglob("*")) == before


def test_version_and_help() -> None:
    run = tool("--version")
    assert (run.status, run.out) == (0, f"ood-toolkit {ood.__version__}\n")
    for command in ("methods", "info", "score", "fit", "evaluate", "errors", "benchmark"):
        run = tool(command, "--help")
        assert (run.status, run.err) == (0, "")
        assert "--json" in run.out
    assert tool("nonsense").status == 2
    assert tool().status == 2


def test_verbose_and_quiet(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=np.full((3, 2), 0.5))
    assert "Warning: " in tool("score", path, "-m", "msp", "-v").err
    assert tool("score", path, "-m", "msp", "-q").err == ""
