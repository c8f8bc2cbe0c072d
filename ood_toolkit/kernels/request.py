"""What a caller wants of each row, in the form that compiled kernels read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    LARGEST,
    LEAD,
    NONUNIFORMITY,
    PREDICTION,
    SATURATED,
    SECOND,
    TAIL,
    RowStatistics,
    Statistic,
)

__all__ = ["FLOATS", "INTEGERS", "Request", "Results", "request"]

FLOATS = (LARGEST, SECOND, TAIL, ENTROPY, IMPURITY, NONUNIFORMITY, LEAD)
"""Statistics without arguments that are real numbers, in the order of `Request.floats`."""
INTEGERS = (PREDICTION, CLASSES, SATURATED)
"""Statistics that are whole numbers, in the order of `Request.integers`."""

_WHOLE = frozenset(statistic.name for statistic in INTEGERS)


class Request(NamedTuple):
    """Where each statistic goes: a row of `Results.floats` or `.integers`, -1 = not wanted.

    Attributes
    ----------
    floats, integers : tuple of int
        Rows of the statistics named in `FLOATS` and `INTEGERS`.
    temperatures : (t,) float64 array
        Temperatures of log-sum-exp and its excess.
    lse, excess : (t,) int64 arrays
        Their rows.
    gen_gamma, gen_top, gen : (g,) float64, int64 and int64 arrays
        Generalised entropies: gamma, the number of probabilities, the row.
    log_prior, prior : (k, C) float64 and (k,) int64 arrays
        ln q of each prior, and the row of its divergence.
    softmax : bool
        Whether anything needs more of the softmax at temperature 1 than its log-sum-exp.
    """

    floats: tuple[int, ...]
    integers: tuple[int, ...]
    temperatures: npt.NDArray[np.float64]
    lse: npt.NDArray[np.int64]
    excess: npt.NDArray[np.int64]
    gen_gamma: npt.NDArray[np.float64]
    gen_top: npt.NDArray[np.int64]
    gen: npt.NDArray[np.int64]
    log_prior: npt.NDArray[np.float64]
    prior: npt.NDArray[np.int64]
    softmax: bool


class Results(NamedTuple):
    """Where kernels write: a row a statistic, a column an input."""

    floats: npt.NDArray[np.float64]
    integers: npt.NDArray[np.int64]

    def named(self, wanted: tuple[Statistic, ...], first_bad: int) -> RowStatistics:
        """The arrays under the names they were asked for by."""
        floats, integers = iter(self.floats), iter(self.integers)
        values = {s: next(integers if s.name in _WHOLE else floats) for s in wanted}
        return RowStatistics(values, first_bad)


def request(
    wanted: Iterable[Statistic], classes: int
) -> tuple[tuple[Statistic, ...], Request, tuple[int, int]]:
    """Distinct statistics in order, their request, and how many rows each result has.

    Raises
    ------
    InputError
        If a statistic does not exist or its numbers make no sense for `classes` columns.
    """
    wanted = tuple(dict.fromkeys(wanted))
    rows: dict[Statistic, int] = {}
    counts = {True: 0, False: 0}
    for statistic in wanted:
        _check(statistic, classes)
        integer = statistic in INTEGERS
        rows[statistic] = counts[integer]
        counts[integer] += 1
    temperatures = _arguments(wanted, "log_sum_exp", "excess")
    gens = _arguments(wanted, "generalized_entropy")
    priors = _arguments(wanted, "kl_to_prior")
    with np.errstate(divide="ignore"):
        log_prior = np.log(np.array(priors, dtype=np.float64).reshape(len(priors), classes))
    return (
        wanted,
        Request(
            floats=tuple(rows.get(s, -1) for s in FLOATS),
            integers=tuple(rows.get(s, -1) for s in INTEGERS),
            temperatures=np.array([t for (t,) in temperatures], dtype=np.float64),
            lse=_rows(rows, "log_sum_exp", temperatures),
            excess=_rows(rows, "excess", temperatures),
            gen_gamma=np.array([gamma for gamma, _ in gens], dtype=np.float64),
            gen_top=np.array([min(top, classes) for _, top in gens], dtype=np.int64),
            gen=_rows(rows, "generalized_entropy", gens),
            log_prior=log_prior,
            prior=_rows(rows, "kl_to_prior", priors),
            softmax=bool(gens or priors or rows.keys() & FLOATS[2:]),
        ),
        (counts[False], counts[True]),
    )


def _arguments(wanted: tuple[Statistic, ...], *names: str) -> list[tuple[float, ...]]:
    return list(dict.fromkeys(s.arguments for s in wanted if s.name in names))


def _rows(
    rows: dict[Statistic, int], name: str, arguments: list[tuple[float, ...]]
) -> npt.NDArray[np.int64]:
    return np.array([rows.get(Statistic(name, a), -1) for a in arguments], dtype=np.int64)


def _check(statistic: Statistic, classes: int) -> None:
    """Raise `InputError` unless a kernel can compute the statistic."""
    if statistic in FLOATS or statistic in INTEGERS:
        return
    name, numbers = statistic.name, statistic.arguments
    if name in ("log_sum_exp", "excess"):
        temperature = numbers[0]
        if not 0.0 < temperature < math.inf:
            raise InputError(f"{name}: temperature must be positive, got {temperature}")
    elif name == "generalized_entropy":
        gamma, top = numbers
        if not (0.0 < gamma < math.inf and top >= 1):
            raise InputError(f"{name}: gamma must be positive and top >= 1, got {gamma}, {top}")
    elif name == "kl_to_prior":
        q: Any = np.array(numbers)
        if q.size != classes:
            raise InputError(f"{name}: the prior has {q.size} entries for {classes} classes")
        if not (np.isfinite(q).all() and (q >= 0.0).all() and q.any()):
            raise InputError(f"{name}: a prior's entries must be finite, not negative, not all 0")
    else:
        raise InputError(f"no such row statistic: {name}")
