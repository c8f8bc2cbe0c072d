"""What a report draws of an evaluation: histograms, curves, and the rows that scores misjudge.

Everything is small and plain, so that it fits into the results document: a pair takes about a
kilobyte.  Curves are kept as counts at thresholds, from which ROC, precision-recall and the
bands around them follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ood_toolkit.detectors.catalogue import find_method
from ood_toolkit.errors import UnknownName
from ood_toolkit.evaluation.confidence_pictures import (
    POINTS,
    accuracy_by_score,
    classifier_picture,
    risk_picture,
    rounded,
)
from ood_toolkit.evaluation.records import plain
from ood_toolkit.evaluation.specimens import specimens
from ood_toolkit.metrics import Ranking
from ood_toolkit.outputs import Array, Outputs

__all__ = [
    "BINS",
    "ROWS",
    "Pictures",
    "extreme_rows",
    "pair_picture",
]

BINS = 40
"""Bins of a score histogram, the same for both sets."""
OUTSIDE = 0.005
"""Share of all scores that may lie beyond either end of a histogram, and counts in its end bin."""
ROWS = 6
"""Specimens of a method and a set."""


def pair_picture(ranking: Ranking) -> dict[str, Any]:
    """Histograms of both sets over shared bins, and the counts that curves are drawn from.

    Parameters
    ----------
    ranking : Ranking
        Of the pair's scores.

    Returns
    -------
    dict
        `histogram`: `low`, `high`, the counts `id` and `ood` of equal bins between them; the
        end bins also hold what lies beyond, infinite scores among it.  `at_or_above`: how many
        ID and OOD scores reach each of at most 64 thresholds, from the largest down, beginning
        with none and ending with all.  TPR, FPR and precision follow from the counts.

    Examples
    --------
    >>> from ood_toolkit.metrics import Ranking
    >>> picture = pair_picture(Ranking.of([3.0, 2.0], [1.0]))
    >>> picture["at_or_above"]
    {'id': [0, 1, 2, 2], 'ood': [0, 0, 0, 1]}
    """
    roc = ranking.roc(POINTS)
    counts = {
        "id": np.rint(roc.tpr * ranking.n_id).astype(np.int64).tolist(),
        "ood": np.rint(roc.fpr * ranking.n_ood).astype(np.int64).tolist(),
    }
    return {"histogram": _histogram(ranking), "at_or_above": counts}


def _histogram(ranking: Ranking) -> dict[str, Any]:
    ascending = ranking.thresholds[:0:-1].astype(np.float64)
    below = {
        name: int(at[-1]) - at[::-1].astype(np.int64)
        for name, at in (("id", ranking.id_at_or_above), ("ood", ranking.ood_at_or_above))
    }
    low, high = _range(ascending, below["id"] + below["ood"])
    inner = np.linspace(low, high, BINS + 1)[1:-1]
    at = np.searchsorted(ascending, inner, side="left")
    counts = {
        name: np.diff(np.concatenate(([0], b[at], [b[-1]]))).tolist() for name, b in below.items()
    }
    return {"low": rounded(low), "high": rounded(high), **counts}


def _range(ascending: Array, below: Array) -> tuple[float, float]:
    """Ends of a histogram: the middle 99 % of all scores, without infinite ones.

    `below` counts the scores below each of the ascending distinct ones, and below infinity.
    """
    total = int(below[-1])
    first = int(np.searchsorted(below[1:], math.floor(OUTSIDE * total), side="right"))
    last = int(np.searchsorted(below[1:], math.ceil((1 - OUTSIDE) * total), side="left"))
    chosen = ascending[first : last + 1]
    finite = chosen[np.isfinite(chosen)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite[0]), float(finite[-1])
    if not math.isfinite(high - low):
        return max(low, -1e300), min(high, 1e300)
    if low == high:
        wide = max(abs(low), 1.0) / 2
        return low - wide, high + wide
    return low, high


def extreme_rows(scores: Array, *, lowest: bool) -> list[list[Any]]:
    """Row number and score of the six lowest or highest scores; of equal ones the first rows.

    Parameters
    ----------
    scores : (N,) array of float
        Of one method on one set.
    lowest : bool
        Which end.

    Examples
    --------
    >>> extreme_rows([0.5, 0.1, 0.9], lowest=True)[:2]
    [[1, 0.1], [0, 0.5]]
    """
    values = np.asarray(scores, dtype=np.float64)
    keyed = values if lowest else -values
    if keyed.size > ROWS:  # all rows that may be among them, then in order
        near = np.flatnonzero(keyed <= np.partition(keyed, ROWS - 1)[ROWS - 1])
    else:
        near = np.arange(keyed.size)
    kept = near[np.argsort(keyed[near], kind="stable")][:ROWS]
    return [[int(row), rounded(values[row])] for row in kept]


class Pictures:
    """Collects, while an evaluation runs, what its report draws.

    Parameters
    ----------
    id_test : Outputs
        In-distribution rows.
    ood : mapping of str to Outputs
        Out-of-distribution sets.
    correct : (N,) array of bool, optional
        Whether each in-distribution row is classified right; None without labels.
    """

    def __init__(
        self, id_test: Outputs, ood: Mapping[str, Outputs], correct: Array | None = None
    ) -> None:
        self._sets = {"": id_test, **ood}
        self._correct = correct
        self._pairs: list[dict[str, Any]] = []
        self._methods: dict[str, dict[str, Any]] = {}
        self._rows: list[dict[str, Any]] = []

    def pair(self, method: str, key: str, ranking: Ranking) -> None:
        """Keep the histograms and curves of a method on one out-of-distribution set."""
        self._pairs.append({"method": method, "ood": key, **pair_picture(ranking)})

    def rows(self, method: str, key: str, scores: Array) -> None:
        """Keep what the scores of all rows of a set show; key "" is the in-distribution set."""
        found = extreme_rows(scores, lowest=not key)
        self._rows.append({"method": method, "set": key, "rows": found})
        if not key:
            self._methods[method] = self._of_method(method, scores)

    def _of_method(self, method: str, id_scores: Array) -> dict[str, Any]:
        picture: dict[str, Any] = {"method": method}
        try:
            row = find_method(method)
        except UnknownName:  # a detector of the user's own
            row = None
        if row is not None:
            picture |= {"family": row.family, "reference": row.reference, "summary": row.summary}
        if self._correct is not None:
            picture["risk_coverage"] = risk_picture(id_scores, self._correct)
            picture["accuracy_by_score"] = accuracy_by_score(id_scores, self._correct)
        return picture

    def document(self) -> dict[str, Any]:
        """What the results document holds under `pictures`; plain types."""
        id_test = self._sets[""]
        document: dict[str, Any] = {
            "scored_rows": sum(len(x) for x in self._sets.values()),
            "methods": list(self._methods.values()),
            "pairs": self._pairs,
            "extremes": self._rows,
            "specimens": specimens(self._sets, self._rows),
        }
        if self._correct is not None and id_test.logits is not None:
            document["classifier"] = classifier_picture(id_test, self._correct)
        converted: dict[str, Any] = plain(document)
        return converted
