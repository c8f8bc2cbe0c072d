"""How far to move inputs, chosen on in-distribution rows alone or against outliers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.metrics import fpr_at_tpr
from ood_toolkit.outputs import Array

__all__ = ["EPSILONS", "EpsilonChoice", "choose_epsilon"]

EPSILONS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
"""The grid of Generalized ODIN."""


@dataclass(frozen=True, slots=True)
class EpsilonChoice:
    """The chosen step, and what was compared.

    Attributes
    ----------
    epsilon : float
        The best of the grid; of equal ones the smallest.
    rule : str
        "mean in-distribution score" (larger is better) or "FPR at 95 % TPR" (smaller is).
    compared : tuple of (epsilon, value) pairs
        In the order of the grid.
    """

    epsilon: float
    rule: str
    compared: tuple[tuple[float, float], ...]


def choose_epsilon(
    scored: Callable[[float], Array],
    outliers: Callable[[float], Array] | None = None,
    grid: Sequence[float] = EPSILONS,
) -> EpsilonChoice:
    """The step that serves best.

    Parameters
    ----------
    scored : callable
        Epsilon -> scores of held-out in-distribution rows.
    outliers : callable, optional
        The same of out-of-distribution rows that are not those reported on.  Without them
        the step with the largest mean score is taken (Generalized ODIN's rule); with them the
        one with the smallest false-positive rate at 95 % true-positive rate.
    grid : sequence of float
        Steps to compare.

    Returns
    -------
    EpsilonChoice
        With everything that was compared.

    Raises
    ------
    BadParameter
        If the grid is empty.
    InputError
        If there are no scores, or one is not finite.

    References
    ----------
    Hsu et al., "Generalized ODIN: Detecting Out-of-distribution Image without Learning from
    Out-of-distribution Data", CVPR 2020.

    Examples
    --------
    >>> choose_epsilon(lambda e: np.array([e - 50 * e * e]), grid=(0.0, 0.01, 0.02)).epsilon
    0.01
    """
    if not grid:
        raise BadParameter("the grid of epsilons is empty")
    compared = []
    for epsilon in grid:
        scores = _finite(scored(epsilon))
        if outliers is None:
            compared.append((float(epsilon), float(scores.mean())))
        else:
            compared.append((float(epsilon), float(fpr_at_tpr(scores, _finite(outliers(epsilon))))))
    better = max if outliers is None else min
    best = better(value for _, value in compared)
    rule = "mean in-distribution score" if outliers is None else "FPR at 95 % TPR"
    chosen = min(epsilon for epsilon, value in compared if value == best)
    return EpsilonChoice(chosen, rule, tuple(compared))


def _finite(scores: Array) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError("choosing epsilon needs finite scores of at least one row")
    return values
