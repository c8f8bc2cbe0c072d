"""Rows 1 to 52: files that are damaged, hostile or merely odd, and outputs that cannot be."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from ood_toolkit.errors import DataError
from ood_toolkit.io import load
from tests.bad_inputs.table import refused, row
from tests.cli.running import csv_rows, save, spawn, tool
from tests.io import test_bad_inputs as of_load
from tests.io.bad_inputs.registry import REFUSED, WORKS, Z

ELSEWHERE = {4, 48, 50, 51, 52}


def _options(options: dict[str, Any]) -> list[str]:
    """The command's words for the arguments of `load`."""
    words = [f"--{name}-key={key}" for name, key in options.get("keys", {}).items()]
    words += [f"--dtype={options['dtype']}"] if "dtype" in options else []
    return words + ([f"--max-bytes={options['max_bytes']}"] if "max_bytes" in options else [])


def _command(path: Path, number: int, options: dict[str, Any], good: Path) -> list[object]:
    if options.get("labels") is False:
        return ["evaluate", "--id", good / "three.npz", "--ood", f"a={path}", "-m", "msp",
                "--bootstrap", "0", *_options(options)]  # fmt: skip
    if number == 65 and "labels" not in options:
        return ["fit", path, "-m", "kl_matching", "-o", path.parent / "out.safetensors"]
    return ["score", "-m", "msp", *_options(options), "--", path]


def _of_rows(number: int) -> tuple[list[Any], list[Any]]:
    def own(cases: list[Any]) -> list[Any]:
        return [case for case in cases if int(str(case.id).split("-")[0]) == number]

    return own(REFUSED), own(WORKS)


def _through_the_command(number: int) -> Any:
    """Every case that the reader has of this row, as a command meets it."""

    def check(good: Path, folder: Path) -> None:
        bad, fine = _of_rows(number)
        assert bad or fine
        for case in bad:
            build, words, options = case.values
            place = folder / str(case.id)
            place.mkdir()
            path = build(place)
            refused(3, *words, run=tuple(_command(path, number, options, good)))
            assert not (place / "out.safetensors").exists()
            assert not (place / "pwned").exists()
        for case in fine:
            _works(number, case, good, folder)

    return check


def _works(number: int, case: Any, good: Path, folder: Path) -> None:
    import re

    build, warning, options = case.values
    place = folder / str(case.id)
    place.mkdir()
    path, expected = build(place)
    if number == 65 and "labels" not in options:
        options = {**options, "labels": "lenient"}
    run = tool(*map(os.fspath, _strings(_command(path, number, options, good))))
    assert run.status == 0, run.err
    if warning:
        assert re.search(warning, run.err), run.err
    if options.get("labels") is not False:
        assert len(csv_rows(run.out)) == len(expected) + 1


def _strings(words: list[object]) -> list[str]:
    return [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]


for _number in (*range(1, 52), 58, 64, 65):
    if _number not in ELSEWHERE:
        row(_number)(_through_the_command(_number))


@row(4)
def unreadable(good: Path, folder: Path) -> None:
    of_load.test_row_4_unreadable(folder)


@row(48)
def file_became_shorter(good: Path, folder: Path) -> None:
    path = folder / "x.npy"
    np.save(path, np.zeros((70_000, 400), np.float32))
    opened = load(path, memory=2 << 30)
    assert opened.logits is not None
    os.truncate(path, 1_000_000)
    with pytest.raises(DataError, match="became shorter"):
        opened.logits[60_000:60_100]


@row(50)
def output_is_an_input(good: Path, folder: Path) -> None:
    path = save(folder / "x.npz", logits=Z)
    (folder / "link.npz").symlink_to(path)
    os.link(path, folder / "hard.npz")
    before = path.read_bytes()
    for output in (path, folder / "link.npz", folder / "hard.npz"):
        refused(3, "also an input", run=("score", path, "-m", "msp", "-o", output))
    assert path.read_bytes() == before


@row(51)
def outputs_that_cannot_be_written(good: Path, folder: Path) -> None:
    refused(3, "there is no folder", run=("score", good / "test.npz", "-m", "msp", "-o",
                                          folder / "absent" / "s.csv"))  # fmt: skip
    of_load.test_row_51_output_is_a_device_or_a_folder(folder)
    for suffix in (".csv", ".jsonl", ".npz", ".parquet"):
        output = folder / f"s{suffix}"
        output.write_text("old")
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch("ood_toolkit.io.atomic.os.fsync", side_effect=full):
            refused(3, "the disk is full", "intact", run=("score", good / "test.npz", "-m", "msp",
                                                          "-o", output))  # fmt: skip
        assert output.read_text() == "old"
    assert not list(folder.glob(".*"))


@row(52)
def signals(good: Path, folder: Path) -> None:
    with spawn("score", "-", "-m", "msp", "-o", folder / "s.csv", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"a,b\n" + b"1,2\n" * 100_000)  # returns when most of it was read
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=6000) == 130
    assert list(folder.iterdir()) == []
    script = "import sys; from ood_toolkit_cli.main import main; sys.stdout.write('x' * 10); main()"
    path = save(folder / "long.npz", logits=np.zeros((200_000, 2), np.float32))
    with subprocess.Popen([sys.executable, "-c", script, "score", str(path), "-m", "msp"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:  # fmt: skip
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait(timeout=600) == 0
