"""A file larger than memory scored through the command line: peak memory, and time against `cat`.

    python -m benchmarks.streaming FOLDER [--rows 1500000] [--rounds 3]

makes FOLDER/logits.npy (6 GB by default: one block of random rows, again and again), scores it
under limits of memory and removes it.  The page cache is warm: each round first times
`cat FILE > /dev/null`, then the commands; ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = 1000
BLOCK = 16_384
TOOL = Path(sys.executable).with_name("ood-toolkit")
RUNS = {
    "four scores, --memory 512MiB": [
        "-m", "msp,energy,label_non_uniformity,gen", "--memory", "512MiB", "-o", "scores.parquet",
    ],
    "energy, --memory 250MB": ["-m", "energy", "--memory", "250MB", "-o", "energy.npz"],
}  # fmt: skip


def make(path: Path, rows: int) -> None:
    """Write `rows` rows of float32 logits, one block of random ones over and over."""
    block = np.random.default_rng(0).normal(scale=3.0, size=(BLOCK, CLASSES)).astype(np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, CLASSES)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, BLOCK):
            file.write(block[: min(BLOCK, rows - start)])


class Taken(NamedTuple):
    """Seconds on the clock, seconds of processors, and the most memory, in MB (10^6 bytes)."""

    seconds: float
    processors: float
    peak: float


def timed(command: list[str], folder: Path) -> Taken:
    """Run a command, its output unseen."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    seconds = time.perf_counter() - start
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def main() -> None:
    """Make the file, time the rounds, print a line each, remove the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="Leave the file for the next time.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "logits.npy"
    if not path.exists():
        make(path, options.rows)
    size = path.stat().st_size / 1e9
    runs: dict[str, list[Taken]] = {"cat": []} | {name: [] for name in RUNS}
    try:
        timed(["cat", path.name], options.folder)  # the page cache is warm from here on
        for _ in range(options.rounds):
            runs["cat"].append(timed(["cat", path.name], options.folder))
            for name, arguments in RUNS.items():
                command = [str(TOOL), "score", path.name, *arguments]
                runs[name].append(timed(command, options.folder))
    finally:
        left = [arguments[-1] for arguments in RUNS.values()]
        for name in left if options.keep else [*left, path.name]:
            (options.folder / name).unlink(missing_ok=True)
    cat = statistics.median(run.seconds for run in runs["cat"])
    print(f"{size:.1f} GB of float32 logits, {CLASSES} classes; cat {cat:.2f} s")
    for name in RUNS:
        median = statistics.median(run.seconds for run in runs[name])
        ratio = statistics.median(
            ours.seconds / its.seconds for ours, its in zip(runs[name], runs["cat"], strict=True)
        )
        processors = statistics.median(run.processors for run in runs[name])
        peak = max(run.peak for run in runs[name])
        print(
            f"{name}: {median:.2f} s ({processors:.1f} s of processors), {ratio:.2f} x cat, "
            f"{size / median:.1f} GB/s, peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
