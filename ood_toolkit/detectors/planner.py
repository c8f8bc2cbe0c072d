"""Fitting and scoring many methods together: the logits are read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from ood_toolkit.bounded import blocks_of_rows, fitted_on_what_fits
from ood_toolkit.chunks import checked_statistics, refuse_bad_row
from ood_toolkit.detectors.base import FittedScorer, LogitScorer
from ood_toolkit.detectors.catalogue import Method, make_detector, method_of
from ood_toolkit.errors import InputError
from ood_toolkit.given import each_once, head_hint
from ood_toolkit.kernels.numbers import first_nan
from ood_toolkit.kernels.request import INTEGERS
from ood_toolkit.kernels.rows import windows_of_statistics
from ood_toolkit.kernels.statistics import RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, JointScorer, RowScorer, Scorer

__all__ = [
    "FEW_ROWS",
    "Prepared",
    "as_detector",
    "fit_method",
    "prepared",
    "score_few",
    "score_together",
    "scorer_of_name",
    "scores_and_statistics",
    "unmet_needs",
]

FEW_ROWS = 64
"""Up to so many rows their statistics are found in one call, which is quicker."""

_NOTHING = RowStatistics({}, -1)


def as_detector(method: str | Detector, parameters: Mapping[str, Any] | None = None) -> Detector:
    """A detector from its name, or the one given."""
    return make_detector(method, parameters) if isinstance(method, str) else method


def unmet_needs(method: Method, x: Outputs, train: Outputs | None, *, named: str = "") -> str:
    """Why a method cannot run on these records, and what to do about it; empty where it can.

    `named` is what to call `x`, where it would not be clear which record lacks a part.
    """
    missing = method.missing(x.has())
    if missing:
        lacks = f", which {named} does not hold" if named else ""
        return f"needs {' and '.join(missing)}{lacks}{head_hint(x, missing)}"
    if not method.train:
        return ""
    if train is None:
        return f"needs training outputs with {' and '.join(method.train)}"
    absent = [part for part in method.train if part not in train.has()]
    if not absent:
        return ""
    return f"needs {' and '.join(absent)} in the training outputs{head_hint(train, absent)}"


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
            needs = f"{row.name} needs {' and '.join(absent)} to be fitted"
            raise InputError(f"{origin}{needs}{head_hint(train, absent)}")
    scorer = fitted_on_what_fits(row.name, detector.fit, train, validation)
    assert isinstance(scorer, FittedScorer)
    return scorer


@lru_cache(maxsize=128)
def scorer_of_name(name: str) -> FittedScorer | None:
    """The scorer of a method that learns nothing, made once; None of one that must be fitted.

    Raises
    ------
    UnknownName
        If there is no such method.
    """
    detector = make_detector(name)
    return None if method_of(detector).fits else fit_method(detector)


class Prepared(NamedTuple):
    """Scorers of row statistics of the logits alone, by name, and what all of them ask."""

    scorers: Mapping[str, LogitScorer]
    wanted: tuple[Statistic, ...]


@lru_cache(maxsize=128)
def prepared(names: tuple[str, ...]) -> Prepared | None:
    """Methods ready to score a few rows; None unless they learn nothing and need only logits.

    Raises
    ------
    UnknownName
        If there is no such method.
    InputError
        If a method is there twice.
    """
    found: list[tuple[str, LogitScorer]] = []
    for name in names:
        scorer = scorer_of_name(name)
        if not isinstance(scorer, LogitScorer) or method_of(scorer.detector).needs != ("logits",):
            return None
        found.append((scorer.name, scorer))
    scorers = each_once(found)
    wanted = tuple(dict.fromkeys(_asked_by(scorers.values())))
    return Prepared(scorers, wanted) if wanted else None


def score_few(x: Outputs, ready: Prepared) -> dict[str, Array]:
    """As `score_together`, of at most `FEW_ROWS` rows with logits: all that need be done.

    Raises
    ------
    InputError
        If a row holds NaN or infinity where it may not.
    """
    rows = checked_statistics(x, ready.wanted)
    scores = {name: scorer.combine(rows) for name, scorer in ready.scorers.items()}
    for name, found in scores.items():
        if first_nan(found) >= 0:
            ready.scorers[name].numbers(x, found)  # says which row
    return scores


def _asked_by(scorers: Iterable[RowScorer | JointScorer]) -> Iterator[Statistic]:
    for scorer in scorers:
        yield from scorer.statistics()


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
        If a scorer cannot judge `x`, or a row holds NaN or infinity where it may not, or
        values so large that a score would be NaN.
    """
    return scores_and_statistics(x, scorers, (), on_done)[0]


def scores_and_statistics(
    x: Outputs,
    scorers: Mapping[str, Scorer],
    wanted: Iterable[Statistic],
    on_done: Callable[[str], None] = lambda name: None,
) -> tuple[dict[str, Array], RowStatistics]:
    """As `score_together`, with statistics of the logits from the same pass."""
    asked = tuple(wanted)
    by_rows = {name: s for name, s in scorers.items() if _of_rows(s)}
    # Statistics are found window by window whatever the record takes; nothing else is.
    blocks = list(blocks_of_rows(x)) if len(by_rows) < len(scorers) else []
    if len(blocks) > 1:
        found = [scores_and_statistics(x.rows(part), scorers, asked) for part in blocks]
        for name in scorers:
            on_done(name)
        return (
            {name: np.concatenate([scores[name] for scores, _ in found]) for name in scorers},
            RowStatistics({w: np.concatenate([rows[w] for _, rows in found]) for w in asked}, -1),
        )
    joint = [s for s in scorers.values() if _joint(s)]
    for checked in (*by_rows.values(), *joint):
        if isinstance(checked, FittedScorer):
            checked.check(x)
    scores: dict[str, Array] = {}
    shared = _NOTHING
    if by_rows or joint or asked:
        scores, shared = _in_one_pass(x, by_rows, joint, asked)
    for name, scorer in scorers.items():
        if _joint(scorer):
            scores[name] = _numbers(scorer, x, scorer.judge(shared, x))
        elif name not in by_rows:
            scores[name] = scorer.score(x)
        on_done(name)
    return {name: scores[name] for name in scorers}, shared


def _in_one_pass(
    x: Outputs,
    by_rows: Mapping[str, RowScorer],
    joint: Sequence[JointScorer],
    asked: Iterable[Statistic],
) -> tuple[dict[str, Array], RowStatistics]:
    """Scores of what lives on row statistics, and the statistics asked for otherwise."""
    assert x.logits is not None
    logits = x.logits
    kept = dict.fromkeys((*asked, *_asked_by(joint)))
    every = dict.fromkeys((*kept, *_asked_by(by_rows.values())))
    if len(x) <= FEW_ROWS:
        rows = checked_statistics(x, every)
        return {name: _numbers(s, x, s.combine(rows)) for name, s in by_rows.items()}, rows
    scores: dict[str, Array] = {name: np.empty(len(x)) for name in by_rows}
    whole: dict[Statistic, Array] = {
        wanted: np.empty(len(x), np.int64 if wanted in INTEGERS else np.float64) for wanted in kept
    }

    # A score made of one number is made where that number is, which may be all there is to do.
    lone = len(scores) == len(every) == 1 and not kept and every.keys().isdisjoint(INTEGERS)
    into = next(iter(scores.values())) if lone else None
    strange: set[str] = set()  # scorers with a NaN, looked for while scores are in a cache

    def use(part: slice, rows: RowStatistics) -> None:
        if rows.first_bad < 0:
            for name, scorer in by_rows.items():
                found = scorer.combine(rows)
                if not lone or found is not next(iter(rows.values())):
                    scores[name][part] = found
                    if first_nan(found) >= 0:
                        strange.add(name)
        for wanted, values in whole.items():
            values[part] = rows[wanted]

    refuse_bad_row(x, windows_of_statistics(logits, every, use, into))
    for name in by_rows:
        if name in strange:
            _numbers(by_rows[name], x, scores[name])
    return scores, RowStatistics(whole, -1)


def _numbers(scorer: Scorer, x: Outputs, scores: Array) -> Array:
    """Scores that do not leave through `score`, none of them NaN."""
    return scorer.numbers(x, scores) if isinstance(scorer, FittedScorer) else scores


def _of_rows(scorer: Scorer) -> TypeGuard[RowScorer]:
    return _follows(type(scorer), RowScorer)


def _joint(scorer: Scorer) -> TypeGuard[JointScorer]:
    return _follows(type(scorer), JointScorer)


@lru_cache(maxsize=1024)
def _follows(kind: type, protocol: type) -> bool:
    """Whether a class has a protocol's methods; remembered, for asking takes long."""
    return issubclass(kind, protocol)
