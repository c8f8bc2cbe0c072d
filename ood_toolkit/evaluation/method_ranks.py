"""Methods ranked over several data sets: which differ on the whole, by rank tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.corrections import holm
from ood_toolkit.evaluation.joint_aurocs import tie_runs
from ood_toolkit.outputs import Array

__all__ = ["RANK_TESTS", "MethodRanks", "critical_difference", "rank_methods"]

RANK_TESTS = ("nemenyi", "wilcoxon")
"""What follows Friedman's test: mean ranks against a critical difference, or every two methods
by signed ranks with Holm's correction."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodRanks:
    """Mean ranks of methods over data sets, and which of them differ.

    Attributes
    ----------
    methods : tuple of str
        From the best mean rank down.
    mean_ranks : (K,) array of float64
        1 = best; ties share their mean rank.
    sets : int
        Data sets that were ranked on.
    friedman : float
        P-value of Friedman's test that all methods are equal; NaN with two methods.
    test : str
        "nemenyi" or "wilcoxon".
    critical_difference : float or None
        Mean ranks that lie further apart differ (Nemenyi).
    p_values : (K, K) array of float64
        Of no difference between every two methods, adjusted for all of them.
    groups : tuple of tuple of str
        Longest runs of methods that cannot be told apart.
    """

    methods: tuple[str, ...]
    mean_ranks: Array
    sets: int
    friedman: float
    test: str
    critical_difference: float | None
    p_values: Array
    groups: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types; an undefined figure is None."""
        return {
            "sets": self.sets,
            "test": self.test,
            "friedman_p": None if math.isnan(self.friedman) else self.friedman,
            "critical_difference": self.critical_difference,
            "methods": list(self.methods),
            "mean_ranks": [float(r) for r in self.mean_ranks],
            "tie_groups": [list(group) for group in self.groups],
        }


def critical_difference(methods: int, sets: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks.

    Parameters
    ----------
    methods, sets : int
        How many, each at least 2 and 1.
    level : float
        Family-wise, in (0, 1).

    Raises
    ------
    InputError
        If a number is out of range.

    References
    ----------
    Demšar, Journal of Machine Learning Research 2006.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)  # Demšar's own example
    1.25
    """
    from scipy.stats import studentized_range

    if methods < 2 or sets < 1 or not 0.0 < level < 1.0:
        raise InputError(
            f"{methods} methods on {sets} sets at level {level}: at least 2 and 1, level in (0, 1)"
        )
    quantile = float(studentized_range.isf(level, methods, np.inf)) / math.sqrt(2.0)
    return quantile * math.sqrt(methods * (methods + 1) / (6.0 * sets))


def rank_methods(
    figures: Mapping[str, Sequence[float]],
    *,
    larger_is_better: bool = True,
    test: str = "nemenyi",
    level: float = 0.05,
) -> MethodRanks:
    """Rank methods by a metric over data sets, and test which of them differ.

    Data sets are the sample here: the tests say what to expect on further sets of the kind,
    and with few sets they tell little apart.  Wilcoxon's test reaches 5 % from six sets on.

    Parameters
    ----------
    figures : mapping of str to sequence of float
        Each method's figure on every data set, in one order of sets.
    larger_is_better : bool
        False for the FPR.
    test : str
        "nemenyi" or "wilcoxon"; the verdict of the first depends on which other methods take
        part, that of the second does not.
    level : float
        Family-wise, in (0, 1).

    Returns
    -------
    MethodRanks

    Raises
    ------
    InputError
        With fewer than two methods or sets, figures of different number or NaN among them.

    References
    ----------
    Friedman, JASA 1937; Nemenyi, 1963; Demšar, JMLR 2006; Benavoli, Corani & Mangili, JMLR
    2016, on why signed ranks.

    Examples
    --------
    >>> found = rank_methods({"a": [0.9, 0.8, 0.95], "b": [0.7, 0.75, 0.9]})
    >>> found.methods, found.mean_ranks.tolist(), found.groups
    (('a', 'b'), [1.0, 2.0], (('a', 'b'),))
    """
    from scipy.stats import friedmanchisquare, rankdata

    if test not in RANK_TESTS:
        raise InputError(f"test is one of {', '.join(RANK_TESTS)}, got {test!r}")
    lengths = {len(values) for values in figures.values()}
    if len(figures) < 2 or len(lengths) != 1 or min(lengths) < 2:
        raise InputError("ranking needs two methods or more, with figures on the same two or "
                         "more data sets")  # fmt: skip
    values = np.array([list(v) for v in figures.values()], dtype=np.float64)
    if np.isnan(values).any():
        raise InputError("a figure is NaN; leave the method or the data set out")
    ranks = rankdata(-values if larger_is_better else values, axis=0)
    mean_ranks = ranks.mean(axis=1)
    order = np.argsort(mean_ranks, kind="stable")
    names, values, mean_ranks = [list(figures)[k] for k in order], values[order], mean_ranks[order]
    friedman = math.nan
    if len(names) > 2:
        with np.errstate(invalid="ignore"):  # all methods tied on every set: no difference
            friedman = float(friedmanchisquare(*values).pvalue)
        friedman = 1.0 if math.isnan(friedman) else friedman
    if test == "nemenyi":
        cd: float | None = critical_difference(len(names), values.shape[1], level)
        p_values = _nemenyi(mean_ranks, values.shape[1])
    else:
        cd, p_values = None, _signed_ranks(values)
    groups = tuple(tuple(names[a:b]) for a, b in tie_runs(p_values, level))
    return MethodRanks(
        tuple(names), mean_ranks, values.shape[1], friedman, test, cd, p_values, groups
    )


def _nemenyi(mean_ranks: Array, sets: int) -> Array:
    """(K,) mean ranks -> (K, K) p-values of the studentised range."""
    from scipy.stats import studentized_range

    count = mean_ranks.size
    scale = math.sqrt(count * (count + 1) / (6.0 * sets)) / math.sqrt(2.0)
    gaps = np.abs(mean_ranks[:, None] - mean_ranks[None, :]) / scale
    found = np.ones_like(gaps)
    upper = np.triu_indices(count, 1)
    found[upper] = studentized_range.sf(gaps[upper], count, np.inf)
    found.T[upper] = found[upper]
    return np.asarray(found)


def _signed_ranks(values: Array) -> Array:
    """(K, D) figures -> (K, K) p-values of Wilcoxon's test, Holm's correction."""
    from scipy.stats import wilcoxon

    count = len(values)
    upper = np.triu_indices(count, 1)
    raw = [
        1.0
        if np.array_equal(values[i], values[j])
        else float(wilcoxon(values[i], values[j]).pvalue)
        for i, j in zip(*upper, strict=True)
    ]
    found = np.ones((count, count))
    found[upper] = holm(raw)
    found.T[upper] = found[upper]
    return found
