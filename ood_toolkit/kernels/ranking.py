"""Two sets of scores merged once into tie groups, and sums over the merged curve.

A *curve* is a pair of count arrays (hits, misses) of length G + 1, one entry before the
first and one after each of the G distinct scores, from the largest down: how many scores
of either set lie at or above it.  The other set becomes the positive class when the curve
is read from the smallest score up.  Kernels that search take such a curve as the reversed
arrays (`misses[::-1], hits[::-1]`): they count from the first entry.  Kernels that sum
over all entries have a flag instead, because they run on contiguous memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels._jit import exact_kernel, kernel

__all__ = [
    "FIRST",
    "NEAREST",
    "THINNED",
    "TieGroups",
    "average_precision",
    "band_mean",
    "delong_variance",
    "group_keys",
    "merge_tie_groups",
    "operating_point",
    "ordered_pairs",
    "smallest_error",
    "trapezoid_precision",
]

Array = npt.NDArray[Any]

FIRST, THINNED, NEAREST = 0, 1, 2
"""How `operating_point` chooses."""


class TieGroups(NamedTuple):
    """How many scores of either set lie at or above each distinct score.

    Attributes
    ----------
    first, second : (G + 1,) arrays of int32, or of int64 where 2**31 scores do not fit
        0 in the first entry, then one entry a distinct score, from the largest down.
    """

    first: Array
    second: Array


def merge_tie_groups(first: Array, second: Array) -> TieGroups:
    """Merge two arrays of ascending keys, of one dtype.  (N,), (M,) -> G <= N + M groups."""
    most = first.size + second.size + 1
    counts = np.empty((2, most), np.int32 if most < 2**31 else np.int64)
    groups = _merge(first, second, counts[0], counts[1])
    if 2 * groups < most:
        counts = counts[:, :groups].copy()
    return TieGroups(counts[0, :groups], counts[1, :groups])


def group_keys(first: Array, second: Array, groups: TieGroups) -> Array:
    """Key of each tie group of two arrays of ascending keys.  (N,), (M,) -> (G,)."""
    keys = np.empty(groups.first.size - 1, first.dtype)
    in_first = np.diff(groups.first) > 0
    keys[in_first] = first[groups.first[1:][in_first] - 1]
    keys[~in_first] = second[groups.second[1:][~in_first] - 1]
    return keys


@kernel
def _merge(first: Array, second: Array, above: Array, below: Array) -> np.int64:
    """(N,), (M,) ascending keys -> fills the entries, returns how many.

    The common loop has no branch on the data: which set the next score comes from is a
    coin toss that a processor cannot predict.
    """
    n, m = first.size, second.size
    i, j, g = np.int64(0), np.int64(0), np.int64(0)
    above[0], below[0] = 0, 0
    none = ~np.uint64(0)
    a = np.uint64(first[0]) if n > 0 else none
    b = np.uint64(second[0]) if m > 0 else none
    current = ~min(a, b)  # any key but the first one, so that the first one opens a group
    while i < n and j < m:
        a, b = np.uint64(first[i]), np.uint64(second[j])
        key = min(a, b)
        g += np.int64(key != current)
        current = key
        i += np.int64(a <= b)
        j += np.int64(b <= a)
        above[g], below[g] = i, j
    while i < n:
        key = np.uint64(first[i])
        g += np.int64(key != current)
        current = key
        i += 1
        above[g], below[g] = i, j
    while j < m:
        key = np.uint64(second[j])
        g += np.int64(key != current)
        current = key
        j += 1
        above[g], below[g] = i, j
    return g + 1


@kernel
def ordered_pairs(hits: Array, misses: Array) -> int:
    """Twice the pairs in which the hit comes first, tied pairs counted once.  (G + 1,) -> int."""
    twice = 0
    for g in range(1, hits.size):
        twice += (misses[g] - misses[g - 1]) * (np.int64(hits[g - 1]) + np.int64(hits[g]))
    return twice


@kernel
def average_precision(hits: Array, misses: Array, from_below: bool) -> float:
    """Sum of precision times the step in recall.  (G + 1,) -> float in [0, 1]."""
    # What is called positive at the threshold of entry g + 1, from above or from below.
    origin = -1 if from_below else 0
    called_hits = hits[:-1] if from_below else hits[1:]
    called_misses = misses[:-1] if from_below else misses[1:]
    area = 0.0
    for g in range(hits.size - 1):
        h = abs(called_hits[g] - hits[origin])
        area += (hits[g + 1] - hits[g]) * (h / (h + abs(called_misses[g] - misses[origin])))
    return float(area / hits[-1])


@kernel
def trapezoid_precision(hits: Array, misses: Array, from_below: bool) -> float:
    """Area under straight lines between the points (recall, precision), from (0, 1)."""
    origin = -1 if from_below else 0
    area = 0.0
    for g in range(1, hits.size):
        h0, h1 = abs(hits[g - 1] - hits[origin]), abs(hits[g] - hits[origin])
        f0, f1 = abs(misses[g - 1] - misses[origin]), abs(misses[g] - misses[origin])
        before = h0 / (h0 + f0) if h0 + f0 > 0 else 1.0
        after = h1 / (h1 + f1) if h1 + f1 > 0 else 1.0
        area += abs(h1 - h0) * (before + after)
    return float(0.5 * area / hits[-1])


@kernel
def smallest_error(hits: Array, misses: Array) -> float:
    """Least mean of the share of hits missed and of misses accepted, over all thresholds."""
    n, m = hits[-1], misses[-1]
    least = 1.0
    for g in range(hits.size):
        least = min(least, (n - hits[g]) / n + misses[g] / m)
    return 0.5 * least


@exact_kernel
def operating_point(choice: int, hits: Array, misses: Array, wanted: int, share: float) -> int:
    """Entry that a published rule picks for a share of the hits.  (G + 1,) -> index.

    Parameters
    ----------
    choice : int
        FIRST, the first entry with `wanted` hits; THINNED, the first such entry on a thinned
        curve; NEAREST, the entry whose share of the hits is nearest to `share`.
    hits, misses : (G + 1,) arrays of int
        The curve, reversed where it is read from below.
    wanted : int
        The least number of hits that reaches `share`, at least 1.
    share : float
        In (0, 1].
    """
    reaching = _first_with(hits, wanted)
    if choice == THINNED:
        return _kept_from(reaching, hits, misses)
    if choice == NEAREST:
        return _nearest_to(reaching, hits, share)
    return reaching


@exact_kernel
def _first_with(counts: Array, wanted: int) -> int:
    """First entry whose count, taken from the first entry, reaches `wanted`."""
    low, high = 0, counts.size - 1
    while low < high:
        middle = (low + high) // 2
        if abs(counts[middle] - counts[0]) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


@exact_kernel
def _kept_from(g: int, hits: Array, misses: Array) -> int:
    """First entry from `g` on that a thinned curve keeps.

    scikit-learn's `roc_curve` drops, by default, the points at which neither count's step
    changes; only its first and last points (of scores, not the origin) are safe.
    """
    last = hits.size - 1
    while 1 < g < last:
        if hits[g + 1] - hits[g] != hits[g] - hits[g - 1]:
            break
        if misses[g + 1] - misses[g] != misses[g] - misses[g - 1]:
            break
        g += 1
    return g


@exact_kernel
def _nearest_to(reaching: int, hits: Array, share: float) -> int:
    """Entry whose share of the hits is nearest to `share`, which entry `reaching` reaches.

    The published code looks from all hits down to none: of two shares equally near it
    takes the larger, and of entries with the same share the last, except among those with
    all hits.
    """
    total = abs(hits[-1] - hits[0])
    above = abs(hits[reaching] - hits[0])
    if reaching > 1:
        below = abs(hits[reaching - 1] - hits[0])
        if abs(below / total - share) < abs(above / total - share):
            return reaching - 1
    return reaching if above == total else _first_with(hits, above + 1) - 1


@exact_kernel
def band_mean(
    thresholds: Array, hits: Array, misses: Array, cuts: Array, low: float, high: float
) -> float:
    """Mean share of misses > cut over ascending cuts with low <= share of hits >= cut <= high.

    (G + 1,), (K,) -> float; NaN where no cut falls in the band.
    """
    total_hits, total_misses = hits[-1], misses[-1]
    at_or_above = hits.size - 1
    above = at_or_above
    shares, inside = 0.0, 0
    for cut in cuts:
        while at_or_above > 0 and thresholds[at_or_above] < cut:
            at_or_above -= 1
        while above > 0 and thresholds[above] <= cut:
            above -= 1
        if low <= hits[at_or_above] / total_hits <= high:
            shares += misses[above] / total_misses
            inside += 1
    return shares / inside if inside > 0 else np.nan


@kernel
def delong_variance(hits: Array, misses: Array, auroc: float) -> float:
    """Variance of the AUROC of a curve by DeLong's components.  (G + 1,) -> float.

    NaN where either set has fewer than two scores.
    """
    n, m = hits[-1], misses[-1]
    if n < 2 or m < 2:
        return np.nan
    of_hits, of_misses = 0.0, 0.0
    for g in range(1, hits.size):
        beaten = 1.0 - 0.5 * (misses[g - 1] + misses[g]) / m - auroc
        beating = 0.5 * (hits[g - 1] + hits[g]) / n - auroc
        of_hits += (hits[g] - hits[g - 1]) * beaten * beaten
        of_misses += (misses[g] - misses[g - 1]) * beating * beating
    return float(of_hits / (n - 1) / n + of_misses / (m - 1) / m)
