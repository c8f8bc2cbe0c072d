"""Radix sort of floating-point scores, largest first.

A float's bits, read as an unsigned integer, rise with its magnitude; turning the positive
ones around gives integer keys that rise as scores fall.  Keys are sorted by the 32 bits
below the highest bit in which they differ, one 8-bit digit at a time; what still ties
there (only 64-bit keys can) is finished run by run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import kernel
from ood_toolkit.kernels.threads import thread_count

__all__ = ["PARALLEL_FROM", "SortedKeys", "scores_of", "sort_descending", "sort_pair_descending"]

Array = npt.NDArray[Any]

PARALLEL_FROM = 50_000
"""Length from which a second sort is worth a thread of its own."""

_DIGIT_BITS = 8
_BUCKETS = 1 << _DIGIT_BITS
_DIGITS = 4
_SORTED_BITS = _DIGIT_BITS * _DIGITS
_SHORT_RUN = 32


class SortedKeys(NamedTuple):
    """The keys of scores sorted from the largest down, and where the first NaN lay.

    Attributes
    ----------
    keys : (N,) array of uint32 (of float32 scores) or uint64 (of float64 scores)
        Ascending; equal exactly where scores are equal, 0.0 and -0.0 too.  Meaningless
        where `first_bad` is not -1.
    first_bad : int
        Index of the first NaN in the input; -1 where there is none.
    """

    keys: Array
    first_bad: int


def sort_descending(scores: Array) -> SortedKeys:
    """Keys of float32 or float64 scores, from the largest score down.  (N,) -> (N,)."""
    scores = np.ascontiguousarray(scores)
    unsigned = np.dtype(f"u{scores.dtype.itemsize}")
    infinity = np.uint64(np.array(np.inf, scores.dtype).view(unsigned))
    keys = np.empty(scores.shape, unsigned)
    nans, least, most = _keys(scores.view(unsigned), _magnitude(unsigned), infinity, keys)
    if nans:
        return SortedKeys(keys, int(np.flatnonzero(np.isnan(scores))[0]))
    width = (int(most) - int(least)).bit_length() if scores.size else 0
    shift = np.uint64(max(0, width - _SORTED_BITS))
    digits = -(-min(width, _SORTED_BITS) // _DIGIT_BITS)
    scratch = np.empty_like(keys)
    _sort_digits(keys, scratch, np.uint64(least), shift, digits)
    if digits % 2:
        keys, scratch = scratch, keys
    if shift:
        _finish_runs(keys, scratch, np.uint64(least), shift)
    return SortedKeys(keys, -1)


def sort_pair_descending(first: Array, second: Array) -> tuple[SortedKeys, SortedKeys]:
    """Both arrays sorted on their own, in two threads where that is worth it."""
    if min(first.size, second.size) < PARALLEL_FROM or thread_count() == 1:
        return sort_descending(first), sort_descending(second)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(sort_descending, second)
        return sort_descending(first), other.result()


def scores_of(keys: Array) -> Array:
    """Turn keys back into the scores they were made from; -0.0 has become 0.0."""
    scores = np.empty(keys.shape, np.dtype(f"f{keys.dtype.itemsize}"))
    _scores(keys, _magnitude(keys.dtype), scores.view(keys.dtype))
    return scores


def _magnitude(unsigned: np.dtype[Any]) -> np.uint64:
    """Every bit but the sign of a float as wide as `unsigned`."""
    return np.uint64(2 ** (8 * unsigned.itemsize - 1) - 1)


@kernel
def _keys(
    bits: Array, magnitude: np.uint64, infinity: np.uint64, keys: Array
) -> tuple[np.int64, np.uint64, np.uint64]:
    """(N,) bit patterns -> fills keys; returns the number of NaNs, least and largest key."""
    zero = magnitude ^ magnitude
    negative_zero = ~magnitude & (magnitude + np.uint64(1))
    nans, least, most = np.int64(0), ~zero, zero
    for i in range(bits.size):
        u = np.uint64(bits[i])
        nans += np.int64((u & magnitude) > infinity)
        if u == negative_zero:
            u = zero
        if u <= magnitude:
            u ^= magnitude
        keys[i] = u
        least, most = min(least, u), max(most, u)
    return nans, least, most


@kernel
def _scores(keys: Array, magnitude: np.uint64, bits: Array) -> None:
    """(N,) keys -> fills the bit patterns they were made from."""
    for i in range(keys.size):
        u = np.uint64(keys[i])
        if u <= magnitude:
            u ^= magnitude
        bits[i] = u


@kernel
def _sort_digits(
    keys: Array, scratch: Array, least: np.uint64, shift: np.uint64, digits: int
) -> None:
    """(N,) keys sorted by `digits` digits of (key - least) >> shift, lowest digit first.

    The result lies in `scratch` where `digits` is odd, else in `keys`.
    """
    mask = np.uint64(_BUCKETS - 1)
    bits = np.uint64(_DIGIT_BITS)
    starts = np.zeros((_DIGITS, _BUCKETS), np.int64)
    for i in range(keys.size):
        rest = (np.uint64(keys[i]) - least) >> shift
        for d in range(_DIGITS):
            starts[d, np.int64(rest & mask)] += 1
            rest >>= bits
    source, target = keys, scratch
    for d in range(digits):
        start, total = starts[d], np.int64(0)
        for b in range(_BUCKETS):
            count = start[b]
            start[b] = total
            total += count
        digit_shift = shift + np.uint64(d * _DIGIT_BITS)
        for i in range(keys.size):
            key = source[i]
            bucket = np.int64(((np.uint64(key) - least) >> digit_shift) & mask)
            target[start[bucket]] = key
            start[bucket] += 1
        source, target = target, source


@kernel
def _finish_runs(keys: Array, scratch: Array, least: np.uint64, shift: np.uint64) -> None:
    """(N,) keys sorted by (key - least) >> shift -> sorted, in place."""
    n, begin = keys.size, 0
    while begin < n:
        prefix = (np.uint64(keys[begin]) - least) >> shift
        end = begin + 1
        while end < n and (np.uint64(keys[end]) - least) >> shift == prefix:
            end += 1
        if end - begin > _SHORT_RUN:
            # At most 32 bits below the prefix are left to sort by: the lowest four digits.
            _sort_digits(keys[begin:end], scratch[begin:end], least, np.uint64(0), _DIGITS)
        else:
            _insert(keys, begin, end)
        begin = end


@kernel
def _insert(keys: Array, begin: int, end: int) -> None:
    """keys[begin:end] sorted by insertion, in place."""
    for i in range(begin + 1, end):
        key, j = keys[i], i - 1
        while j >= begin and keys[j] > key:
            keys[j + 1] = keys[j]
            j -= 1
        keys[j + 1] = key
