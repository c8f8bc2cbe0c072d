"""What a report draws of the in-distribution rows: accuracy by score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.kernels.statistics import TAIL
from ood_toolkit.metrics import reliability, risk_coverage
from ood_toolkit.outputs import Array, Outputs

__all__ = ["POINTS", "accuracy_by_score", "classifier_picture", "risk_picture", "rounded"]

POINTS = 64
"""Points of a curve, at most."""
SCORE_BINS = 10
"""Groups of rows, as nearly equal in number as ties allow, whose accuracy is shown."""
DIGITS = 5
"""Significant digits of what is only drawn."""


def risk_picture(id_scores: Array, correct: Array) -> dict[str, Any]:
    """Risk where the highest-scoring rows are kept, at evenly spread coverages.

    Parameters
    ----------
    id_scores : (N,) array of float
        Larger = kept first.
    correct : (N,) array of bool
        Whether the classifier is right.

    Returns
    -------
    dict
        `rows`: N; `coverage` and `risk`: at most 64 points, the last at coverage 1.

    Examples
    --------
    >>> risk_picture([2.0, 1.0], [True, False])
    {'rows': 2, 'coverage': [0.5, 1.0], 'risk': [0.0, 0.5]}
    """
    curve = risk_coverage(id_scores, correct)
    rows = curve.risk.size
    kept = np.unique(np.rint(np.linspace(0, rows - 1, min(POINTS, rows))).astype(np.int64))
    return {
        "rows": rows,
        "coverage": [rounded(v) for v in curve.coverage[kept]],
        "risk": [rounded(v) for v in curve.risk[kept]],
    }


def accuracy_by_score(id_scores: Array, correct: Array) -> list[dict[str, Any]]:
    """Accuracy of rows grouped by rank of their score: a reliability diagram for any score.

    Parameters
    ----------
    id_scores : (N,) array of float
        Any scale.
    correct : (N,) array of bool
        Whether the classifier is right.

    Returns
    -------
    list of dict
        From the lowest scores up: `low` and `high` score of the group, `rows`, `right`.  Rows
        of equal score are in one group, so that there may be fewer than ten.

    Examples
    --------
    >>> accuracy_by_score([1.0, 2.0], [False, True])[1]
    {'low': 2.0, 'high': 2.0, 'rows': 1, 'right': 1}
    """
    scores = np.asarray(id_scores, dtype=np.float64)
    right = np.asarray(correct, dtype=bool)
    order = np.argsort(scores, kind="stable")
    scores, right = scores[order], right[order]
    ends = np.rint(np.linspace(0, scores.size, SCORE_BINS + 1)).astype(np.int64)[1:]
    ends = np.unique(np.searchsorted(scores, scores[ends[ends > 0] - 1], side="right"))
    groups = []
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        groups.append(
            {
                "low": rounded(scores[start]),
                "high": rounded(scores[end - 1]),
                "rows": end - start,
                "right": int(right[start:end].sum()),
            }
        )
    return groups


def classifier_picture(x: Outputs, correct: Array) -> dict[str, Any]:
    """The reliability diagram of the classifier's largest softmax probability.

    Parameters
    ----------
    x : Outputs
        With logits.
    correct : (N,) array of bool
        Whether each row is classified right.

    Returns
    -------
    dict
        `bins`: 15 of one width, empty ones left out, with `low`, `high`, `rows`, `right` and the
        mean `confidence`.

    Examples
    --------
    >>> import numpy as np
    >>> classifier_picture(Outputs(logits=np.array([[0.0, 0.0]])), [True])["bins"]
    [{'low': 0.46667, 'high': 0.53333, 'rows': 1, 'right': 1, 'confidence': 0.5}]
    """
    confidence = 1.0 - np.asarray(checked_statistics(x, (TAIL,))[TAIL], dtype=np.float64)
    diagram = reliability(confidence, correct)
    bins = [
        {
            "low": rounded(low),
            "high": rounded(high),
            "rows": int(rows),
            "right": round(accuracy * rows),
            "confidence": rounded(mean),
        }
        for low, high, rows, accuracy, mean in zip(*diagram, strict=True)
        if rows
    ]
    return {"bins": bins}


def rounded(value: Any) -> float:
    """A number to five significant digits, which is enough to draw it; infinite ones stay.

    Examples
    --------
    >>> rounded(2 / 3)
    0.66667
    """
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else number
