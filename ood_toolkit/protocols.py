"""The two verbs of the toolkit, as types.

Everything that changes what a classifier said maps `Outputs` to `Outputs`; everything
that judges it maps `Outputs` to one number a row.  Parameters go in, a fitted thing comes
out: nothing unfitted can score, and a second fit never sees leftovers of the first.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Calibrator", "Detector", "JointScorer", "RowScorer", "Scorer", "Transform"]


@runtime_checkable
class Scorer(Protocol):
    """A fitted detector: pure arrays, frozen, can be saved."""

    def score(self, x: Outputs, /) -> Array:
        """(N,) float64; larger = more in-distribution."""
        ...


@runtime_checkable
class RowScorer(Scorer, Protocol):
    """A scorer whose score is a function of statistics of each row of logits.

    The planner gathers the statistics of all such scorers and reads the logits once.
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """What the score is made of."""
        ...

    def combine(self, rows: RowStatistics, /) -> Array:
        """(N,) float64 from the statistics; larger = more in-distribution."""
        ...


@runtime_checkable
class JointScorer(Scorer, Protocol):
    """A scorer of statistics of each row of logits and of other parts of the record.

    The planner gathers the statistics of these scorers too.
    """

    def statistics(self) -> tuple[Statistic, ...]:
        """What it wants to know of the logits."""
        ...

    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """(N,) float64 from the statistics and the record; larger = more in-distribution."""
        ...


class Detector(Protocol):
    """Hyper-parameters only: a frozen dataclass."""

    def fit(self, train: Outputs | None = None, validation: Outputs | None = None, /) -> Scorer:
        """Learn what the method needs from labelled in-distribution outputs."""
        ...


class Transform(Protocol):
    """A fitted change of what the classifier said."""

    def apply(self, x: Outputs, /) -> Outputs:
        """The changed record; the given one is left as it was."""
        ...


class Calibrator(Protocol):
    """Hyper-parameters of a transform that is fitted on held-out outputs."""

    def fit(self, validation: Outputs, /) -> Transform:
        """Learn the transform."""
        ...
