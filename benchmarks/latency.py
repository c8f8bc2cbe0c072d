"""Energy of one row of 1,000 logits: what a call costs before there is anything to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np

import ood_toolkit as ood
from benchmarks.energy import WRITTEN, Floats, energy_candidates
from benchmarks.peers import MISSING, THREADS, library
from benchmarks.results import Case
from benchmarks.timing import agree, interleaved
from ood_toolkit.kernels._results import SCRATCH, room_between
from ood_toolkit.kernels.energy import energy_rows
from ood_toolkit.kernels.request import Results
from ood_toolkit.kernels.vectors import KINDS, available
from ood_toolkit.kernels.vectors import scale as factor

__all__ = ["cases"]

CLASSES = 1_000
WRAPPED = "kernel, from Python"
CALLS = {"full": 20_000, "tiny": 200}
LEAST = {"full": 0.05, "tiny": 0.0}


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """One row through the kernel, through the public function, and through the peers."""
    z = np.random.default_rng(0).standard_normal((1, CLASSES), dtype=np.float32)
    calls = {
        name: call
        for name, call in energy_candidates(z).items()
        if name not in ("one read", WRITTEN)
    }
    record = ood.Outputs(logits=z)
    calls["ours, of a record"] = lambda: ood.score(record, "energy")["energy"]
    agree(calls, set(calls) - {"ours"}, 1e-4)
    absent = {}
    if available():
        arguments, _ = _arguments(z)
        calls[WRAPPED] = lambda: energy_rows(*arguments)
    else:
        absent = dict.fromkeys(("kernel", WRAPPED), "explicit vectors cannot be compiled here")
    if torch := library("torch"):
        torch.set_num_threads(1)
    else:
        absent["torch"] = MISSING
    seconds = interleaved(calls, rounds, least=LEAST[scale])
    if torch:
        torch.set_num_threads(THREADS)
    if available():
        seconds["kernel"] = [_kernel_seconds(z, CALLS[scale]) for _ in range(rounds)]
    yield Case(
        "one row",
        f"1 × {CLASSES:,} float32",
        seconds,
        absent=absent,
        notes=[
            "kernel: called by compiled code; all else by Python, as the peers are",
            "torch on one thread, with which it is quickest here",
        ],
    )


@numba.njit  # type: ignore[untyped-decorator]
def _call(times, arguments):  # type: ignore[no-untyped-def]
    for _ in range(times):
        energy_rows(*arguments)


def _arguments(z: Floats) -> tuple[tuple[Any, ...], Results]:
    """What the kernel is called with for one row, and where it then writes."""
    results = Results(np.empty((1, 1)), np.empty((0, 1), np.int64))
    rows = (z.ctypes.data, KINDS[z.dtype], 0, 1, z.shape[1])
    room = (room_between(SCRATCH), np.empty(1, np.int64))
    return (*rows, factor(False, 1.0), (0, -1, -1), results, *room), results


def _kernel_seconds(z: Floats, times: int) -> float:
    """Seconds that the kernel takes for one row, called from compiled code."""
    arguments, results = _arguments(z)
    _call(1, arguments)
    start = time.perf_counter()
    _call(times, arguments)
    each = (time.perf_counter() - start) / times
    np.testing.assert_allclose(results.floats[0], ood.score(z, "energy")["energy"], 1e-6)
    return each
