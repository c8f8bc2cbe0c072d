"""AUROC of several methods on the same rows, with their covariance: what can be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.corrections import adjusted
from ood_toolkit.metrics import Interval, Placements
from ood_toolkit.metrics.influence import mean_powers
from ood_toolkit.metrics.intervals import apart_interval, logit_interval, variance_of_variance
from ood_toolkit.metrics.paired import two_sided
from ood_toolkit.metrics.student import student_quantile
from ood_toolkit.outputs import Array

__all__ = ["JointAurocs", "SetSpread", "components_of", "joint_aurocs", "tie_runs"]


@dataclass(frozen=True, slots=True, eq=False)
class JointAurocs:
    """AUROC of several methods on the same rows, and how their errors hang together.

    Attributes
    ----------
    methods : tuple of str
    aurocs : (K,) array of float64
        In [0, 1]; on several sets, their unweighted mean.
    covariance : (K, K) array of float64
        Of the estimates, by DeLong's components.
    freedom : (K,) array of float64
        How sure each variance is, as degrees of freedom.
    rows : int
        Of the smallest set.
    """

    methods: tuple[str, ...]
    aurocs: Array
    covariance: Array
    freedom: Array
    rows: int

    def interval(self, method: str, level: float = 0.95) -> Interval:
        """Confidence interval of one method's AUROC, on the logit scale."""
        k = self.methods.index(method)
        auroc, variance = float(self.aurocs[k]), float(self.covariance[k, k])
        if not 0.0 < auroc < 1.0:
            return apart_interval(auroc, self.rows, level)
        if variance <= 0.0:
            return Interval(auroc, auroc)
        times = student_quantile(level, float(self.freedom[k]))
        return logit_interval(auroc, times * math.sqrt(variance) / (auroc * (1.0 - auroc)))

    def p_values(self, correction: str = "holm") -> Array:
        """Of no difference between every two methods: (K, K), symmetric, 1 on the diagonal.

        Two-sided, adjusted for all K (K - 1) / 2 tests together; "none" leaves them as they
        are.
        """
        count = len(self.methods)
        upper = np.triu_indices(count, 1)
        # of a difference that is rounding alone, the error is none
        variances = np.diag(self.covariance)
        errors = variances[upper[0]] + variances[upper[1]] - 2.0 * self.covariance[upper]
        errors[errors <= 1e-14 * (variances[upper[0]] + variances[upper[1]])] = 0.0
        differences = self.aurocs[upper[0]] - self.aurocs[upper[1]]
        differences[np.abs(differences) < 1e-14] = 0.0
        found = np.array(
            [two_sided(d, math.sqrt(e)) for d, e in zip(differences, errors, strict=True)],
            dtype=np.float64,
        )
        if correction != "none":
            found = adjusted(found, correction)
        square = np.ones((count, count))
        square[upper] = found
        square.T[upper] = found
        return square

    def order(self) -> list[int]:
        """Numbers of the methods from the largest AUROC down; ties as they were given."""
        return [int(k) for k in np.argsort(-self.aurocs, kind="stable")]

    def to_json(self, level: float = 0.05, correction: str = "holm") -> dict[str, Any]:
        """What the results document says of it.

        `methods` from the best down, with the p-value of each against the best (`p_best`);
        those that cannot be told apart from it (`tied_with_best`); and every longest run of
        neighbours in this order whose ends cannot be told apart (`tie_groups`).
        """
        order = self.order()
        p_values = self.p_values(correction)[np.ix_(order, order)]
        names = [self.methods[k] for k in order]
        return {
            "methods": names,
            "p_best": [float(p) for p in p_values[0]] if names else [],
            "tied_with_best": [n for n, p in zip(names, p_values[:1].ravel(), strict=True)
                               if p >= level],
            "tie_groups": [names[a:b] for a, b in tie_runs(p_values, level)],
        }  # fmt: skip


def tie_runs(p_values: Array, level: float) -> list[tuple[int, int]]:
    """Longest runs of neighbours whose first and last cannot be told apart.

    Parameters
    ----------
    p_values : (K, K) array of float
        Of methods in the order of their means.
    level : float
        Below it two methods differ.

    Returns
    -------
    list of tuple of int
        Start and end of each run of two or more methods that no other run holds.

    Examples
    --------
    >>> apart = np.array([[1, 0.3, 0.01], [0.3, 1, 0.2], [0.01, 0.2, 1]])
    >>> tie_runs(apart, 0.05)
    [(0, 2), (1, 3)]
    """
    runs: list[tuple[int, int]] = []
    count = len(p_values)
    for start in range(count):
        end = start + 1
        while end < count and p_values[start, end] >= level:
            end += 1
        if end - start > 1 and not (runs and runs[-1][1] >= end):
            runs.append((start, end))
    return runs


class SetSpread(NamedTuple):
    """What the rows of an OOD set add to the variance of K AUROCs.

    Attributes
    ----------
    covariance : (K, K) array of float64
    unsureness : (K,) array of float64
        Variance of the variances.
    rows : int
    """

    covariance: Array
    unsureness: Array
    rows: int

    @classmethod
    def of(cls, components: Array) -> SetSpread:
        """Of (K, M) components of a set's rows."""
        covariance = _covariance_of_means(components)
        return cls(covariance, _unsureness(components), components.shape[1])


def joint_aurocs(
    methods: tuple[str, ...], of_id: Array, of_sets: Sequence[SetSpread]
) -> JointAurocs:
    """Mean AUROCs over sets, of (K, N) components of the ID rows, and what the sets add."""
    count = len(of_sets)
    covariance = _covariance_of_means(of_id) + sum(one.covariance for one in of_sets) / count**2
    unsureness = _unsureness(of_id) + sum(one.unsureness for one in of_sets) / count**4
    sure = unsureness <= 0.0
    freedom = 2.0 * np.diag(covariance) ** 2 / np.where(sure, 1.0, unsureness)
    rows = min(of_id.shape[1], *(one.rows for one in of_sets))
    aurocs = of_id.mean(axis=1)
    return JointAurocs(methods, aurocs, covariance, np.where(sure, np.inf, freedom), rows)


def components_of(found: Sequence[Placements]) -> tuple[Array, Array]:
    """(K, N) and (K, M) components of K methods on one set."""
    sizes = {(len(p.of_id), len(p.of_ood)) for p in found}
    if len(sizes) != 1:
        raise InputError("the methods must score the same rows in the same order")
    if min(next(iter(sizes))) < 2:
        raise InputError("a comparison needs at least two rows of each set")
    return np.stack([p.of_id for p in found]), np.stack([p.of_ood for p in found])


def _covariance_of_means(rows: Array) -> Array:
    """(K, N) values of K methods on N rows -> (K, K) covariance of their means."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    n = rows.shape[1]
    return np.asarray(centred @ centred.T / (n - 1) / n)


def _unsureness(rows: Array) -> Array:
    """(K, N) values of K methods on N rows -> (K,) variance of the variance of their means."""
    return np.array([variance_of_variance(*mean_powers(values), values.size) for values in rows])
