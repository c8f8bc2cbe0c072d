"""Which methods can be told apart: paired tests of every two of them on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.evaluation.joint_aurocs import (
    JointAurocs,
    SetSpread,
    components_of,
    joint_aurocs,
)
from ood_toolkit.metrics import Interval, placements
from ood_toolkit.outputs import Array

__all__ = ["Comparison", "compare_methods", "compare_scores"]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Paired tests of the methods of an evaluation, on each set and on the mean of each group.

    Attributes
    ----------
    sets, groups : mapping of str to JointAurocs
        By out-of-distribution set, and by group of sets.
    level : float
        Below which adjusted p-value two methods differ.
    correction : str
        As of `JointAurocs.p_values`.
    """

    sets: Mapping[str, JointAurocs]
    groups: Mapping[str, JointAurocs]
    level: float = 0.05
    correction: str = "holm"

    def mean_interval(self, method: str, group: str) -> Interval | None:
        """95 % interval of a method's mean AUROC over a group of sets."""
        joint = self.groups.get(group)
        return None if joint is None else joint.interval(method)

    def to_json(self) -> dict[str, Any]:
        """Plain types: which test, and for each set and group what it tells apart."""
        parts = [("ood", self.sets), ("group", self.groups)]
        return {
            "metric": "auroc",
            "test": "paired DeLong",
            "correction": self.correction,
            "level": self.level,
            "tables": [
                {kind: key, **joint.to_json(self.level, self.correction)}
                for kind, joints in parts
                for key, joint in joints.items()
            ],
        }


def compare_methods(
    names: Sequence[str],
    id_scores: Callable[[str], Array],
    ood_scores: Callable[[str, str], Array],
    groups: Mapping[str, Sequence[str]],
) -> Comparison:
    """Compare methods on every set, and on the unweighted mean AUROC of every group of sets.

    The rows of different sets are independent; the ID rows are shared by all of them, and all
    rows by the methods.  One set is held in memory at a time.

    Parameters
    ----------
    names : sequence of str
        K methods.
    id_scores : callable
        From a method to its (N,) ID scores.
    ood_scores : callable
        From a method and a set to its (M,) scores.
    groups : mapping of str to sequence of str
        The sets of each group; every set is in one of them at least.

    Raises
    ------
    InputError
        If the methods did not score the same rows, or a set has fewer than two of them.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988.
    """
    methods = tuple(names)
    sums: dict[str, Array | float] = dict.fromkeys(groups, 0.0)
    of_sets: dict[str, SetSpread] = {}
    sets: dict[str, JointAurocs] = {}
    for key in dict.fromkeys(key for members in groups.values() for key in members):
        of_id, of_ood = components_of([placements(id_scores(n), ood_scores(n, key)) for n in names])
        of_sets[key] = SetSpread.of(of_ood)
        sets[key] = joint_aurocs(methods, of_id, [of_sets[key]])
        for group, members in groups.items():
            if key in members:
                sums[group] = sums[group] + of_id
    of_groups = {
        group: joint_aurocs(
            methods, np.asarray(sums[group]) / len(members), [of_sets[key] for key in members]
        )
        for group, members in groups.items()
    }
    return Comparison(sets, of_groups)


def compare_scores(scores: Mapping[str, tuple[Any, Any]]) -> JointAurocs:
    """AUROC of methods that scored the same rows, ready for paired tests.

    Parameters
    ----------
    scores : mapping of str to two arrays
        (N,) ID and (M,) OOD scores of each method, for the same rows in the same order.

    Returns
    -------
    JointAurocs
        `.p_values()` tests every two methods.

    Raises
    ------
    InputError
        If the methods did not score the same rows, or a set has fewer than two of them.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 1988.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> id_scores, ood_scores = rng.normal(2, 1, 300), rng.normal(0, 1, 300)
    >>> noisy = id_scores + rng.normal(0, 3, 300), ood_scores + rng.normal(0, 3, 300)
    >>> found = compare_scores({"noisy": noisy, "clean": (id_scores, ood_scores)})
    >>> found.to_json()["tied_with_best"]
    ['clean']
    """
    of_id, of_ood = components_of([placements(*pair) for pair in scores.values()])
    return joint_aurocs(tuple(scores), of_id, [SetSpread.of(of_ood)])
