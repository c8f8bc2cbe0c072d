"""Twins of the row statistics: the equations, in forty decimal digits.

Forty, so that 1 - p and ln p keep theirs when a softmax saturates.  A row is a sequence of
logits; -inf marks a masked class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from mpmath import mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.kernels.statistics import Statistic

__all__ = ["ROW_TWINS", "exact_statistic", "is_bad"]

DIGITS = 40
Row = tuple[float, ...]
INFINITY = float("inf")


def is_bad(row: Sequence[float]) -> bool:
    """NaN or +inf anywhere, or nothing above -inf."""
    return any(z != z or z == INFINITY for z in row) or all(z == -INFINITY for z in row)


def exact_statistic(row: Sequence[float], statistic: Statistic) -> float:
    """One statistic of one good row, rounded once."""
    with mp.workdps(DIGITS):
        return float(ROW_TWINS[statistic.name](tuple(map(float, row)), *statistic.arguments))


def _unmasked(row: Row) -> list[Any]:
    return [mpf(z) for z in row if z != -INFINITY]


def _prediction(row: Row) -> int:
    return row.index(max(row))


def _largest(row: Row) -> Any:
    return mpf(max(row))


def _second(row: Row) -> Any:
    others = sorted(row)[:-1]
    return mpf(others[-1]) if others else -mp.inf


def _classes(row: Row) -> int:
    return len(_unmasked(row))


def _saturated(row: Row) -> int:
    top = max(_unmasked(row))
    return sum(mp.exp(z - top) <= mpf(2) ** -24 for z in _unmasked(row))


@lru_cache(maxsize=1)
def _probabilities(row: Row) -> list[Any]:
    """softmax(z) over the unmasked classes, largest first."""
    ordered = sorted(_unmasked(row), reverse=True)
    terms = [mp.exp(z - ordered[0]) for z in ordered]
    total = mp.fsum(terms)
    return [term / total for term in terms]


def _complements(p: list[Any]) -> list[Any]:
    """1 - p, the first as the sum of the others."""
    return [mp.fsum(p[1:])] + [1 - q for q in p[1:]]


def _excess(row: Row, temperature: float = 1.0) -> Any:
    ordered = sorted(_unmasked(row), reverse=True)
    return mp.log1p(mp.fsum(mp.exp((z - ordered[0]) / mpf(temperature)) for z in ordered[1:]))


def _log_sum_exp(row: Row, temperature: float = 1.0) -> Any:
    return max(_unmasked(row)) / mpf(temperature) + _excess(row, temperature)


def _tail(row: Row) -> Any:
    return mp.fsum(_probabilities(row)[1:])


def _lead(row: Row) -> Any:
    ordered = sorted(_unmasked(row), reverse=True)
    if len(ordered) == 1:
        return mpf(1)
    return _probabilities(row)[0] * -mp.expm1(ordered[1] - ordered[0])


def _entropy(row: Row) -> Any:
    """-sum p ln p with ln p = z - max z - excess."""
    beyond, top = _excess(row), max(_unmasked(row))
    return mp.fsum(
        q * (beyond + (top - z))
        for q, z in zip(_probabilities(row), sorted(_unmasked(row), reverse=True), strict=True)
    )


def _impurity(row: Row) -> Any:
    p = _probabilities(row)
    return mp.fsum(q * c for q, c in zip(p, _complements(p), strict=True))


def _nonuniformity(row: Row) -> Any:
    p = _probabilities(row)
    return mp.fsum(abs(q - mpf(1) / len(p)) for q in p) / 2


def _generalized_entropy(row: Row, gamma: float, top: float) -> Any:
    p = _probabilities(row)
    pairs = list(zip(p, _complements(p), strict=True))[: int(top)]
    return mp.fsum((q * c) ** mpf(gamma) for q, c in pairs)


def _kl_to_prior(row: Row, *prior: float) -> Any:
    p = iter(_probabilities(row))
    order = sorted(range(len(row)), key=lambda j: -row[j])
    beyond, top = _excess(row), max(_unmasked(row))
    total = mpf(0)
    for j in order:
        if row[j] == -INFINITY:
            continue
        if prior[j] == 0.0:
            return mp.inf
        total += next(p) * (mpf(row[j]) - top - beyond - mp.log(mpf(prior[j])))
    return total


ROW_TWINS: dict[str, Callable[..., Any]] = {
    "prediction": _prediction,
    "largest": _largest,
    "second": _second,
    "tail": _tail,
    "lead": _lead,
    "entropy": _entropy,
    "impurity": _impurity,
    "nonuniformity": _nonuniformity,
    "classes": _classes,
    "saturated": _saturated,
    "log_sum_exp": _log_sum_exp,
    "excess": _excess,
    "generalized_entropy": _generalized_entropy,
    "kl_to_prior": _kl_to_prior,
}
"""Name of a statistic -> its equation."""
