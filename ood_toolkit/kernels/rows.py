"""One pass over rows of logits that returns every statistic asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.readable import readable_rows
from ood_toolkit.kernels.request import Request, Results, request
from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.kernels.vector_rows import VectorPlan, vector_filler, vector_plan
from ood_toolkit.kernels.vectors import available, widened_half, within_range
from ood_toolkit.streamed import StreamedArray, as_streamed

__all__ = ["BLOCK_ELEMENTS", "row_statistics", "windows_of_statistics"]

BLOCK_ELEMENTS = 1 << 19
"""Logits that a thread takes at a time, and copies where it must."""

PARALLEL_FROM = 1 << 20
"""So many logits are shared among threads; fewer take longer to hand out than to do.

`python -m benchmarks.threshold` measures it.
"""

ROWS_TOGETHER = 16

WINDOW_ROWS, WINDOW_ELEMENTS = 1 << 15, 1 << 21  # whichever is reached first

IN_PLACE_ROWS, IN_PLACE_ELEMENTS = 1 << 19, 1 << 22
"""The same of rows whose one statistic is left where it is.  It fills several large pages of
memory then: threads that ask for the same new page at once would each fill it with zeros."""

STREAMED_ELEMENTS = 1 << 19
"""Logits that a thread fetches at a time: so few that they are still in a cache when read."""

FETCHES = 2
"""Fetches behind one window of statistics of streamed logits.  Threads stay this close to each
other, for what is decoded from the first row on goes back no further than some blocks."""


def row_statistics(
    logits: npt.NDArray[Any],
    wanted: Iterable[Statistic],
    *,
    threads: int | None = None,
    into: npt.NDArray[np.float64] | None = None,
) -> RowStatistics:
    """Row-wise statistics of the softmax of `logits`.  (N, C) -> one (N,) array each.

    A row's values do not depend on the rows around it, nor on the number of threads.

    Parameters
    ----------
    logits : (N, C) array of float16, bfloat16, float32 or float64
        Any memory layout; a memory map or a streamed array is read block by block.
    wanted : iterable of Statistic
        What to return.
    threads : int, optional
        How many share the rows; as many as there are, and one for few logits, if not given.
    into : (N,) contiguous array of float64, optional
        Where the values go, if one statistic is wanted that is a real number.

    Returns
    -------
    RowStatistics
        float64 arrays (int64 for PREDICTION, CLASSES and SATURATED), and the first bad
        row.  The values of bad rows mean nothing.  Of float64 logits all values are good
        to some units in the last place; of shorter floats, to float32's.

    Raises
    ------
    InputError
        If a statistic does not exist, or its numbers make no sense for C classes.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit.kernels.statistics import PREDICTION, log_sum_exp
    >>> rows = row_statistics(np.array([[2.0, 1.0, 0.1]]), [PREDICTION, log_sum_exp()])
    >>> rows[PREDICTION], rows[log_sum_exp()].round(4), rows.first_bad
    (array([0]), array([2.417]), -1)
    """
    n, c = logits.shape
    plan = _planned(tuple(wanted), c, logits.dtype)
    floats = np.empty((plan.floats, n)) if into is None else into.reshape(plan.floats, n)
    results = Results(floats, np.empty((plan.integers, n), np.int64))
    if n == 0:
        return results.named(plan.names, -1)
    fill = _filler(logits, plan, results)
    streamed = as_streamed(logits)
    elements = BLOCK_ELEMENTS if streamed is None else STREAMED_ELEMENTS
    step = max(1, elements // max(c, 1))
    if n <= step and n * c < PARALLEL_FROM:
        return results.named(plan.names, fill(0, n))
    if step > ROWS_TOGETHER:
        step -= step % ROWS_TOGETHER
    if streamed is not None:
        step = _whole_grains(step, streamed)
    bad: list[int] = []
    if threads is None:
        threads = thread_count() if n * c >= PARALLEL_FROM else 1
    share_out(lambda start, stop: bad.append(fill(start, stop)), n, step, threads)
    return results.named(plan.names, min((row for row in bad if row >= 0), default=-1))


def windows_of_statistics(
    logits: npt.NDArray[Any],
    wanted: Iterable[Statistic],
    use: Callable[[slice, RowStatistics], None],
    into: npt.NDArray[np.float64] | None = None,
) -> int:
    """Hand the statistics of some rows after the other to `use`; the first bad row or -1.

    So few rows at a time that their statistics stay near the processor.  Several threads call
    `use`, each with rows of its own.  With `into`, of N numbers, the one statistic that is wanted
    is left there.
    """
    n, c = logits.shape
    asked = tuple(dict.fromkeys(wanted))
    bad: list[int] = []
    streamed = as_streamed(logits)

    def work(start: int, stop: int) -> None:
        window: Any = logits[start:stop] if streamed is None else streamed.part(start, stop)
        place = None if into is None else into[start:stop]
        rows = row_statistics(window, asked, threads=1, into=place)
        if rows.first_bad >= 0:
            bad.append(start + rows.first_bad)
        use(slice(start, stop), rows)

    threads = thread_count() if n * c >= PARALLEL_FROM else 1
    most, elements = WINDOW_ROWS, WINDOW_ELEMENTS
    if streamed is not None:
        elements = FETCHES * STREAMED_ELEMENTS
    elif into is not None:
        most, elements = IN_PLACE_ROWS, IN_PLACE_ELEMENTS
    step = max(ROWS_TOGETHER, min(most, elements // max(c, 1), -(-n // threads)))
    step -= step % ROWS_TOGETHER
    if streamed is not None:
        step = _whole_grains(step, streamed)
    share_out(work, n, step, threads)
    return min(bad, default=-1)


def _whole_grains(rows: int, streamed: StreamedArray) -> int:
    """About so many rows that cut no grain, for a slice that cuts one costs all of it."""
    return max(1, rows // streamed.grain) * streamed.grain


class _Plan(NamedTuple):
    """Distinct statistics, how many rows their results take, and how they are found."""

    names: tuple[Statistic, ...]
    floats: int
    integers: int
    request: Request
    by_vectors: VectorPlan | None


@lru_cache(maxsize=32)
def _planned(wanted: tuple[Statistic, ...], classes: int, dtype: np.dtype[Any]) -> _Plan:
    names, asked, (floats, integers) = request(wanted, classes)
    by_vectors = None
    if within_range(asked):
        by_vectors = vector_plan(asked, widened_half(dtype.newbyteorder("=")), classes)
    return _Plan(names, floats, integers, asked, by_vectors)


def _filler(logits: npt.NDArray[Any], plan: _Plan, results: Results) -> Callable[[int, int], int]:
    if available() and plan.by_vectors is not None:
        return vector_filler(logits, plan.by_vectors, results)
    return _readable_filler(logits, plan.request, results)


def _readable_filler(
    logits: npt.NDArray[Any], wanted: Request, results: Results
) -> Callable[[int, int], int]:
    """As `vector_filler`, without vectors."""

    def fill(start: int, stop: int) -> int:
        block = np.array(logits[start:stop], dtype=np.float64)
        with np.errstate(over="ignore"):  # heard only where numba's compiler is off
            return readable_rows(block, np.arange(start, stop), wanted, results)

    return fill
