"""Runs compared on the same rows: is a method better in one of them than in another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.comparison import compare_methods
from ood_toolkit.evaluation.corrections import holm
from ood_toolkit.evaluation.groups import groups_of
from ood_toolkit.evaluation.kept_scores import KeptScores

__all__ = ["LEVEL", "PairedTest", "paired_tests"]

LEVEL = 0.05
"""Below which adjusted p-value two runs differ."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A method of the first run against one of a later run.

    Attributes
    ----------
    kind, name : str
        "ood" and a set, or "group" and a group of sets, whose mean AUROC is tested.
    baseline, file : str
        The two runs.
    baseline_method, method : str
        The same, unless each run has one method of its own.
    baseline_auroc, auroc : float
        In [0, 1].
    p_value : float
        Of no difference, two-sided; adjusted by Holm for all tests on this set or group.
    """

    kind: str
    name: str
    baseline: str
    file: str
    baseline_method: str
    method: str
    baseline_auroc: float
    auroc: float
    p_value: float

    @property
    def differs(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_value < LEVEL

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            self.kind: self.name,
            **{
                name: getattr(self, name) for name in self.__slots__ if name not in ("kind", "name")
            },
            "difference": self.auroc - self.baseline_auroc,
            "differs": self.differs,
        }


def paired_tests(
    runs: Mapping[str, KeptScores], groups: Mapping[str, Mapping[str, str]]
) -> list[PairedTest]:
    """Paired tests of every later run against the first, on the same rows.

    Methods of one name are held against each other; where two runs have a single method each,
    these two.  Tested are the sets that both runs have, and the means of groups of which both
    have all sets.

    Parameters
    ----------
    runs : mapping of str to KeptScores
        By name; the first is the baseline.
    groups : mapping of str to mapping of str to str
        By run, the group of each set, or "".

    Returns
    -------
    list of PairedTest
        Set by set, then group by group.

    Raises
    ------
    InputError
        If rows differ, or the runs have no method or no set in common.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988; Holm, Scand. J. Stat. 1979.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows, far = rng.normal(2, 1, 300), rng.normal(0, 1, 300)
    >>> good = KeptScores({"": {"knn": rows}}, {"far": {"knn": far}})
    >>> noise = {"knn": rows + rng.normal(0, 3, 300)}, {"knn": far + rng.normal(0, 3, 300)}
    >>> runs = {"a": good, "b": KeptScores({"": noise[0]}, {"far": noise[1]})}
    >>> paired_tests(runs, {"a": {"far": ""}, "b": {"far": ""}})[0].differs
    True
    """
    first, *others = runs
    found: dict[tuple[str, str], list[PairedTest]] = {}
    for other in others:
        for test in _against(first, other, runs, groups):
            found.setdefault((test.kind, test.name), []).append(test)
    tests = []
    for kind in ("ood", "group"):
        for (own, _), members in found.items():
            if own == kind:
                tests += _adjusted(members)
    return tests


def _adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    p_values = holm([test.p_value for test in tests])
    return [replace(test, p_value=float(p)) for test, p in zip(tests, p_values, strict=True)]


def _against(
    first: str,
    other: str,
    runs: Mapping[str, KeptScores],
    groups: Mapping[str, Mapping[str, str]],
) -> list[PairedTest]:
    """The tests of one run against the first, not adjusted."""
    a, b = runs[first], runs[other]
    sets = [key for key in a.ood if key in b.ood]
    if not sets:
        raise InputError(f"{first} and {other} have no out-of-distribution set in common")
    _refuse_other_rows(first, other, a, b, sets)
    pairs = _methods(first, other, a, b)
    own, its = (groups_of({key: groups[run].get(key, "") for key in runs[run].ood})
                for run in (first, other))  # fmt: skip
    whole = {g: keys for g, keys in own.items() if sorted(its.get(g, ())) == sorted(keys)}
    every = {**{f"set {key}": [key] for key in sets}, **{f"mean {g}": k for g, k in whole.items()}}
    tests = []
    for (one, two), joint in ((pair, _joint(a, b, pair, every)) for pair in pairs):
        for place in every:
            kind, _, name = place.partition(" ")
            found = joint[place]
            before, after = map(float, found.aurocs)
            p_value = float(found.p_values("none")[0, 1])
            what = "ood" if kind == "set" else "group"
            tests.append(PairedTest(what, name, first, other, one, two, before, after, p_value))
    return tests


def _joint(
    a: KeptScores, b: KeptScores, pair: tuple[str, str], groups: Mapping[str, Sequence[str]]
) -> Mapping[str, Any]:
    sides = {"a": (a, pair[0]), "b": (b, pair[1])}
    return compare_methods(
        list(sides),
        lambda side: sides[side][0].id_scores(sides[side][1]),
        lambda side, key: sides[side][0].ood[key][sides[side][1]],
        groups,
    ).groups


def _methods(first: str, other: str, a: KeptScores, b: KeptScores) -> list[tuple[str, str]]:
    one, two = (list(next(iter(run.ood.values()))) for run in (a, b))
    if len(one) == len(two) == 1:
        return [(one[0], two[0])]
    common = [name for name in one if name in two]
    if not common:
        raise InputError(f"{first} and {other} have no method in common")
    return [(name, name) for name in common]


def _refuse_other_rows(
    first: str, other: str, a: KeptScores, b: KeptScores, sets: Sequence[str]
) -> None:
    if list(a.inside) != list(b.inside):
        raise InputError(f"{first} and {other} count other sets as in-distribution")
    for key, left, right in (
        *((key or "id", a.inside[key], b.inside[key]) for key in a.inside),
        *((key, a.ood[key], b.ood[key]) for key in sets),
    ):
        rows = [len(next(iter(side.values()))) for side in (left, right)]
        if rows[0] != rows[1]:
            raise InputError(
                f"{key}: {rows[0]} rows in {first} but {rows[1]} in {other}; a paired test "
                "needs the same rows in the same order"
            )
    for key in a.labels.keys() & b.labels.keys():
        apart = np.flatnonzero(a.labels[key] != b.labels[key])
        if apart.size:
            raise InputError(
                f"{key or 'id'}: row {apart[0]} has another label in {other} than in {first}; a "
                "paired test needs the same rows in the same order"
            )
