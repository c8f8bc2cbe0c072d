"""A pseudo-random number that belongs to a row, wherever and whenever it is judged."""

from __future__ import annotations

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["row_chance"]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_chance(logits: Array, seed: int) -> Array:
    """One number in (0, 1) for each row, as good as drawn by chance, from its logits and a seed.

    The same row has the same number alone, in any batch and at any place in it, and in float16,
    float32 or float64 where the values are the same; other rows have numbers that look
    independent of it.

    Parameters
    ----------
    logits : (N, C) array of float
        Without NaN.
    seed : int
        At least 0.

    Returns
    -------
    (N,) array of float64

    Notes
    -----
    A sum modulo 2^64 of the bits of each value times an odd number of its column, which
    integers add up exactly in any order, and the last steps of SplitMix64 (Steele, Lea & Flood,
    OOPSLA 2014).

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[2.0, 0.0], [0.0, 2.0]])
    >>> row_chance(z, 0).tolist() == [row_chance(z[i : i + 1], 0)[0] for i in (0, 1)]
    True
    """
    # + 0.0 makes a copy, and one zero of the two
    bits = (np.asarray(logits, dtype=np.float64) + 0.0).view(np.uint64)
    # values that come from float32 have empty low halves, which would stay empty in the sum
    bits ^= bits >> np.uint64(32)
    drawn = np.random.SeedSequence(seed).generate_state(bits.shape[1] + 1, np.uint64)
    h = bits @ (drawn[1:] | np.uint64(1)) + drawn[0]
    h = (h ^ (h >> np.uint64(30))) * _FIRST
    h = (h ^ (h >> np.uint64(27))) * _SECOND
    h ^= h >> np.uint64(31)
    # the middle of one of 2^52 cells: never 0 or 1
    return np.asarray(((h >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)
