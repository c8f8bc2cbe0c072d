"""A file larger than memory scored through the command line: peak memory, and time against `cat`.

    python -m benchmarks.streaming FOLDER [--rows 1500000] [--rounds 3]
    python -m benchmarks.streaming FOLDER --formats [--rows 250000]

The first makes FOLDER/logits.npy (6 GB by default: one block of random rows, again and again),
scores it under limits of memory and removes it.  The page cache is warm: each round first times
`cat FILE > /dev/null`, then the commands; ratios are medians over the rounds.  What a command
takes before its first row is the time for a file of few rows.

The second scores 1 GB of the same logits in each format, `energy` under 512 MiB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ood_toolkit.io import save_outputs
from ood_toolkit.outputs import Outputs

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


def _stored(x: Outputs, path: Path) -> None:
    save_outputs(x, path)


def _columns(x: Outputs, path: Path) -> None:
    np.save(path, np.asfortranarray(x.logits))


def _compressed(x: Outputs, path: Path) -> None:
    np.savez_compressed(path, logits=np.asarray(x.logits))


def _members(x: Outputs, path: Path) -> None:
    stack = np.asarray(x.logits)
    np.savez(path, members=stack.reshape(4, -1, CLASSES))


FORMATS: list[tuple[str, str, Callable[[Outputs, Path], None]]] = [
    ("`.npy`", "x.npy", _stored),
    ("`.npy`, Fortran order", "columns.npy", _columns),
    ("`.npz` of members (4, N, C), `mutual_information`", "members.npz", _members),
    ("`.npz`, stored", "x.npz", _stored),
    ("`.npz`, compressed", "deflated.npz", _compressed),
    ("`.safetensors`", "x.safetensors", _stored),
    ("`.pt`", "x.pt", _stored),
    ("`.h5`", "x.h5", _stored),
    ("`.zarr`", "x.zarr", _stored),
    ("`.parquet`", "x.parquet", _stored),
]
"""What the table says, the file, and who writes it."""


def _made(write: Callable[[Outputs, Path], None], path: Path, rows: int) -> None:
    block = np.random.default_rng(0).normal(scale=3.0, size=(BLOCK, CLASSES))
    write(Outputs(logits=np.resize(block.astype(np.float32), (rows, CLASSES))), path)


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


def _files(path: Path) -> list[str]:
    """A file, or those of a folder."""
    return [str(path)] if path.is_file() else sorted(str(p) for p in path.rglob("*") if p.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def formats(folder: Path, rows: int, rounds: int, keep: bool, only: str) -> None:
    """Score the same logits in each format; print a table."""
    size = rows * CLASSES * 4 / 1e9
    print(f"| {size:.1f} GB of logits | file, GB | s | × cat FILE | GB/s of logits | peak, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, file, write in FORMATS:
        path = folder / file
        if only and only != file:
            continue
        if not path.exists():
            # elsewhere: what this process ever held counts as held by the commands it starts
            maker = multiprocessing.get_context("spawn").Process(
                target=_made, args=(write, path, rows)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit(f"{path} could not be written")
        method = "mutual_information" if "members" in file else "energy"
        command = [str(TOOL), "score", file, "-m", method, "--memory", "512MiB", "-o", "s.npz"]
        cat = ["cat", *_files(path)]
        timed(cat, folder)
        pairs = [(timed(cat, folder), timed(command, folder)) for _ in range(rounds)]
        seconds = statistics.median(ours.seconds for _, ours in pairs)
        ratio = statistics.median(ours.seconds / its.seconds for its, ours in pairs)
        peak = max(ours.peak for _, ours in pairs)
        on_disk = sum(os.path.getsize(one) for one in _files(path)) / 1e9
        print(
            f"| {name} | {on_disk:.2f} | {seconds:.2f} | {ratio:.1f} | {size / seconds:.2f} | "
            f"{peak:.0f} |",
            flush=True,
        )
        (folder / "s.npz").unlink(missing_ok=True)
        if not keep:
            _remove(path)


def main() -> None:
    """Make the file, time the rounds, print a line each, remove the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="Leave the files for the next time.")
    parser.add_argument("--formats", action="store_true", help="The table of formats instead.")
    parser.add_argument("--only", default="", metavar="FILE", help="Of these, one.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.formats:
        rows = options.rows or 250_000
        formats(options.folder, rows, options.rounds, options.keep, options.only)
        return
    path, few = options.folder / "logits.npy", options.folder / "few.npy"
    if not path.exists():
        make(path, options.rows or 1_500_000)
    make(few, 1024)
    size = path.stat().st_size / 1e9
    runs: dict[str, list[Taken]] = {"cat": []} | {name: [] for name in RUNS}
    begun: dict[str, list[Taken]] = {name: [] for name in RUNS}
    try:
        timed(["cat", path.name], options.folder)  # the page cache is warm from here on
        for _ in range(options.rounds):
            runs["cat"].append(timed(["cat", path.name], options.folder))
            for name, arguments in RUNS.items():
                for file, taken in ((few, begun), (path, runs)):
                    command = [str(TOOL), "score", file.name, *arguments]
                    taken[name].append(timed(command, options.folder))
    finally:
        left = [few.name, *(arguments[-1] for arguments in RUNS.values())]
        for name in left if options.keep else [*left, path.name]:
            (options.folder / name).unlink(missing_ok=True)
    cat = statistics.median(run.seconds for run in runs["cat"])
    print(f"{size:.1f} GB of float32 logits, {CLASSES} classes; cat {cat:.2f} s")
    for name in RUNS:
        median = statistics.median(run.seconds for run in runs[name])
        start = statistics.median(run.seconds for run in begun[name])
        ratio = statistics.median(
            ours.seconds / its.seconds for ours, its in zip(runs[name], runs["cat"], strict=True)
        )
        processors = statistics.median(run.processors for run in runs[name])
        peak = max(run.peak for run in runs[name])
        print(
            f"{name}: {median:.2f} s ({processors:.1f} s of processors), {ratio:.2f} x cat, "
            f"{size / median:.1f} GB/s, peak {peak:.0f} MB; {start:.2f} s before the first row, "
            f"{(median - start) / cat:.2f} x cat from there"
        )


if __name__ == "__main__":
    main()
