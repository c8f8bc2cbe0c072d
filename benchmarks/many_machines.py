"""What a job on a Dask cluster costs, and what 1e11 rows would: figures for docs/distributed.md.

    python -m benchmarks.many_machines FOLDER [--rows 2000000] [--write docs/distributed.md]

makes a file of float32 logits in FOLDER, scores it in this process and on local workers, times
the pieces that grow with the number of rows or parts, and scales them.  The scaled figures are a
model, not a measurement, and are labelled so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import put
from benchmarks.streaming import BLOCK, CLASSES, make

TOOL = Path(sys.executable).with_name("ood-toolkit")
METHODS = "msp,energy"
SCALE = 100_000_000_000


def best(work: Callable[[], Any], rounds: int) -> float:
    """Median seconds of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def score(folder: Path, output: str, *more: str) -> str:
    """Run the command; the checksum of what it wrote."""
    path = folder / output
    command = [str(TOOL), "score", "logits.npy", "-q", "-m", METHODS, "-o", output, *more]
    subprocess.run(command, cwd=folder, check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    return digest


def nothing(number: int) -> int:
    return number


def measured(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Seconds and bytes of each piece."""
    from ood_toolkit.distributed import connected
    from ood_toolkit.io import load
    from ood_toolkit.io.manifest import Parts
    from ood_toolkit.io.part_folder import FolderStore
    from ood_toolkit.io.parts import Receipt, plan_parts, write_part
    from ood_toolkit.scoring import PART_BYTES

    digests = set()
    found: dict[str, Any] = {"rows": rows, "classes": CLASSES}

    def run(name: str, *more: str) -> None:
        found[name] = best(lambda: digests.add(score(folder, f"{name}.npz", *more)), rounds)

    run("here")
    for workers in (1, 2):
        run(f"workers_{workers}", "--dask", f"local:{workers}")
    found["same_bits"] = len(digests) == 1
    found["start"] = best(lambda: _start(connected), rounds)
    with connected("local:2") as client:
        count = 2000
        tasks = best(lambda: client.gather(client.map(nothing, range(count), pure=False)), rounds)
    found["scheduler_per_task"] = tasks / count
    x = load(folder / "logits.npy")
    part_rows = PART_BYTES // (4 * CLASSES)
    (part, *_) = plan_parts([len(x)], [part_rows])
    table = {"index": np.arange(len(part)), "msp": np.ones(len(part)), "energy": np.ones(len(part))}
    store = FolderStore(str(folder / "parts"))
    Path(store.folder).mkdir(exist_ok=True)
    found["part_rows"] = len(part)
    found["part_write"] = best(lambda: write_part(store, part, table), 5)
    receipt = write_part(store, part, table)
    found["part_bytes"] = receipt.bytes
    parts = 20_000
    plan = plan_parts([parts * len(part)], [len(part)])
    manifest = Parts("x", store, {}, plan)
    manifest.done = {n: Receipt(n, len(part), receipt.bytes, receipt.sha256) for n in range(parts)}
    found["manifest_per_part"] = best(lambda: manifest.save(at_once=True), 3) / parts
    size = (Path(store.folder) / "manifest.json").stat().st_size
    found["manifest_bytes_per_part"] = size / parts
    for file in Path(store.folder).iterdir():
        file.unlink()
    Path(store.folder).rmdir()
    return found


def _start(connected: Any) -> None:
    with connected("local:2"):
        pass


def tables(m: dict[str, Any]) -> str:
    """Both tables: what was measured here, and what follows for 1e11 rows."""
    rows, part_rows = m["rows"], m["part_rows"]
    one = rows / (m["workers_1"] - m["start"])
    gigabytes = rows * 4 * m["classes"] / 1e9
    measured_rows = [
        ("rows x classes, float32", f"{rows:,} x {m['classes']:,} ({gigabytes:.1f} GB)"),
        ("one process, two threads", f"{m['here']:.2f} s"),
        ("one worker", f"{m['workers_1']:.2f} s"),
        ("two workers", f"{m['workers_2']:.2f} s"),
        ("sha256 of the scores equal in all of them", "yes" if m["same_bits"] else "NO"),
        ("start and end of a local cluster", f"{m['start']:.2f} s"),
        ("one worker without its start", f"{one:,.0f} rows a second"),
        ("scheduler, a task", f"{m['scheduler_per_task'] * 1e3:.2f} ms"),
        ("rows of a part", f"{part_rows:,}"),
        ("one part written and on the disk", f"{m['part_write'] * 1e3:.1f} ms"),
        ("bytes of a part with two scores", f"{m['part_bytes'] / 1e6:.2f} MB"),
        ("manifest, a part", f"{m['manifest_bytes_per_part']:.0f} bytes"),
        ("manifest written once, a part", f"{m['manifest_per_part'] * 1e6:.1f} us"),
    ]
    parts = SCALE / part_rows
    hours = SCALE / one / 3600
    scaled = [
        ("input read", f"{SCALE * 4 * m['classes'] / 1e12:,.0f} TB"),
        ("parts", f"{parts:,.0f}"),
        ("scores written", f"{parts * m['part_bytes'] / 1e12:.1f} TB"),
        ("work of one such worker", f"{hours:,.0f} hours"),
        ("100 such workers", f"{hours / 100:,.1f} hours"),
        ("1,000 such workers", f"{hours / 1000:,.1f} hours"),
        ("scheduler, all tasks one after the other",
         f"{parts * m['scheduler_per_task'] / 3600:.2f} hours"),
        ("workers at which the scheduler is the limit",
         f"{part_rows / one / m['scheduler_per_task']:,.0f}"),
        ("manifest", f"{parts * m['manifest_bytes_per_part'] / 1e6:,.0f} MB"),
        ("manifest written once", f"{parts * m['manifest_per_part']:.0f} s"),
    ]  # fmt: skip
    lines = ["| measured here |  |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in measured_rows)]
    lines += ["", "| 1e11 rows, by the model, not measured |  |", "| --- | --- |"]
    lines += [f"| {a} | {b} |" for a, b in scaled]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and put the tables on the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000 // BLOCK * BLOCK)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = given.folder / "logits.npy"
    make(file, given.rows)
    try:
        figures = measured(given.folder, given.rows, given.rounds)
    finally:
        file.unlink()
    print(json.dumps(figures, indent=1))
    text = tables(figures)
    print(text)
    if given.write:
        put(given.write, "many_machines", text + "\n")


if __name__ == "__main__":
    main()
