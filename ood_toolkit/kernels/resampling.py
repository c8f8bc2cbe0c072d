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
from ood_toolkit.kernels.ranking import TieGroups

__all__ = ["count_draws", "drawn_groups", "recount", "recount_into", "resampled"]

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
    size = recount_into(groups.first, groups.second, first, second, hits, misses)
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
    state = np.uint64(count_draws(np.uint64(state), times))
    total = np.int64(0)
    drawn[0] = 0
    for i in range(times.size):
        total += np.int64(times[i])
        drawn[i + 1] = total
    return state


@kernel
def count_draws(state: np.uint64, times: Array) -> np.uint64:
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
def recount_into(
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
