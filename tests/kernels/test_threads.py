"""Rows over threads: how many, from when, and in processes that fork."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.errors import InputError
from ood_toolkit.kernels import pool, rows
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import PREDICTION, TAIL, log_sum_exp
from ood_toolkit.kernels.threads import thread_count

WANTED = (log_sum_exp(), PREDICTION, TAIL)
LOGITS = np.random.default_rng(0).standard_normal((3000, 200)).astype(np.float32)


def bits() -> bytes:
    return b"".join(v.tobytes() for v in row_statistics(LOGITS, WANTED).values())


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "2")
    monkeypatch.setattr(rows, "BLOCK_ELEMENTS", 1 << 14)


def test_settings_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOD_TOOLKIT_THREADS")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert thread_count() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "5")
    assert thread_count() == 5
    for wrong in ("0", "two", "-1", "1.5"):
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", wrong)
        with pytest.raises(InputError, match="set it to a number of 1 or more"):
            thread_count()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_no_more_threads_work_than_allowed(threads: int) -> None:
    at_work: set[int] = set()
    seen: list[tuple[int, int]] = []

    def work(start: int, stop: int) -> None:
        at_work.add(threading.get_ident())
        seen.append((start, stop))

    share_out(work, 1003, 10, threads)
    assert len(at_work) <= threads
    assert sorted(seen) == [(i, min(i + 10, 1003)) for i in range(0, 1003, 10)]


def test_small_inputs_stay_on_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_helpers", lambda threads: pytest.fail("threads were asked for"))
    few = LOGITS[: rows.PARALLEL_FROM // LOGITS.shape[1]]
    assert row_statistics(few, WANTED).first_bad == -1


def test_an_error_in_a_helper_is_heard() -> None:
    def work(start: int, stop: int) -> None:
        if start == 990:
            raise ValueError("row 990")

    with pytest.raises(ValueError, match="row 990"):
        share_out(work, 1000, 10, 2)


def test_a_busy_pool_keeps_nothing_that_was_worked_on() -> None:
    share_out(lambda start, stop: None, 10, 1, 2)  # makes the pool
    busy, released = threading.Event(), threading.Event()
    helpers = pool._helpers(1)
    others = [
        helpers.submit(lambda: (busy.set(), released.wait(30))) for _ in range(helpers._max_workers)
    ]
    assert busy.wait(30)
    try:
        rows = np.zeros(1000)
        seen = weakref.ref(rows)
        share_out(lambda start, stop, rows=rows: rows.fill(start), 1000, 10, 2)
        del rows
        gc.collect()
        assert seen() is None
    finally:
        released.set()
    for other in others:
        other.result()


def test_no_block_is_begun_after_an_error() -> None:
    done: list[int] = []

    def work(start: int, stop: int) -> None:
        if start == 0:
            raise ValueError("row 0")
        time.sleep(0.001)
        done.append(start)

    with pytest.raises(ValueError, match="row 0"):
        share_out(work, 10_000, 1, 2)
    count = len(done)
    assert count < 9_999  # seconds' worth of blocks were left
    time.sleep(0.05)
    assert len(done) == count


def test_the_first_bad_row_is_named_whichever_thread_finds_it() -> None:
    logits = LOGITS.copy()
    logits[[700, 2100, 2900], 3] = np.nan
    assert row_statistics(logits, WANTED).first_bad == 700


def test_many_callers_at_once() -> None:
    expected = bits()
    scores = ood.score(LOGITS, ["energy", "msp"])
    with ThreadPoolExecutor(6) as callers:
        found = [callers.submit(bits) for _ in range(12)]
        public = [callers.submit(ood.score, LOGITS, ["energy", "msp"]) for _ in range(6)]
        assert all(f.result(timeout=600) == expected for f in found)
        for f in public:
            for name, values in f.result(timeout=600).items():
                assert np.array_equal(values, scores[name])


def _send_bits(sender) -> None:  # type: ignore[no-untyped-def]
    sender.send_bytes(bits())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    expected = bits()  # the parent's helpers are there now
    assert pool._pool is not None
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_send_bits, args=(sender,))
        child.start()
        assert receiver.poll(60), "the child does not answer"
        assert receiver.recv_bytes() == expected
        child.join(60)
        assert child.exitcode == 0
    assert bits() == expected


WORKERS = """
import multiprocessing
import numpy as np
import ood_toolkit as ood

def energy(seed):
    z = np.random.default_rng(seed).standard_normal((2000, 200)).astype(np.float32)
    return ood.score(z, "energy")["energy"].tobytes()

if __name__ == "__main__":
    expected = [energy(seed) for seed in range(4)]
    for method in {methods}:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(energy, range(4)) == expected, method
    print("done")
"""


def test_worker_processes(tmp_path) -> None:
    methods = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
    script = tmp_path / "workers.py"
    script.write_text(WORKERS.replace("{methods}", repr(methods)))
    run = subprocess.run([sys.executable, "-W", "ignore", script], env=dict(os.environ),
                         capture_output=True, text=True, check=False, timeout=600)  # fmt: skip
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr
