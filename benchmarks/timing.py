"""Interleaved timing: every candidate once a round, so that a slow spell hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Calls", "agree", "interleaved"]

Calls = Mapping[str, Callable[[], Any]]
"""What is timed, by the name it is reported under."""

REST = 0.02
"""Seconds between two candidates, in which threads that still wait by spinning give up."""

SLOW, VERY_SLOW, COMPILED = 1.0, 6.0, 20.0
"""Seconds of one call from which a candidate runs in three rounds only, or once; and from
which even its first call counts, since no compiler takes so long."""


def interleaved(candidates: Calls, rounds: int, *, least: float = 0.0) -> dict[str, list[float]]:
    """Seconds of one call of each candidate in each round, after a first that does not count.

    Parameters
    ----------
    candidates : mapping of str to callable
        What to time.  Each round begins with another one.
    rounds : int
        Candidates slower than a second run in three of them only, very slow ones once.
    least : float
        Seconds to be spent on a candidate in a round: quick ones are called several times,
        and the mean counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    turns, calls = {}, {}
    for name, call in candidates.items():
        once = _timed(call, 1)
        if once < COMPILED:
            once = _timed(call, 1)
        if once > VERY_SLOW:
            seconds[name].append(once)
        calls[name] = max(1, math.ceil(least / once))
        turns[name] = 1 if once > VERY_SLOW else min(rounds, 3) if once > SLOW else rounds
    names = list(candidates)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            if len(seconds[name]) < turns[name]:
                time.sleep(REST)
                seconds[name].append(_timed(candidates[name], calls[name]))
    return seconds


def agree(candidates: Calls, names: Iterable[str], tolerance: float) -> None:
    """Refuse to time candidates that do not compute what ours does.

    Raises
    ------
    AssertionError
        If an answer is farther from ours than the tolerance, relative to ours and 1.
    """
    ours = np.asarray(candidates["ours"](), dtype=np.float64)
    for name in names:
        if name in candidates:
            answer = np.asarray(candidates[name](), dtype=np.float64)
            np.testing.assert_allclose(answer, ours, tolerance, tolerance, err_msg=name)


def _timed(call: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times
