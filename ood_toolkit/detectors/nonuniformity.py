"""Label non-uniformity: how far the softmax lies from the uniform distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.chunks import scored_probabilities
from ood_toolkit.detectors.base import FittedScorer, LogitScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import CLASSES, NONUNIFORMITY, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["LabelNonUniformity", "TransportScorer"]


@method(
    "label_non_uniformity",
    family="logits",
    needs="logits",
    reference="Ji et al., ICML 2023",
    laws="logit_shift class_permutation",
)
@dataclass(frozen=True)
class LabelNonUniformity:
    """Wasserstein-1 distance of the softmax to the uniform distribution.

    S = W1(p, u); larger = more in-distribution.  Under the 0/1 metric on labels it is half
    the L1 distance, in [0, 1 - 1/C].  Masked classes (logit -inf) are in neither
    distribution.

    Parameters
    ----------
    normalise : "w1", "l1" or "unit"
        The distance itself, the L1 distance of the authors' code (2 W1), or W1 divided by
        its maximum 1 - 1/C.  The last two are defined for the 0/1 metric only.
    ground : "zero_one", "path" or a (C, C) matrix
        Metric on labels: 0/1; |i - j|, for ordered classes; or a cost matrix given row by
        row.  A cost matrix solves one transport problem a row: use it for small C and N.

    Notes
    -----
    Fit nothing; score O(N C) time, O(N) memory; one pass over the logits, shared with the other
    scores of row statistics, under the 0/1 metric; a cost matrix takes a linear program of C^2
    unknowns a row.

    Works where nearness to the uniform distribution means doubt, as for nodes between the
    communities of a graph; fails where C is large, for mass on ten classes of a thousand is far
    from uniform too.

    References
    ----------
    Ji et al., "Leveraging Label Non-Uniformity for Node Classification in Graph Neural
    Networks", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import LabelNonUniformity, Outputs
    >>> x = Outputs(logits=np.log([[0.7, 0.2, 0.1]]))
    >>> LabelNonUniformity().fit().score(x).round(4)
    array([0.3667])
    """

    normalise: Literal["w1", "l1", "unit"] = "w1"
    ground: Literal["zero_one", "path"] | tuple[tuple[float, ...], ...] = "zero_one"

    def __post_init__(self) -> None:
        require(
            self.normalise == "w1" or self.ground == "zero_one",
            f"label_non_uniformity.normalise={self.normalise} is defined for ground=zero_one only",
        )
        if isinstance(self.ground, tuple):
            cost = self.cost()
            require(
                cost.ndim == 2 and cost.shape[0] == cost.shape[1] and bool((cost >= 0).all()),
                "label_non_uniformity.ground must be a square matrix of costs >= 0",
            )

    def cost(self) -> Array:
        """The given cost matrix.  (C, C) float64."""
        try:
            return np.array(self.ground, dtype=np.float64)
        except ValueError:
            return np.empty(0)  # ragged rows: refused by the caller's shape check

    def statistics(self) -> tuple[Statistic, ...]:
        """Non-uniformity under the 0/1 metric, and the number of unmasked classes."""
        return (NONUNIFORMITY, CLASSES) if self.normalise == "unit" else (NONUNIFORMITY,)

    def combine(self, rows: RowStatistics, /) -> Array:
        """The distance under the 0/1 metric, normalised as asked."""
        if self.normalise == "l1":
            return np.asarray(2.0 * rows[NONUNIFORMITY])
        if self.normalise == "unit":
            # one unmasked class: both distributions are that class, distance 0
            most = np.maximum(1.0 - 1.0 / rows[CLASSES], np.finfo(np.float64).tiny)
            return np.asarray(rows[NONUNIFORMITY] / most)
        return rows[NONUNIFORMITY]

    def fit(
        self, train: Outputs | None = None, validation: Outputs | None = None, /
    ) -> FittedScorer:
        """Nothing is learned; returns the scorer."""
        if self.ground == "zero_one":
            return LogitScorer(self, 0, 0)
        return TransportScorer(self, 0, 0)


@dataclass(frozen=True)
class TransportScorer(FittedScorer):
    """Wasserstein-1 distance to uniform under a metric that needs the whole distribution."""

    def _score(self, x: Outputs) -> Array:
        cost = None if self.detector.ground == "path" else self.detector.cost()
        if cost is not None and cost.shape[0] != x.classes:
            raise InputError(
                f"label_non_uniformity.ground is {cost.shape[0]} x {cost.shape[0]}, "
                f"but there are {x.classes} classes"
            )

        def judge(p: Array, part: slice) -> Array:
            assert x.logits is not None
            unmasked = np.asarray(x.logits[part], dtype=np.float64) > -np.inf
            uniform = unmasked / unmasked.sum(axis=1, keepdims=True)
            if cost is None:
                return _path_distance(p, uniform)
            return np.array(list(_transport_distances(p, uniform, cost)))

        return scored_probabilities(x, judge)


def _path_distance(p: Array, uniform: Array) -> Array:
    """W1 with classes at 0, 1, ... C-1: the area between the cumulative distributions."""
    return np.asarray(np.abs(np.cumsum(p - uniform, axis=1)[:, :-1]).sum(axis=1))


def _transport_distances(p: Array, uniform: Array, cost: Array) -> Iterator[float]:
    """W1 of each row by its transport problem."""
    metric = _is_metric(cost)
    for source, target in zip(p, uniform, strict=True):
        # under a metric, mass that both hold stays where it is
        shared = np.minimum(source, target) if metric else 0.0
        leaves, arrives = source - shared, target - shared
        mass = arrives.sum()
        rows, columns = np.flatnonzero(leaves), np.flatnonzero(arrives)
        if mass == 0.0 or rows.size == 0:
            yield 0.0
        else:
            distance = _transport(
                leaves[rows] / leaves.sum(), arrives[columns] / mass, cost[np.ix_(rows, columns)]
            )
            yield mass * distance


def _is_metric(cost: Array) -> bool:
    """Zero on the diagonal, and no detour is shorter."""
    detour = np.min(cost[:, :, None] + cost[None], axis=1)
    return not cost.diagonal().any() and bool((cost <= detour * (1 + 1e-12)).all())


def _transport(source: Array, target: Array, cost: Array) -> float:
    """Least cost of moving one distribution to another.  (a,), (b,), (a, b) -> float."""
    from scipy.optimize import linprog

    a, b = cost.shape
    leaves = np.kron(np.eye(a), np.ones(b))
    arrives = np.kron(np.ones(a), np.eye(b))
    # one of the a + b constraints follows from the others
    solution = linprog(
        cost.ravel(),
        A_eq=np.vstack([leaves, arrives[:-1]]),
        b_eq=np.concatenate([source, target[:-1]]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solution.fun is None:
        raise InputError(f"label_non_uniformity: transport problem: {solution.message}")
    return float(solution.fun)
