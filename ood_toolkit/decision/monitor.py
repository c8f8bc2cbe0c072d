"""Watching a stream of scores: when has it stopped to look in-distribution?"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array

__all__ = ["Monitor", "MonitorReport"]

EXPONENTS = tuple(float(e) for e in np.linspace(0.05, 0.95, 19))
"""Of the bets e p^(e - 1) on small p-values; the wealth is spread over them evenly."""


class MonitorReport(NamedTuple):
    """What a monitor saw.

    Attributes
    ----------
    alarm : int
        The row, counted from 0, at which the stream was first known not to be
        in-distribution; -1 where it never was.
    evidence : (N,) array of float64
        Wealth after each row of a gambler who starts with 1 and bets on strange rows at fair
        odds; large values do not come by chance.
    p_values : (N,) array of float64
        Of each row, given all before it; uniform and independent while nothing changes.
    """

    alarm: int
    evidence: Array
    p_values: Array


@dataclass(frozen=True, slots=True)
class Monitor:
    """A sequential test of "this stream is in-distribution", with a bounded false-alarm rate.

    The probability of any alarm in a stream of in-distribution rows, however long, is at most
    `false_alarm`: each row's conformal p-value given all rows before it is uniform, so with at
    most that probability a bet on small p-values at fair odds ever multiplies its stake by 1 /
    false_alarm.  Part of the stake is invested at every row, so that a late change is detected
    too.

    The rows must come in the order in which they arrived, or in a random one.  In-distribution
    rows that are sorted, by class or by anything else that the score depends on, are a stream that
    changes, and rightly raise an alarm.  Shuffle a data set first.

    Parameters
    ----------
    id_scores : (N,) array of float
        Scores of held-out in-distribution rows.
    false_alarm : float
        In (0, 1).
    seed : int
        Seed of the random tie-breaking.

    References
    ----------
    Vovk, Nouretdinov & Gammerman, "Testing exchangeability on-line", ICML 2003; Ville 1939.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> monitor = Monitor(rng.normal(size=500), false_alarm=0.01)
    >>> monitor.watch(rng.normal(size=300)).alarm
    -1
    >>> 0 < monitor.watch(rng.normal(-2.0, size=300)).alarm < 30
    True
    """

    id_scores: Array
    false_alarm: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.false_alarm < 1.0:
            raise BadParameter(f"false_alarm must lie in (0, 1), got {self.false_alarm}")
        if self.seed < 0:
            raise BadParameter(f"seed must be at least 0, got {self.seed}")
        ordered = np.sort(np.asarray(self.id_scores, dtype=np.float64))
        if ordered.size == 0 or np.isnan(ordered[-1]):
            raise InputError("a monitor needs in-distribution scores, none of them NaN")
        object.__setattr__(self, "id_scores", ordered)

    def watch(self, scores: Any) -> MonitorReport:
        """Look at a stream from its beginning.

        Parameters
        ----------
        scores : (N,) array of float
            In the order they came; larger = more in-distribution.

        Returns
        -------
        MonitorReport
            The first alarm, and the evidence at each row.

        Raises
        ------
        InputError
            If a score is NaN.
        """
        stream = np.asarray(scores, dtype=np.float64)
        if stream.ndim != 1 or np.isnan(stream).any():
            where = int(np.argmax(np.isnan(stream))) if stream.ndim == 1 else 0
            raise InputError(f"scores: row {where} is NaN, or they are not (N,)")
        p_values = self._p_values(stream)
        evidence = _wealth(p_values)
        beyond = np.flatnonzero(evidence >= 1.0 / self.false_alarm)
        return MonitorReport(int(beyond[0]) if beyond.size else -1, evidence, p_values)

    def _p_values(self, stream: Array) -> Array:
        """Rank of each score among all before it, ties broken by chance, in (0, 1]."""
        chance = 1.0 - np.random.default_rng(self.seed).random(stream.size)
        seen = self.id_scores.tolist()
        found = np.empty(stream.size)
        for i, score in enumerate(stream.tolist()):
            below, until = bisect.bisect_left(seen, score), bisect.bisect_right(seen, score)
            found[i] = (below + chance[i] * (until - below + 1)) / (len(seen) + 1)
            seen.insert(until, score)
        return found


def _wealth(p_values: Array) -> Array:
    """Wealth after each row, of which a share 1 / (k (k + 1)) begins to be bet at row k."""
    exponents = np.array(EXPONENTS)
    log_factors = np.log(exponents) + (exponents - 1.0) * np.log(p_values)[:, None]
    held = np.zeros(exponents.size)
    found = np.empty(p_values.size)
    for k, factors in enumerate(np.exp(log_factors), start=1):
        held = (held + 1.0 / (k * (k + 1))) * factors
        kept = 1.0 / (k + 1)  # what has not been put in yet
        found[k - 1] = math.fsum(held) / exponents.size + kept
    return found
