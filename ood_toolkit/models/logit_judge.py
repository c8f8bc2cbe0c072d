"""All that a guard says of a batch from one pass over its logits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ood_toolkit.chunks import refuse_bad_row
from ood_toolkit.detectors.base import LogitScorer
from ood_toolkit.kernels.numbers import first_nan
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import PREDICTION, TAIL, Statistic
from ood_toolkit.outputs import FLOATS, Array, Outputs

__all__ = ["LogitJudge"]


@dataclass(frozen=True)
class LogitJudge:
    """Judges logits by a score that is a function of their row statistics.

    The same bits as the scorer's own: a statistic does not depend on what else is asked for.
    Of one row nearly all the time is that of calls, so that there are few.

    Parameters
    ----------
    scorer : LogitScorer
        Larger = more in-distribution.
    limit : float
        The smallest score that is accepted.
    """

    scorer: LogitScorer
    limit: float

    @cached_property
    def _wanted(self) -> tuple[Statistic, ...]:
        return (*self.scorer.statistics(), PREDICTION, TAIL)

    def __call__(self, logits: Array) -> tuple[Array, Array, Array, Array]:
        """(N, C) floats -> labels, their probabilities, scores and acceptance, (N,) each.

        Raises
        ------
        InputError
            If they are no floats, or naming the first row with NaN, +inf or nothing but -inf,
            or whose score is NaN.
        """
        if logits.dtype not in FLOATS:
            Outputs(logits=logits)  # says what is wrong with them
        rows = row_statistics(logits, self._wanted)
        if rows.first_bad >= 0:
            refuse_bad_row(Outputs(logits=logits), rows.first_bad)
        scores = self.scorer.combine(rows)
        if first_nan(scores) >= 0:
            self.scorer.numbers(Outputs(logits=logits), scores)  # says which row
        return rows[PREDICTION], rows.probability(), scores, scores >= self.limit
