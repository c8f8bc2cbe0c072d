"""Bootstrap of a merged curve: the scores stay sorted, a resample only counts anew.

A resample draws N of N and M of M scores with replacement, so how often each score is
drawn is multinomial.  Prefix sums of those numbers, read at the ends of the tie groups,
are the curve of the resample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.ranking import (
    TieGroups,
    average_precision,
    operating_point,
    ordered_pairs,
    trapezoid_precision,
)

__all__ = ["drawn_groups", "recount", "resampled", "resampled_metrics"]

Array = npt.NDArray[Any]

_BLOCK = 1024


def resampled(groups: TieGroups, state: int) -> TieGroups:
    """Curve of one resample of either set on its own (stratified).

    Parameters
    ----------
    groups : TieGroups
        The curve of all scores; fewer than 2**31 in either set.
    state : int
        Where the random numbers begin, in 0 ... 2**64 - 1; the resample depends on
        nothing else.

    Returns
    -------
    TieGroups
        Without the groups of which nothing was drawn.
    """
    return recount(groups, *_prefix_sums(groups, state))


def drawn_groups(groups: TieGroups, state: int) -> Array:
    """Entries of `groups` that those of `resampled(groups, state)` come from; 0 first."""
    first, second = _prefix_sums(groups, state)
    called = first[groups.first] + second[groups.second]
    return np.flatnonzero(np.diff(called, prepend=-1))


def resampled_metrics(
    groups: TieGroups,
    states: Array,
    choice: int,
    ood_positive: bool,
    wanted: int,
    share: float,
    trapezoid: bool,
    rows: tuple[Array, Array] | None = None,
) -> Array:
    """AUROC, FPR, AUPR-in and AUPR-out of a resample a state, all by one call.  (R,) -> (R, 4).

    Parameters
    ----------
    groups : TieGroups
        The curve of all ID and OOD scores.
    states : (R,) array of uint64
        As of `resampled`.
    choice, wanted, share
        As of `operating_point`; `wanted` counts scores of the positive set.
    ood_positive : bool
        Whether the FPR has OOD positive.
    trapezoid : bool
        Whether the AUPR is the area under straight lines rather than average precision.
    rows : two arrays of int, optional
        Which row each sorted score of either set is of, (N,) and (M,): a state then draws the
        same rows whatever the scores are.
    """
    figures = np.empty((states.size, 4))
    of_first, of_second = (np.empty(0, np.int64),) * 2 if rows is None else rows
    with np.errstate(over="ignore"):
        _measure(
            *groups, of_first, of_second, states, choice, ood_positive, wanted, share, trapezoid,
            figures,
        )  # fmt: skip
    return figures


def recount(groups: TieGroups, first: Array, second: Array) -> TieGroups:
    """Curve of weighted scores, given prefix sums of their weights in sorted order.

    Parameters
    ----------
    groups : TieGroups
        The curve of all scores.
    first, second : (N + 1,), (M + 1,) arrays of int32
        0, then how much weight the largest 1, 2, ... scores of a set have.
    """
    hits, misses = np.empty((2, groups.first.size), np.int32)
    size = _recount(groups.first, groups.second, first, second, hits, misses)
    return TieGroups(hits[:size], misses[:size])


def _prefix_sums(groups: TieGroups, state: int) -> tuple[Array, Array]:
    """How many of the largest 0, 1, 2, ... scores of either set a resample draws."""
    first = np.empty(int(groups.first[-1]) + 1, np.int32)
    second = np.empty(int(groups.second[-1]) + 1, np.int32)
    with np.errstate(over="ignore"):  # 64-bit wrapping is meant, also where numba is off
        _draw(np.uint64(_draw(np.uint64(state), first)), second)
    return first, second


@kernel
def _draw(state: np.uint64, drawn: Array) -> np.uint64:
    """Draw K of K with replacement: fills (K + 1,) prefix sums of how often each was drawn."""
    times = np.zeros(drawn.size - 1, np.uint8)
    state = np.uint64(_count(np.uint64(state), times))
    total = np.int64(0)
    drawn[0] = 0
    for i in range(times.size):
        total += np.int64(times[i])
        drawn[i + 1] = total
    return state


@kernel
def _draw_rows(state: np.uint64, rows: Array, drawn: Array) -> np.uint64:
    """As `_draw`, but it is rows that are drawn, and prefix sums go through them as listed."""
    times = np.zeros(rows.size, np.uint8)
    state = np.uint64(_count(np.uint64(state), times))
    total = np.int64(0)
    drawn[0] = 0
    for i in range(rows.size):
        total += np.int64(times[np.uint64(rows[i])])
        drawn[i + 1] = total
    return state


@kernel
def _count(state: np.uint64, times: Array) -> np.uint64:
    """Draw K of K with replacement: counts in (K,) bytes how often each was drawn.

    The numbers are those of SplitMix64 (Steele, Lea & Flood, 2014), made a block at a time
    so that the compiler can vectorise them.  Bytes stay near the processor, and suffice: that
    one score of 256 or more is drawn 256 times has a probability below 1e-500.
    """
    size = times.size
    places = np.empty(_BLOCK, np.int64)
    step = np.uint64(0x9E3779B97F4A7C15)
    scale = size * 2.0**-53
    for begin in range(0, size, _BLOCK):
        count = min(_BLOCK, size - begin)
        for i in range(count):
            z = state + np.uint64(i + 1) * step
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            places[i] = np.int64(np.float64(np.int64(z >> np.uint64(11))) * scale)
        for i in range(count):
            times[np.uint64(places[i])] += np.uint8(1)
        state += np.uint64(count) * step
    return state


@kernel
def _recount(
    first: Array, second: Array, drawn_first: Array, drawn_second: Array, hits: Array, misses: Array
) -> np.int64:
    """(G + 1,) curve -> fills the entries of the resample, returns how many."""
    g, before = np.int64(0), np.int64(0)
    for k in range(first.size):
        h = np.int64(drawn_first[np.uint64(first[k])])
        f = np.int64(drawn_second[np.uint64(second[k])])
        # A group with nothing drawn writes the entry of the group above it once more.
        g += np.int64(h + f != before)
        before = h + f
        hits[np.uint64(g)], misses[np.uint64(g)] = h, f
    return g + 1


@kernel
def _measure(
    first: Array,
    second: Array,
    of_first: Array,
    of_second: Array,
    states: Array,
    choice: int,
    ood_positive: bool,
    wanted: int,
    share: float,
    trapezoid: bool,
    figures: Array,
) -> None:
    """(G + 1,) curve, (N,) and (M,) rows or none, (R,) states -> fills (R, 4)."""
    n, m = np.int64(first[-1]), np.int64(second[-1])
    drawn_first, drawn_second = np.empty(n + 1, np.int32), np.empty(m + 1, np.int32)
    all_hits, all_misses = np.empty(first.size, np.int32), np.empty(first.size, np.int32)
    for r in range(states.size):
        if of_first.size == 0:
            _draw(np.uint64(_draw(np.uint64(states[r]), drawn_first)), drawn_second)
        else:
            state = np.uint64(_draw_rows(np.uint64(states[r]), of_first, drawn_first))
            _draw_rows(state, of_second, drawn_second)
        size = _recount(first, second, drawn_first, drawn_second, all_hits, all_misses)
        hits, misses = all_hits[:size], all_misses[:size]
        figures[r, 0] = ordered_pairs(hits, misses) / (2 * n * m)
        if ood_positive:
            entry = operating_point(choice, misses[::-1], hits[::-1], wanted, share)
            figures[r, 1] = (n - hits[size - 1 - entry]) / n
        else:
            entry = operating_point(choice, hits, misses, wanted, share)
            figures[r, 1] = misses[entry] / m
        if trapezoid:
            figures[r, 2] = trapezoid_precision(hits, misses, False)
            figures[r, 3] = trapezoid_precision(misses, hits, True)
        else:
            figures[r, 2] = average_precision(hits, misses, False)
            figures[r, 3] = average_precision(misses, hits, True)
