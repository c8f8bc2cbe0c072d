"""How far a run over a loader has come: a line on stderr, or a function of the caller's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["Progress", "reporting", "rows_in"]

Progress = bool | Callable[[int, "int | None"], None] | None
"""True or None: a line where stderr is a terminal; or a function of the rows done and in all."""

_EVERY = 0.2


def rows_in(data: Any) -> int | None:
    """Rows that a loader, array or tensor holds; None where it does not say."""
    if isinstance(rows := getattr(data, "rows", None), int):
        return rows
    for sized in (getattr(data, "dataset", None), data if hasattr(data, "shape") else None):
        try:
            if sized is not None:
                return len(sized)
        except TypeError:  # a stream of unknown length
            return None
    return None


@contextmanager
def reporting(how: Progress, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields what to call with the number of rows done so far."""
    if callable(how):
        tell = how
        yield lambda done: tell(done, total)
    elif how is False or not sys.stderr.isatty():
        yield lambda done: None
    else:
        line = _Line(sys.stderr, total)
        try:
            yield line.show
        finally:
            line.close()


class _Line:
    """Rows, rate and time left, on one line that is written over."""

    def __init__(self, stream: TextIO, total: int | None) -> None:
        self._stream, self._total = stream, total
        self._begin = self._last = time.monotonic()
        self._from: int | None = None

    def show(self, done: int) -> None:
        now = time.monotonic()
        if self._from is None:
            self._from = done
        if now - self._last < _EVERY:
            return
        self._last = now
        rate = (done - self._from) / (now - self._begin)
        text = f"{done:,} rows, {rate:,.0f} a second"
        if self._total and rate > 0:
            left = max(0, round((self._total - done) / rate))
            text = f"{done:,} of {self._total:,} rows, {rate:,.0f} a second, {_clock(left)} left"
        self._stream.write(f"\r\x1b[K{text}")
        self._stream.flush()

    def close(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
