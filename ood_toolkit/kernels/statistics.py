"""The names of what one pass over a row of logits can return.

A logit score says which of these it needs; the planner asks for the union once, and
`ood_toolkit.kernels.rows.row_statistics` reads every logit once (or from cache) for all.
Notation: z a row, p = softmax(z), C its number of unmasked classes (those above -inf).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLASSES",
    "ENTROPY",
    "IMPURITY",
    "LARGEST",
    "LEAD",
    "NONUNIFORMITY",
    "PREDICTION",
    "SATURATED",
    "SECOND",
    "TAIL",
    "RowStatistics",
    "Statistic",
    "excess",
    "generalized_entropy",
    "kl_to_prior",
    "log_sum_exp",
]


class Statistic(NamedTuple):
    """A quantity of one row: its name, and the numbers that define it."""

    name: str
    arguments: tuple[float, ...] = ()


PREDICTION = Statistic("prediction")
"""argmax z, the first index on ties; int64."""
LARGEST = Statistic("largest")
"""max z."""
SECOND = Statistic("second")
"""The second largest logit (equal to the largest on ties); -inf where C = 1."""
TAIL = Statistic("tail")
"""1 - max p, summed from the other terms, so that it keeps its digits when max p is near 1."""
ENTROPY = Statistic("entropy")
"""Shannon's H(p) = -sum p ln p, in nats, with 0 ln 0 = 0."""
IMPURITY = Statistic("impurity")
"""1 - sum p^2, summed as sum p (1 - p), so that it keeps its digits when max p is near 1."""
NONUNIFORMITY = Statistic("nonuniformity")
"""sum |p - 1/C| / 2 over unmasked classes: total variation to uniform."""
LEAD = Statistic("lead")
"""max p less the second largest p, which keeps its digits when the two are close."""
CLASSES = Statistic("classes")
"""C, the number of logits above -inf; int64."""
SATURATED = Statistic("saturated")
"""Unmasked classes with exp(z - max z) <= 2^-24, each too small to change 1 in float32; int64.

Where all but the prediction are, the softmax has collapsed in float32 (Prieto et al. 2025).
"""


@lru_cache(maxsize=256)
def log_sum_exp(temperature: float = 1.0) -> Statistic:
    """Log-sum-exp ln sum exp(z / temperature)."""
    return Statistic("log_sum_exp", (float(temperature),))


@lru_cache(maxsize=256)
def excess(temperature: float = 1.0) -> Statistic:
    """Log-sum-exp less its largest term: lse(temperature) - max z / temperature, in [0, ln C].

    Summed from the other terms, so it keeps its digits where subtracting would lose them:
    -excess() is ln max p.
    """
    return Statistic("excess", (float(temperature),))


def generalized_entropy(gamma: float, top: int) -> Statistic:
    """Sum over the `top` largest p of p^gamma (1 - p)^gamma (Liu et al., CVPR 2023)."""
    return Statistic("generalized_entropy", (float(gamma), float(top)))


def kl_to_prior(prior: Iterable[float]) -> Statistic:
    """KL divergence of p from a prior q over all C classes: sum p ln(p / q), in nats.

    Infinite where p > 0 = q.  As it stands q need not sum to one.
    """
    return Statistic("kl_to_prior", tuple(float(q) for q in prior))


class RowStatistics(Mapping[Statistic, npt.NDArray[Any]]):
    """What `row_statistics` found: one (N,) array for each statistic asked for.

    Attributes
    ----------
    first_bad : int
        The first row that holds NaN or +inf, or only -inf; -1 where there is none.
    """

    __slots__ = ("_values", "first_bad")

    def __init__(self, values: dict[Statistic, npt.NDArray[Any]], first_bad: int) -> None:
        self._values = values
        self.first_bad = first_bad

    def __getitem__(self, statistic: Statistic) -> npt.NDArray[Any]:
        return self._values[statistic]

    def __iter__(self) -> Iterator[Statistic]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def probability(self) -> npt.NDArray[np.float64]:
        """Largest probability, 1 - tail.  (N,) float64."""
        return np.asarray(1.0 - self[TAIL])
