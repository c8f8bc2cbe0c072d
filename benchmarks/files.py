"""From a .npy file of 4 GB in the page cache to its energy, against `cat FILE > /dev/null`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import ood_toolkit as ood
from benchmarks.memory import PEAKS_KNOWN, measured, peak_of_command
from benchmarks.results import Case
from benchmarks.timing import interleaved

__all__ = ["cases"]

CLASSES = 1_000
ROWS = {"full": 1_000_000, "tiny": 20_000}
BLOCK = 20_000
STRICT = "peak in strict-memory mode, MB"
LIMIT = "250MB"
LIMITED = f"ours, --memory {LIMIT}"
PROGRAM = Path(sys.executable).with_name("ood-toolkit")


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Time, then peak memory of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits.npy"
        _write(path, ROWS[scale])
        quoted, scores = str(path), str(Path(folder) / "scores.npz")
        limited = [str(PROGRAM), "score", quoted, "-m", "energy", "--memory", LIMIT, "-o", scores]
        calls = {
            "cat": lambda: subprocess.run(["sh", "-c", 'cat "$0" > /dev/null', quoted], check=True),
            "ours": lambda: ood.score(ood.load(path), "energy"),
            LIMITED: lambda: subprocess.run(limited, check=True, stdout=subprocess.DEVNULL),
        }
        case = Case(
            "npy to energy",
            f"{ROWS[scale]:,} × {CLASSES:,} float32, {path.stat().st_size / 1e9:.1f} GB",
            interleaved(calls, rounds),
            notes=[
                "the file is in the page cache; ours: load and score, mapped",
                f"{LIMITED}: the command from start to exit, with its scores written to a file; "
                "its peak is that of the process, interpreter and libraries included",
            ],
        )
        if PEAKS_KNOWN:
            case.figures = {k: [v] for k, v in measured("file", path).items()}
            case.figures[STRICT] = [peak_of_command(limited)]
        else:
            case.absent = dict.fromkeys(("peak, MB", STRICT), "peak memory is read from /proc")
    yield case


def _write(path: Path, rows: int) -> None:
    """Normal logits; every block is the same one, shifted by a class."""
    rng = np.random.default_rng(0)
    block = 3 * rng.standard_normal((min(BLOCK, rows), CLASSES), dtype=np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, CLASSES)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, len(block)):
            np.roll(block, start // len(block), axis=1)[: rows - start].tofile(file)
        file.flush()
        os.fsync(file.fileno())  # or the disk would write while others are timed
