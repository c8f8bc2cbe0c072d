"""What a process does that runs methods for another: one after the other, as it is asked."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from queue import SimpleQueue

from ood_toolkit.evaluation.method_work import MethodDone, MethodWork
from ood_toolkit.evaluation.work_file import as_bytes, read_work
from ood_toolkit.protocols import Detector

__all__ = ["Answer", "serve"]


@dataclass(slots=True)
class Answer:
    """What a process says of a method: what came of it, or what went wrong; and what it said."""

    done: MethodDone | None
    error: BaseException | None
    labels: list[str]
    warnings: list[tuple[Warning | str, type[Warning], str, int]]


def serve() -> None:
    """Answer tasks on standard input until it ends; what such a process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that asks is interrupted, and ends us
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    tasks: SimpleQueue[tuple[str, Detector]] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()
    work = read_work(sys.argv[1])
    while True:
        out.write(as_bytes(_answered(work, *tasks.get())))
        out.flush()


def _receive(tasks: SimpleQueue[tuple[str, Detector]]) -> None:
    """Hand on tasks; when whoever asks is gone, killed even, this process ends."""
    try:
        while True:
            tasks.put(pickle.load(sys.stdin.buffer))  # noqa: S301, from the process that began us
    finally:
        shutil.rmtree(os.path.dirname(sys.argv[1]), ignore_errors=True)  # nobody else is left to
        os._exit(0)


def _answered(work: MethodWork, name: str, detector: Detector) -> Answer:
    labels: list[str] = []
    done, fault = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            done = work.run(name, detector, labels.append)
        except Exception as error:  # noqa: BLE001, raised again by the one that asks
            fault = error
    said = [(w.message, w.category, w.filename, w.lineno) for w in caught]
    return Answer(done, fault, labels, said)
