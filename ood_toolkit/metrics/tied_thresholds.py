"""Two methods' false-positive rates where scores tie, by the likelihood of both sets' tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.metrics.intervals import Interval, normal_quantile

__all__ = ["tied_interval", "tied_p_value"]

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]

_MOST_LIMIT = 60.0  # of the deviance of thresholds that are looked at
_MOST_THRESHOLDS = 400
_HALVINGS = 40


def tied_p_value(
    positives: Pair, negatives: Pair, share: float, difference: float, wide: bool
) -> float:
    """How likely a difference of two methods' FPR is, at the thresholds that suit it best.

    Parameters
    ----------
    positives, negatives : two pairs of arrays of float64
        Scores of both methods for the same (N,) positives and (M,) negatives.
    share : float
        Of the positives, in (0, 1), that the thresholds are to let pass.
    difference : float
        FPR of the first method minus that of the second, in (-1, 1).
    wide : bool
        Whether `ties_are_wide` for both methods.  Thresholds are then held until half of what
        may go wrong speaks against them; otherwise their deviance and the negatives' add up.

    Returns
    -------
    float
        p-value, in [0, 1].
    """
    return _Tables(positives, negatives, share, wide).p_value(difference)


def tied_interval(
    positives: Pair, negatives: Pair, share: float, about: float, level: float, wide: bool
) -> Interval:
    """From the least to the largest difference whose `tied_p_value` is at least 1 - `level`.

    One of them, `about`, is in it whatever its p-value.
    """
    tables = _Tables(positives, negatives, share, wide)
    # those differences need not be next to each other where the rates of groups are far apart;
    # beyond the outermost that a pair of thresholds shows, the p-value only falls
    shown = tables.shown(level)
    ends = []
    for near, far in ((min(about, shown.min()), -1.0), (max(about, shown.max()), 1.0)):
        for _ in range(_HALVINGS):
            middle = 0.5 * (near + far)
            if tables.p_value(middle) >= 1.0 - level:
                near = middle
            else:
                far = middle
        ends.append(float(near))
    return Interval(*ends)


class _Tables:
    """Counts by pairs of thresholds: K of the first method times L of the second."""

    def __init__(self, positives: Pair, negatives: Pair, share: float, wide: bool) -> None:
        cuts = [_thresholds(scores, share) for scores in positives]
        self.rows = len(negatives[0])
        both, first, second = _both_pass(negatives, [values for values, _, _ in cuts])
        self.only_first = first[:, None] - both
        self.only_second = second[None, :] - both
        sides = [side for _, side, _ in cuts]
        bounds = [bound for _, _, bound in cuts]
        self.used = _against_share(_both_pass(positives, bounds), len(positives[0]), share, sides)
        self.wide = wide
        if wide:
            self.likely = _probabilities(self.used, sides)
            self.order = np.argsort(-self.likely, axis=None)

    def shown(self, level: float) -> Array:
        """Differences of the negatives, by pair of thresholds that the positives allow.  (P,)."""
        if self.wide:
            allowed = 2.0 * self.likely >= 1.0 - level
        else:
            allowed = self.used <= normal_quantile(level) ** 2
        allowed |= self.used <= self.used.min()  # what is shown at the wanted share itself
        return np.asarray((self.only_first - self.only_second)[allowed] / self.rows)

    def p_value(self, difference: float) -> float:
        """Of the difference, the largest that a pair of thresholds gives it."""
        against = self._of_negatives(difference)
        if not self.wide:
            return _beyond(float((self.used + against).min()))
        likely, against, found = self.likely.ravel(), against.ravel(), 0.0
        for pair in self.order:
            if 2.0 * likely[pair] <= found:
                break  # as are all that follow
            found = max(found, min(2.0 * float(likely[pair]), _beyond(float(against[pair]))))
        return found

    def _of_negatives(self, difference: float) -> Array:
        """Deviance of the difference at each pair of thresholds."""
        b, c = self.only_first, self.only_second
        if difference < 0.0:
            b, c, difference = c, b, -difference
        rest = self.rows - b - c
        # shares q + difference and q of the rows that one method alone lets pass
        linear = b * (1.0 - difference) + c * (1.0 - 3.0 * difference) - 2.0 * rest * difference
        root = np.sqrt(linear**2 + 8.0 * self.rows * c * difference * (1.0 - difference))
        q = np.maximum((linear + root) / (4.0 * self.rows), 0.0)
        expected = (q + difference, q, 1.0 - 2.0 * q - difference)
        found = np.zeros_like(b)
        for counts, share in zip((b, c, rest), expected, strict=True):
            found += 2.0 * _log_ratio(counts, self.rows * share)
        return found


def _beyond(deviance: float) -> float:
    """Probability of a larger one, of chi-squared with one degree of freedom."""
    return math.erfc(math.sqrt(max(deviance, 0.0) / 2.0))


def _probabilities(used: Array, sides: list[Array]) -> Array:
    """Of a larger deviance of the positives, with a degree of freedom for each side that binds."""
    first, second = (side != 0 for side in sides)
    found = np.exp(-0.5 * np.maximum(used, 0.0))
    found[np.ix_(~first, ~second)] = 1.0
    for k, j in np.argwhere(first[:, None] ^ second[None, :]):
        found[k, j] = _beyond(float(used[k, j]))
    return found


def _thresholds(scores: Array, share: float) -> tuple[Array, Array, Array]:
    """Distinct positive scores, from the largest down, that may be the threshold wanted.

    With each: -1 where fewer positives reach it than are wanted, 1 where more lie above it, 0
    where neither speaks against it; and the least score of the positives that are counted
    against it.
    """
    values, counts = np.unique(scores, return_counts=True)
    values, reached = values[::-1], np.cumsum(counts[::-1])
    above = reached - counts[::-1]
    wanted = share * len(scores)
    reach = math.sqrt(_MOST_LIMIT * wanted * (1.0 - share))
    near = (reached > wanted - reach) & (above < wanted + reach)
    chosen = np.flatnonzero(near)
    if chosen.size > _MOST_THRESHOLDS:
        chosen = chosen[:: -(-chosen.size // _MOST_THRESHOLDS)]
        own = int(np.searchsorted(reached, wanted))
        chosen = np.unique(np.append(chosen, own))
    side = np.where(reached < wanted, -1, np.where(above >= wanted, 1, 0))[chosen]
    values = values[chosen]
    return values, side, np.where(side > 0, np.nextafter(values, np.inf), values)


def _both_pass(scores: Pair, cuts: list[Array]) -> tuple[Array, Array, Array]:
    """Rows that reach both of two descending cuts (K, L), the first (K,), the second (L,)."""
    first, second = (np.searchsorted(-cut, -s) for s, cut in zip(scores, cuts, strict=True))
    k, m = len(cuts[0]), len(cuts[1])
    table = np.bincount(first * (m + 1) + second, minlength=(k + 1) * (m + 1))
    table = table.reshape(k + 1, m + 1).cumsum(axis=0).cumsum(axis=1).astype(np.float64)
    return table[:k, :m], table[:k, m], table[k, :m]


def _against_share(
    passing: tuple[Array, Array, Array], rows: int, share: float, sides: list[Array]
) -> Array:
    """Deviance of the positives that pass from the share that is to pass.  (K, L)."""
    both, first, second = passing
    alone = [_binomial(counts, rows, share) * (side != 0)
             for counts, side in zip((first, second), sides, strict=True)]  # fmt: skip
    one_only = alone[0][:, None] + alone[1][None, :]
    # both bound: of the shares x, share - x, share - x, 1 - 2 share + x the likeliest
    spread = first[:, None] + second[None, :] - 2.0 * both
    rest = rows - both - spread
    spare = 1.0 - 2.0 * share
    linear = both * (share - spare) - spread * spare + rest * share
    inside = np.maximum(linear**2 + 4.0 * rows * both * share * spare, 0.0)
    x = (linear + np.sqrt(inside)) / (2.0 * rows)
    found = _log_ratio(both, rows * x) + _log_ratio(rest, rows * (spare + x))
    for counts in (first[:, None] - both, second[None, :] - both):
        found = found + _log_ratio(counts, rows * (share - x))
    bound = (sides[0] != 0)[:, None] & (sides[1] != 0)[None, :]
    return np.where(bound, 2.0 * found, one_only)


def _binomial(counts: Array, rows: int, share: float) -> Array:
    found = _log_ratio(counts, rows * share) + _log_ratio(rows - counts, rows * (1.0 - share))
    return 2.0 * found


def _log_ratio(counts: Array, expected: Any) -> Array:
    """Counts times the log of their ratio to what is expected, 0 where none is counted."""
    expected = np.maximum(np.broadcast_to(expected, counts.shape), 1e-300)
    safe = np.where(counts > 0, counts, 1.0)
    return np.where(counts > 0, counts * np.log(safe / expected), 0.0)
