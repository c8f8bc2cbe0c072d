"""Metrics of scores that somebody else computed, and the table OpenOOD prints of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.cache import NoCache
from ood_toolkit.evaluation.groups import check_groups
from ood_toolkit.evaluation.kept_scores import KeptScores
from ood_toolkit.evaluation.pairs import PairMetrics
from ood_toolkit.evaluation.records import Convention, Evaluation
from ood_toolkit.outputs import Array

__all__ = ["OPENOOD", "StoredScores", "evaluate_scores", "openood_csv"]

OPENOOD = Convention(fpr_rule="openood", aupr="trapezoid")
"""What OpenOOD's `compute_all_metrics` does."""

_COLUMNS = ("FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC")


@dataclass(frozen=True, slots=True, eq=False)
class StoredScores:
    """Scores of one method.

    Parameters
    ----------
    id : (N,) array of float
        In-distribution scores; larger = more in-distribution.
    ood : mapping of str to (M,) arrays of float
        Scores of each out-of-distribution set.
    correct : (N,) array of bool, optional
        Whether each in-distribution row was classified right.
    """

    id: Array
    ood: Mapping[str, Array]
    correct: Array | None = None


def evaluate_scores(
    methods: Mapping[str, StoredScores],
    groups: Mapping[str, str] | None = None,
    *,
    convention: Convention | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    id_name: str = "id",
) -> Evaluation:
    """How well stored scores tell in-distribution rows from others.

    Parameters
    ----------
    methods : mapping of str to StoredScores
        By the name of the method; all of the same sets.
    groups : mapping of str to str, optional
        ``"near"``, ``"far"`` or another group of each set.
    convention : Convention, optional
        FPR rule, AUPR estimator, and whether only correctly classified rows count.
    bootstrap, seed : int
        Resamples behind the intervals of AUPR, 0 for none of these; and their seed.
    id_name : str
        Name of the in-distribution set.

    Returns
    -------
    Evaluation
        As `ood_toolkit.evaluate` gives it, without timings.

    Raises
    ------
    BadParameter
        If a group is called "all".
    InputError
        If there is no method, the methods differ in their rows, or a score is NaN.

    Examples
    --------
    >>> inside, street = np.linspace(0.3, 1.0, 50), np.linspace(0.0, 0.6, 40)
    >>> scores = StoredScores(inside, {"street": street})
    >>> evaluate_scores({"conf": scores}, bootstrap=0).results[0].auroc.__round__(3)
    0.888
    """
    if not methods:
        raise InputError("there are no scores to evaluate")
    chosen = convention or Convention()
    first = next(iter(methods.values()))
    _check_rows(methods)
    check_groups((groups or {}).values())
    counted = _counted(first, chosen)
    measure = PairMetrics(chosen, bootstrap, seed, NoCache())
    right = first.correct if chosen.id_subset == "all" else None
    results = []
    for name, scores in methods.items():
        pairs = measure.of_method(name, scores.id[counted], scores.ood, groups or {}, right)
        results += [pair for pair, _ in pairs]
    return Evaluation(
        id_name,
        int(counted.sum()),
        None if first.correct is None else float(first.correct.mean()),
        chosen,
        tuple(results),
        (),
        (),
        {},
        version("ood_toolkit"),
        scores=KeptScores(
            {"": {name: np.asarray(scores.id, np.float64) for name, scores in methods.items()}},
            {key: {n: np.asarray(s.ood[key], np.float64) for n, s in methods.items()}
             for key in first.ood},
        ),
    )  # fmt: skip


def _check_rows(methods: Mapping[str, StoredScores]) -> None:
    rows = {}
    for name, scores in methods.items():
        if not scores.ood:
            raise InputError(f"{name}: has no out-of-distribution scores")
        rows[name] = (len(scores.id), {key: len(values) for key, values in scores.ood.items()})
    for name, found in rows.items():
        if found != next(iter(rows.values())):
            raise InputError(f"{name}: its sets or their rows are not those of {next(iter(rows))}")


def _counted(scores: StoredScores, convention: Convention) -> Array:
    if convention.id_subset == "all":
        return np.ones(len(scores.id), dtype=bool)
    if scores.correct is None or not scores.correct.any():
        raise InputError("id_subset=correct needs ID rows that are known to be classified right")
    return scores.correct


def openood_csv(result: Evaluation, method: str) -> str:
    """The table that OpenOOD writes of one method, `ood.csv`, in percent with two decimals.

    Parameters
    ----------
    result : Evaluation
        Measured by `OPENOOD`, the convention of OpenOOD's code.
    method : str
        One of its methods.

    Returns
    -------
    str
        CSV: a row a set, near sets first, after each group its unweighted mean, as
        ``nearood`` and ``farood``.  ACC is the classifier's accuracy; nan where it is unknown.

    Raises
    ------
    InputError
        If the figures were measured by another convention, or there is no such method.
    """
    if result.convention != OPENOOD:
        raise InputError(
            "OpenOOD's table needs its convention: --fpr-rule openood --aupr trapezoid, TPR 0.95 "
            "and all ID rows"
        )
    own = [row for row in result.results if row.method == method]
    if not own:
        raise InputError(f"{method} has no results; there are {', '.join(result.methods())}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", *_COLUMNS])
    accuracy = math.nan if result.accuracy is None else result.accuracy
    for group in dict.fromkeys(["near", "far", *(row.group for row in own)]):
        members = [r for r in own if r.group == group]
        figures = [(r.fpr, r.auroc, r.aupr_in, r.aupr_out, accuracy) for r in members]
        for row, values in zip(members, figures, strict=True):
            writer.writerow([row.ood, *(f"{100 * value:.2f}" for value in values)])
        if figures and group in ("near", "far"):
            means = [math.fsum(column) / len(column) for column in zip(*figures, strict=True)]
            writer.writerow([f"{group}ood", *(f"{100 * value:.2f}" for value in means)])
    return text.getvalue()
