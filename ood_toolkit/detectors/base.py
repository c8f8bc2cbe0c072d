"""What every fitted scorer shares: the checks at its door, and how logits are scored."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ood_toolkit.bounded import in_blocks
from ood_toolkit.chunks import checked_statistics, located, numbered
from ood_toolkit.detectors.catalogue import SCORER_KINDS, method_of
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.given import expect_outputs, head_hint
from ood_toolkit.kernels.numbers import first_nan
from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import check_axes

__all__ = [
    "FittedScorer",
    "LogitDetector",
    "LogitScorer",
    "StatisticsScorer",
    "numbers_of",
    "training_labels",
    "training_logits",
]


@dataclass(frozen=True)
class FittedScorer(ABC):
    """A fitted detector.

    Attributes
    ----------
    detector : object
        The hyper-parameters it was fitted with.
    classes, dims : int
        Classes and feature columns it was fitted on; 0 where any number will do.
    """

    detector: Any
    classes: int
    dims: int

    shapes: ClassVar[Mapping[str, str]] = {}
    """Axes of each array field; C and D are `classes` and `dims`, other letters bind."""
    infinite: ClassVar[frozenset[str]] = frozenset()
    """Array fields that may hold infinity."""

    def __init_subclass__(cls) -> None:
        SCORER_KINDS[cls.__name__] = cls

    def __post_init__(self) -> None:
        check_axes(self, self.name)

    @property
    def name(self) -> str:
        """The method's name in the catalogue."""
        return method_of(self.detector).name

    def score(self, x: Outputs, /) -> Array:
        """Score each row.

        Parameters
        ----------
        x : Outputs
            A record with the parts that the method needs.

        Returns
        -------
        (N,) array of float64
            Larger = more in-distribution.

        Raises
        ------
        InputError
            If a part is missing, a dimension differs from the fit's, a row holds NaN or
            infinity where it may not, or values so large that the score would be NaN.
        """
        return self.numbers(x, self.judged(x))

    def judged(self, x: Outputs, /) -> Array:
        """As `score`, for callers that ask `numbers` of the rows as they count them."""
        self.check(x)
        return in_blocks(x, self._score)

    def numbers(self, x: Outputs, scores: Array) -> Array:
        """The scores, none of which may be NaN.

        Whoever hands scores out asks this once: a method of finite values may overflow on the
        way, and every caller compares what it gets.

        Raises
        ------
        InputError
            Naming the first row whose score is NaN.
        """
        needs = [part for part in method_of(self.detector).needs if part != "head"]
        return numbers_of(self.name, needs, x, scores)

    def check(self, x: Outputs) -> None:
        """Raise `InputError` unless `x` has the parts and dimensions the scorer needs."""
        expect_outputs(x)
        missing = method_of(self.detector).missing(x.has())
        if missing:
            needs = f"{self.name} needs {' and '.join(missing)}"
            raise InputError(located(x, needs + head_hint(x, missing)))
        if self.classes and x.classes != self.classes and "logits" in x.has():
            raise InputError(
                located(
                    x, f"{x.classes} classes, but {self.name} was fitted on {self.classes} classes"
                )
            )
        if self.dims and x.features is not None and x.features.shape[1] != self.dims:
            raise InputError(
                located(
                    x,
                    f"features have {x.features.shape[1]} columns, but {self.name} was "
                    f"fitted on {self.dims}",
                )
            )

    @abstractmethod
    def _score(self, x: Outputs) -> Array: ...

    def report(self) -> Mapping[str, Any]:
        """What the fit found that a user should know, such as the covariance's rank."""
        return {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the scorer to a `.safetensors` file that `load_scorer` reads back."""
        from ood_toolkit.detectors.saving import save_scorer

        save_scorer(self, path)


@dataclass(frozen=True)
class StatisticsScorer(FittedScorer):
    """A fitted scorer of row statistics of the logits and of other parts of the record."""

    @abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """What it wants to know of the logits."""

    @abstractmethod
    def judge(self, rows: RowStatistics, x: Outputs, /) -> Array:
        """(N,) float64 from the statistics and the record; larger = more in-distribution."""

    def _score(self, x: Outputs) -> Array:
        return self.judge(checked_statistics(x, self.statistics()), x)


class LogitDetector(ABC):
    """A method that learns nothing: its score is a function of one row's statistics."""

    @abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """What the score is made of."""

    @abstractmethod
    def combine(self, rows: RowStatistics, /) -> Array:
        """(N,) float64 from the statistics; larger = more in-distribution."""

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> LogitScorer:
        """Nothing is learned; returns the scorer."""
        return LogitScorer(self, 0, 0)


@dataclass(frozen=True)
class LogitScorer(FittedScorer):
    """Scorer of any method whose score is a function of row statistics alone."""

    def statistics(self) -> tuple[Statistic, ...]:
        """What the score is made of."""
        wanted: tuple[Statistic, ...] = self.detector.statistics()
        return wanted

    def combine(self, rows: RowStatistics, /) -> Array:
        """(N,) float64 from the statistics; larger = more in-distribution."""
        return np.asarray(self.detector.combine(rows), dtype=np.float64)

    def _score(self, x: Outputs) -> Array:
        return self.combine(checked_statistics(x, self.statistics()))


def numbers_of(name: str, parts: Sequence[str], x: Outputs, scores: Array) -> Array:
    """The scores of a method of finite `parts` of a record, none of which may be NaN.

    Raises
    ------
    InputError
        Naming the first row whose score is NaN.
    """
    row = first_nan(scores)
    if row >= 0:
        what = f"holds values too large for {name}, whose score of it would be NaN"
        where = f"{' and '.join(parts)}: row {numbered(x, row)}"
        raise InputError(located(x, f"{where} {what}; scale it down or remove it"))
    return scores


def training_logits(method_name: str, train: Outputs | None) -> Array:
    """Logits to fit on, at least one row of them; `InputError` if there are none."""
    if train is None:
        raise InputError(f"{method_name} needs training outputs with logits")
    if train.logits is None:
        needs = f"{method_name} needs logits to be fitted{head_hint(train, ['logits'])}"
        raise InputError(located(train, needs))
    if len(train) == 0:
        raise InputError(located(train, f"{method_name} cannot be fitted on zero rows"))
    return train.logits


def training_labels(method: str, train: Outputs, *, every_class: bool = True) -> Array:
    """Labels to fit on, all known; with `every_class` each class must have a row.

    Raises
    ------
    InputError
        If labels are missing or unknown, there are no rows, or a class has none.

    Warns
    -----
    ToolkitWarning
        With `every_class`, if a class has a single row.
    """
    if train.labels is None:
        raise InputError(located(train, f"{method} needs labels to be fitted"))
    labels = train.labels
    if len(labels) == 0:
        raise InputError(located(train, f"{method} cannot be fitted on zero rows"))
    if (labels < 0).any():
        row = int(np.argmax(labels < 0))
        raise InputError(
            located(train, f"labels: row {row} is {labels[row]} (unknown); fit on labelled rows")
        )
    if every_class:
        count = max(train.classes, int(labels.max()) + 1)
        present = np.bincount(labels, minlength=count)
        if not present.all():
            raise InputError(
                located(
                    train,
                    f"class {int(np.argmin(present))} has no row, and {method} needs every class",
                )
            )
        alone = np.flatnonzero(present == 1)
        if alone.size:
            others = f" and {alone.size - 1} more have" if alone.size > 1 else " has"
            message = f"{method}: class {alone[0]}{others} one row only, which is then its mean"
            warnings.warn(located(train, message), ToolkitWarning, stacklevel=4)
    return labels
