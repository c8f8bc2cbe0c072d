"""Areas of many resamples of many curves: what is drawn, is drawn once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.ranking import TieGroups, ordered_pairs, trapezoid_precision
from ood_toolkit.kernels.resampling import count_draws, recount_into

__all__ = ["Standings", "resampled_areas", "standings"]

Array = npt.NDArray[Any]

_HELD, _FEWEST = 2**17, 8  # draws, and resamples, held at once: they stay near the processor


class Standings(NamedTuple):
    """Where each sorted row of two sets stands among the rows of both, ties together.

    Attributes
    ----------
    first_end, second_begin_of_first, second_end_of_first : (N,) arrays of int
        For each row of the first set: how many of the first set lie at or above its score, and
        how many of the second above it and at or above it.
    first_begin_of_second, second_begin : (M,) arrays of int
        For each row of the second set: how many of either set lie above its score.
    """

    first_end: Array
    second_begin_of_first: Array
    second_end_of_first: Array
    first_begin_of_second: Array
    second_begin: Array


def standings(groups: TieGroups) -> Standings:
    """Where each row of either set stands among the rows of both."""
    of_first, of_second = np.diff(groups.first), np.diff(groups.second)
    return Standings(
        np.repeat(groups.first[1:], of_first),
        np.repeat(groups.second[:-1], of_first),
        np.repeat(groups.second[1:], of_first),
        np.repeat(groups.first[:-1], of_second),
        np.repeat(groups.second[:-1], of_second),
    )


def resampled_areas(
    curves: Sequence[TieGroups],
    places: Sequence[Standings],
    states: Array,
    with_auroc: bool = True,
    rows: Sequence[tuple[Array, Array]] = (),
) -> Array:
    """AUROC, AUPR-in and AUPR-out of each curve in each resample.  (P,), (R,) -> (P, R, 3).

    What a state draws is drawn once for all curves, so that many are cheaper together; the
    figures of a curve do not depend on the others.

    Parameters
    ----------
    curves : sequence of TieGroups
        Of ID and OOD scores; all with N of the one and M of the other.
    states : (R,) array of uint64
        As of `resampled`.
    places : sequence of Standings
        The `standings` of each, for average precision; none for areas under straight lines.
    with_auroc : bool
        Whether the AUROC is wanted; else it may be NaN.
    rows : sequence of two arrays of int, optional
        For each curve, which row each sorted score of either set is of, (N,) and (M,): a state
        then draws the same rows whatever their scores are.
    """
    sizes = [int(counts[-1]) for counts in curves[0]]
    step = min(states.size, max(_FEWEST, _HELD // sum(sizes)))
    first, second = (np.empty((step, size + 1), np.int32) for size in sizes)
    times = [np.empty((step, size), np.uint8) for size in sizes]
    figures = np.empty((len(curves), states.size, 3))
    for start in range(0, states.size, step):
        some = states[start : start + step]
        with np.errstate(over="ignore"):  # 64-bit wrapping is meant, also where numba is off
            _count_all(some, *times)
        drawn = [counts[: some.size] for counts in times]
        if not rows:
            _accumulate(drawn[0], first)
            _accumulate(drawn[1], second)
        for i, curve in enumerate(curves):
            if rows:
                _accumulate_rows(drawn[0], rows[i][0], first)
                _accumulate_rows(drawn[1], rows[i][1], second)
            found = figures[i, start : start + step]
            if places:
                _areas(*places[i], first, second, with_auroc, found)
            else:
                _areas_of_lines(*curve, first, second, found)
    return figures


@kernel
def _count_all(states: Array, of_first: Array, of_second: Array) -> None:
    """(R,) states -> fills (R, N) and (R, M): how often each score, or row, is drawn."""
    for r in range(states.size):
        of_first[r, :] = 0
        of_second[r, :] = 0
        count_draws(np.uint64(count_draws(np.uint64(states[r]), of_first[r])), of_second[r])


@kernel
def _accumulate(times: Array, drawn: Array) -> None:
    """(R, K) numbers of draws -> fills (R, K + 1) prefix sums."""
    for r in range(times.shape[0]):
        total = np.int32(0)
        drawn[r, 0] = 0
        for i in range(times.shape[1]):
            total += np.int32(times[r, i])
            drawn[r, i + 1] = total


@kernel
def _accumulate_rows(times: Array, rows: Array, drawn: Array) -> None:
    """As `_accumulate`, through the rows in the order they are listed in."""
    for r in range(times.shape[0]):
        total = np.int32(0)
        drawn[r, 0] = 0
        for i in range(rows.size):
            total += np.int32(times[r, np.uint64(rows[i])])
            drawn[r, i + 1] = total


@kernel
def _areas(
    own_end: Array,
    other_begin: Array,
    other_end: Array,
    opposite_begin: Array,
    second_begin: Array,
    first: Array,
    second: Array,
    with_auroc: bool,
    figures: Array,
) -> None:
    """`Standings` and prefix sums of R resamples -> fills (R, 3).

    A row counts as often as it is drawn; the precision at its score is read from the sums.
    """
    n, m = np.int32(own_end.size), np.int32(second_begin.size)
    called, others = np.empty(max(n, m), np.int32), np.empty(max(n, m), np.int32)
    for r in range(figures.shape[0]):
        hits, misses = first[r], second[r]
        # read first, reckoned with after: so the compiler can vectorise the divisions
        for i in range(n):
            called[i] = hits[np.uint64(own_end[i])]
            others[i] = misses[np.uint64(other_end[i])]
        area = 0.0
        for i in range(n):
            times = np.int32(hits[i + 1] - hits[i])
            # of what is drawn at least one row is called; of what is not, nothing counts
            every = max(np.int32(called[i] + others[i]), np.int32(1))
            area += np.float64(times) * (np.float64(called[i]) / np.float64(every))
        figures[r, 1] = area / n
        figures[r, 0] = np.nan
        if with_auroc:
            twice = np.int64(0)
            for i in range(n):
                beaten = np.int64(others[i]) + np.int64(misses[np.uint64(other_begin[i])])
                twice += np.int64(hits[i + 1] - hits[i]) * (2 * np.int64(m) - beaten)
            figures[r, 0] = twice / (2 * np.int64(n) * np.int64(m))
        for j in range(m):
            called[j] = m - misses[np.uint64(second_begin[j])]
            others[j] = n - hits[np.uint64(opposite_begin[j])]
        area = 0.0
        for j in range(m):
            times = np.int32(misses[j + 1] - misses[j])
            every = max(np.int32(called[j] + others[j]), np.int32(1))
            area += np.float64(times) * (np.float64(called[j]) / np.float64(every))
        figures[r, 2] = area / m


@kernel
def _areas_of_lines(
    first: Array, second: Array, drawn_first: Array, drawn_second: Array, figures: Array
) -> None:
    """(G + 1,) curve and prefix sums of R resamples -> fills (R, 3), AUPR by straight lines."""
    n, m = np.int64(first[-1]), np.int64(second[-1])
    all_hits, all_misses = np.empty(first.size, np.int32), np.empty(first.size, np.int32)
    for r in range(figures.shape[0]):
        size = recount_into(first, second, drawn_first[r], drawn_second[r], all_hits, all_misses)
        hits, misses = all_hits[:size], all_misses[:size]
        figures[r, 0] = ordered_pairs(hits, misses) / (2 * n * m)
        figures[r, 1] = trapezoid_precision(hits, misses, False)
        figures[r, 2] = trapezoid_precision(misses, hits, True)
