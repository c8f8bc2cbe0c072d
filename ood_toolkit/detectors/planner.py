"""Fitting and scoring many methods together: the logits are read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from ood_toolkit.detectors.base import FittedScorer, checked_statistics
from ood_toolkit.detectors.catalogue import Method, make_detector, method_of
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import RowStatistics
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, JointScorer, RowScorer, Scorer

__all__ = ["as_detector", "fit_method", "score_together", "unmet_needs"]


def as_detector(method: str | Detector, parameters: Mapping[str, Any] | None = None) -> Detector:
    """A detector from its name, or the one given."""
    return make_detector(method, parameters) if isinstance(method, str) else method


def unmet_needs(method: Method, x: Outputs, train: Outputs | None) -> str:
    """Why a method cannot run on these records; empty where it can."""
    missing = method.missing(x.has())
    if missing:
        return f"needs {' and '.join(missing)}"
    if not method.train:
        return ""
    if train is None:
        return f"needs training outputs with {' and '.join(method.train)}"
    absent = [part for part in method.train if part not in train.has()]
    return f"needs {' and '.join(absent)} in the training outputs" if absent else ""


def fit_method(
    detector: Detector, train: Outputs | None = None, validation: Outputs | None = None
) -> FittedScorer:
    """Fit a detector on the records its catalogue row asks for.

    Raises
    ------
    InputError
        If a record or a part of it is missing, or cannot be fitted on.
    """
    row = method_of(detector)
    if row.train:
        if train is None:
            parts = " and ".join(row.train)
            raise InputError(f"{row.name} needs training outputs with {parts} (train=, --train)")
        absent = [part for part in row.train if part not in train.has()]
        if absent:
            origin = f"{train.source}: " if train.source else ""
            raise InputError(f"{origin}{row.name} needs {' and '.join(absent)} to be fitted")
    scorer = detector.fit(train, validation)
    assert isinstance(scorer, FittedScorer)
    return scorer


def score_together(
    x: Outputs,
    scorers: Mapping[str, Scorer],
    on_done: Callable[[str], None] = lambda name: None,
) -> dict[str, Array]:
    """Scores of every scorer; all that live on row statistics share one pass over the logits.

    Parameters
    ----------
    x : Outputs
        The record to judge.
    scorers : mapping of str to Scorer
        Fitted scorers by the name their scores shall have.
    on_done : callable, optional
        Called with each name when its scores are there.

    Returns
    -------
    dict of str to (N,) array of float64
        In the order of `scorers`; larger = more in-distribution.

    Raises
    ------
    InputError
        If a scorer cannot judge `x`, or a row holds NaN or infinity where it may not.
    """
    of_rows = [s for s in scorers.values() if _of_rows(s) or _joint(s)]
    shared = RowStatistics({}, -1)
    if of_rows:
        for checked in of_rows:
            if isinstance(checked, FittedScorer):
                checked.check(x)
        shared = checked_statistics(x, [wanted for s in of_rows for wanted in s.statistics()])
    scores = {}
    for name, scorer in scorers.items():
        if _of_rows(scorer):
            scores[name] = scorer.combine(shared)
        elif _joint(scorer):
            scores[name] = scorer.judge(shared, x)
        else:
            scores[name] = scorer.score(x)
        on_done(name)
    return scores


def _of_rows(scorer: Scorer) -> TypeGuard[RowScorer]:
    # of the class, for Python remembers that; asking the object takes longer than a score
    return issubclass(type(scorer), RowScorer)


def _joint(scorer: Scorer) -> TypeGuard[JointScorer]:
    return issubclass(type(scorer), JointScorer)
