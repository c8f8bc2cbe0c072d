"""Peak memory of a task, measured in a process that does nothing else; Linux only.

    python -m benchmarks.memory TASK ARGUMENT...

prints the readings as one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import ood_toolkit as ood

__all__ = ["PEAKS_KNOWN", "head_record", "measured", "peak_of_command"]

STATUS = Path("/proc/self/status")
PEAKS_KNOWN = Path("/proc/self/clear_refs").exists()
"""Whether the system keeps, and can reset, the peak of a process."""

MIB = 1 << 20
SAMPLED_EVERY = 0.005


def measured(task: str, *arguments: object) -> dict[str, float]:
    """Readings of a task of this module, run in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory", task, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    readings: dict[str, float] = json.loads(done.stdout)
    return readings


# In a process of its own, since a child's peak begins with what its parent takes.
_WATCH = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_maxrss]))
"""


def peak_of_command(command: list[str]) -> float:
    """The most memory that a command takes, in MB of 10^6 bytes, with all that it maps.

    Raises
    ------
    RuntimeError
        If the command fails.
    """
    watched = [sys.executable, "-c", _WATCH, *command]
    done = subprocess.run(watched, check=True, stdout=subprocess.PIPE, text=True)
    status, kibibytes = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed")
    return float(kibibytes) * 1024 / 1e6


def head_record(rows: int, dims: int, classes: int) -> ood.Outputs:
    """Nonnegative float32 features, a head, and the logits that it gives them."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, dims), dtype=np.float32)
    np.maximum(features, 0, out=features)
    weight = rng.standard_normal((classes, dims), dtype=np.float32)
    weight /= np.float32(np.sqrt(dims) / 4)
    logits = np.empty((rows, classes), np.float32)
    np.matmul(features, weight.T, out=logits)
    head = ood.Head(weight=weight, bias=np.zeros(classes, np.float32))
    return ood.Outputs(features=features, logits=logits, head=head)


def of_method(name: str, rows: str, dims: str, classes: str) -> dict[str, float]:
    """Memory beyond the inputs, and beyond the fitted state, that fit and score take."""
    small = head_record(64, 16, 8)
    ood.detector(name).fit(small).score(small)  # loads what is loaded once
    record = head_record(int(rows), int(dims), int(classes))
    kept: list[Any] = []
    fitting = _beyond(lambda: kept.append(ood.detector(name).fit(record)))
    state = _array_bytes(kept[0])
    return {
        "fit beyond inputs and state, MiB": max(0.0, fitting - state / MIB),
        "score beyond inputs and state, MiB": _beyond(lambda: kept[0].score(record)),
        "state, MiB": state / MIB,
    }


def of_file(path: str) -> dict[str, float]:
    """Peak of a whole process that reads a file and takes its energy; MB of 10^6 bytes."""
    with _highest("RssAnon") as private:
        ood.score(ood.load(path), "energy")
    return {
        "peak, MB": _status("VmHWM") / 1e6,
        "peak without the file's own pages, MB": max(private) / 1e6,
    }


def _array_bytes(value: Any) -> int:
    """Bytes of the arrays in a fitted scorer and in the objects it is made of."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if dataclasses.is_dataclass(value):
        return sum(_array_bytes(getattr(value, f.name)) for f in dataclasses.fields(value))
    return sum(map(_array_bytes, value)) if isinstance(value, tuple) else 0


def _beyond(call: Callable[[], Any]) -> float:
    """Most MiB that a call adds to what is resident."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / MIB


def _status(name: str) -> int:
    """Bytes that the system states for this process."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise KeyError(name)


@contextmanager
def _highest(name: str) -> Iterator[list[int]]:
    """Readings of a number of this process, taken every few milliseconds."""
    readings = [_status(name)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLED_EVERY):
            readings.append(_status(name))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield readings
    finally:
        over.set()
        watcher.join()
        readings.append(_status(name))


if __name__ == "__main__":
    tasks = {"method": of_method, "file": of_file}
    print(json.dumps(tasks[sys.argv[1]](*sys.argv[2:])))
