"""The command line, run in this process or, where the process itself matters, in its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ood_toolkit_cli.main import main

__all__ = ["TOOL", "Run", "csv_rows", "save", "spawn", "tool"]

TOOL = Path(sys.executable).with_name("ood-toolkit")


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one strict JSON document it must be."""
        return json.loads(self.out, parse_constant=_no_constant)

    @property
    def error(self) -> str:
        """The one line on stderr that says what is wrong."""
        lines = [line for line in self.err.splitlines() if not line.startswith("Warning: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: "), self.err
        return lines[0].removeprefix("Error: ")


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def tool(*arguments: str | os.PathLike[str]) -> Run:
    """Run a command as the executable does, but in this process."""
    out, err = _TextFile(), _TextFile()
    before = signal.getsignal(signal.SIGTERM)
    words = ["ood-toolkit", *map(os.fspath, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as leaving:
            status = leaving.code
        finally:
            signal.signal(signal.SIGTERM, before)
    assert isinstance(status, int)
    return Run(status, out.text(), err.text())


class _TextFile(io.TextIOWrapper):
    """Standard output as a pipe has it: bytes below, UTF-8 above."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="strict", newline="")

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("utf-8")


def csv_rows(text: str) -> list[list[str]]:
    """Cells of a table on stdout, the header first."""
    return [line.split(",") for line in text.splitlines()]


def save(path: Path, **arrays: object) -> Path:
    """Write an .npz file and return its path."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@contextlib.contextmanager
def spawn(
    *arguments: str | bytes | os.PathLike[str], **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the real executable; it is gone when the block is left."""
    process = subprocess.Popen(
        [TOOL, *arguments],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
