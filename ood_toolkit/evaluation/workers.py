"""Methods run side by side, each in a process of its own kind, with the bits of one by one.

Threads would not do: most of these methods hold the interpreter, and the filters of warnings
belong to a whole process.  The processes are started afresh rather than forked, so that a
library's threads cannot be caught half-way and a script needs no `__main__` guard.  Records
are written once to a private file that every process maps.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, is_dataclass
from queue import SimpleQueue
from typing import IO, Any

from ood_toolkit.bounded import is_streamed, large_arrays
from ood_toolkit.detectors.catalogue import method_of
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.evaluation.method_work import MethodDone, MethodWork
from ood_toolkit.evaluation.serving import Answer
from ood_toolkit.evaluation.work_file import as_bytes, write_work
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.outputs import Outputs
from ood_toolkit.protocols import Detector

__all__ = ["can_be_sent", "processes_for", "side_by_side"]

PROCESS_BYTES = 320 << 20
"""What a process takes before it reads a row: the interpreter, numpy, numba, scikit-learn."""

BYTES_AN_ENTRY = 48
"""What a fit takes for each number of the rows it is given: six copies in float64."""

LEAST_WORK = 2_000_000
"""Rows times methods from which processes are started: for fewer their start costs more."""

_PATIENCE = 5.0
"""Seconds for a process that answers no more to end by itself."""

# Modules are found where this process finds them, the standard library's before all others: a
# user's types.py beside the script must not take the place of the one the interpreter needs.
_START = """
import json, os, sys, sysconfig
place = sysconfig.get_path("stdlib")
standard = place, os.path.join(place, "lib-dynload")
sys.path[:] = sorted(json.loads(sys.stdin.buffer.readline()), key=lambda p: p not in standard)
from ood_toolkit.evaluation.serving import serve
serve()
"""


def can_be_sent(detector: Detector, *, tuned: str) -> bool:
    """Whether a method is worth a process, and one could know it: the toolkit's own."""
    return bool(method_of(detector).fits or tuned != "none") and _ours(detector)


def _ours(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_ours, value))
    if is_dataclass(value):
        inner = [getattr(value, f.name) for f in fields(value)]
        return type(value).__module__.startswith("ood_toolkit.") and all(map(_ours, inner))
    return isinstance(value, str | int | float | bool | None)


def processes_for(work: MethodWork, methods: int, memory: int, wanted: int | None) -> int:
    """How many methods to run side by side.

    Parameters
    ----------
    work : MethodWork
        The records.
    methods : int
        That could be.
    memory : int
        Bytes that all of them may take; each is reckoned with `BYTES_AN_ENTRY` for each number
        of the rows it is fitted on and of the largest set.
    wanted : int or None
        At most so many; None for one a processor where there is work enough.
    """
    fitted_on = list(work.fitted_on.given().values())
    sets = list(work.reported.every().values())
    if not sys.executable or any(map(is_streamed, [*fitted_on, *sets])):
        return 1  # rows that are not in memory: one method at a time is all there is room for
    rows = sum(map(len, [*fitted_on, *sets]))
    if wanted is None and rows * methods < LEAST_WORK:
        return 1
    entries = sum(map(_entries, fitted_on)) + max(map(_entries, sets))
    need = PROCESS_BYTES + BYTES_AN_ENTRY * entries
    return max(1, min(wanted or thread_count(), methods, memory // need))


def _entries(x: Outputs) -> int:
    return sum(array.size for array in large_arrays(x))


def side_by_side(
    work: MethodWork,
    ready: Mapping[str, Detector],
    sent: set[str],
    processes: int,
    progress: Callable[[str], None],
) -> Iterator[MethodDone]:
    """What `work.run` says of each method, in their order; some run in other processes.

    Labels of progress, warnings and errors come out as they would one by one.

    Parameters
    ----------
    work : MethodWork
    ready : mapping of str to Detector
    sent : set of str
        Those that other processes run; the others are run by this one, meanwhile.
    processes : int
    progress : callable
    """
    work.know_digests()
    with tempfile.TemporaryDirectory(prefix="ood-toolkit-") as folder:
        path = os.path.join(folder, "records")
        write_work(work, path)
        pool = _Pool(path, processes)
        try:
            answers = {name: pool.submit(name, ready[name]) for name in ready if name in sent}
            for name, detector in ready.items():
                if name not in sent:
                    yield work.run(name, detector, progress)
                    continue
                answer = answers.pop(name).result()
                done = _taken(answer, progress)
                done.seconds["side_by_side"] = float(processes)
                yield done
        finally:
            pool.close()


def _taken(answer: Answer, progress: Callable[[str], None]) -> MethodDone:
    """Say here what was said there."""
    modules = {getattr(m, "__file__", None): m for m in list(sys.modules.values())}
    for message, category, filename, line in answer.warnings:
        module = modules.get(filename)
        registry = None if module is None else vars(module).setdefault("__warningregistry__", {})
        name = module.__name__ if module is not None else None
        warnings.warn_explicit(message, category, filename, line, name, registry)
    for label in answer.labels:
        progress(label)
    if answer.error is not None:
        raise answer.error
    assert answer.done is not None
    return answer.done


class _Pool:
    """Processes that each run one method at a time; started when they are needed."""

    def __init__(self, path: str, count: int) -> None:
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._all = [_Process(path, max(1, thread_count() // count)) for _ in range(count)]
        for process in self._all:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(count, "ood_toolkit methods")

    def submit(self, name: str, detector: Detector) -> Future[Answer]:
        return self._threads.submit(self._ask, name, detector)

    def _ask(self, name: str, detector: Detector) -> Answer:
        process = self._free.get()
        try:
            return process.ask(name, detector)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End every process, whatever it is at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.end()
        self._threads.shutdown()
        for process in self._all:
            said = process.clear()[1]
            if said:  # what libraries print there
                print(said, file=sys.stderr)


def _of_ended(name: str, status: int | None, said: str) -> Answer:
    """The failure of a method whose process is gone; all it wrote is a note of a warning."""
    told: list[tuple[Warning | str, type[Warning], str, int]] = []
    cause = ", perhaps for lack of memory"
    if said:
        warning = ToolkitWarning(f"{name}: the process it ran in ended (status {status})")
        warning.add_note(said)
        told.append((warning, ToolkitWarning, __file__, 0))
        last = " ".join(said.splitlines()[-1].split())
        cause = f"{'' if status and status > 0 else cause}: {last}"
    failure = (
        f"the process it ran in ended (status {status}){cause}; run methods one after the other: "
        "workers=1 (--workers 1)"
    )
    return Answer(MethodDone(name, failure=failure), None, [], told)


class _Process:
    """One interpreter that runs methods on the records of a file."""

    def __init__(self, path: str, threads: int) -> None:
        self._path, self._threads = path, threads
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None  # what the child writes to standard error
        self._changing, self._ended = threading.Lock(), False

    def ask(self, name: str, detector: Detector) -> Answer:
        try:
            child = self._running()
            if child is None:
                return Answer(MethodDone(name, failure="was not run"), None, [], [])
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(as_bytes((name, detector)))
            child.stdin.flush()
            answer: Answer = pickle.load(child.stdout)  # noqa: S301, what our own process wrote
        except (EOFError, OSError, pickle.UnpicklingError):
            return _of_ended(name, *self.clear(patience=_PATIENCE))
        return answer

    def _running(self) -> subprocess.Popen[bytes] | None:
        """The child, started if it is not there; None when no more shall be started."""
        with self._changing:
            if self._child is None and not self._ended:
                settings = {
                    "OOD_TOOLKIT_THREADS": str(self._threads),
                    "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
                }
                self._said = tempfile.TemporaryFile(dir=os.path.dirname(self._path))  # noqa: SIM115
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, self._path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    env={**os.environ, **settings},
                )
                places = [place or os.getcwd() for place in sys.path]
                assert self._child.stdin is not None
                self._child.stdin.write(json.dumps(places).encode() + b"\n")
            return self._child

    def clear(self, patience: float = 0.0) -> tuple[int | None, str]:
        """End the child, if there is one, and close what leads to it; its exit status and words.

        A child that is about to end has `patience` seconds to do so, and to say why.
        """
        with self._changing:
            child, said = self._child, self._said
            self._child = self._said = None
        if child is None or said is None:
            return None, ""
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
        child.kill()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            with suppress(OSError):  # what was not sent yet has no reader any more
                stream.close()
        status = child.wait()
        with said:
            said.seek(0)
            return status, said.read().decode(errors="backslashreplace").strip()

    def end(self) -> None:
        """End the child; none is started afterwards."""
        with self._changing:
            self._ended = True
            if self._child is not None:
                self._child.kill()
