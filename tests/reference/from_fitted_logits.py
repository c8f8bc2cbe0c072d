"""Twins of the scores of logits that learn class templates from a training set."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from mpmath import mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_logits import DIGITS, Row, log_softmax, logit_rows, predicted, softmax

__all__ = [
    "FITTED_LOGIT_TWINS",
    "kl_matching",
    "softmax_centroid",
    "softmax_centroid_thresholds",
    "standardized_max_logit",
]


def standardized_max_logit(x: Outputs, train: Outputs) -> Array:
    """(max z - μ_ŷ) / σ_ŷ over the training rows predicted ŷ; all rows where those are no help."""
    rows = [(predicted(z), float(max(z.values()))) for z in logit_rows(train)]
    everything = [top for _, top in rows]
    scores = []
    for z in logit_rows(x):
        mine = [top for c, top in rows if c == predicted(z)]
        if len(mine) < 2 or max(mine) == min(mine):
            mine = everything
        scores.append((float(max(z.values())) - fmean(mine)) / pstdev(mine))
    return np.array(scores, np.float64)


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def kl_matching(x: Outputs, train: Outputs) -> Array:
    """-min_c KL(p ‖ d_c), d_c the mean softmax of the training rows predicted c."""
    fitted = [(predicted(z), softmax(z)) for z in logit_rows(train)]
    templates = [class_mean([p for y, p in fitted if y == c], c) for c in range(x.classes)]
    scores = []
    for z in logit_rows(x):
        logs = log_softmax(z)
        scores.append(-min(divergence(logs, template) for template in templates))
    return np.array(scores, np.float64)


def divergence(log_p: Row, d: Row) -> Any:
    """Σ p (ln p - ln d): infinite where d misses a class that p has."""
    if any(d.get(c, 0) == 0 for c in log_p):
        return mpf("inf")
    return sum(mp.exp(v) * (v - mp.log(d[c])) for c, v in log_p.items())


def class_mean(rows: list[Row], c: int) -> Row:
    """The mean of some softmax rows; without any, all the weight on class c."""
    classes = {k for row in rows for k in row}
    return {k: sum(row.get(k, mpf(0)) for row in rows) / len(rows) for k in classes} or {c: mpf(1)}


def gap(p: Row, centroid: Row) -> Any:
    """‖p - centroid‖₂."""
    return mp.sqrt(sum((p.get(c, 0) - centroid.get(c, 0)) ** 2 for c in {*p, *centroid}))


def centroids(train: Outputs) -> list[Row]:
    """The mean softmax of the training rows that are predicted c and are of class c."""
    assert train.labels is not None
    rows = list(zip(train.labels.tolist(), logit_rows(train), strict=True))
    right = [(y, softmax(z)) for y, z in rows if predicted(z) == y]
    return [class_mean([p for y, p in right if y == c], c) for c in range(train.classes)]


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def softmax_centroid(x: Outputs, train: Outputs, by: str = "predicted") -> Array:
    """-‖p - centroid_ŷ‖₂; `by` moves the thresholds, never the score."""
    fitted = centroids(train)
    return np.array([-gap(softmax(z), fitted[predicted(z)]) for z in logit_rows(x)], np.float64)


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def softmax_centroid_thresholds(train: Outputs, by: str = "predicted") -> Array:
    """Per class c: the least ‖p - centroid_c‖₂ of a wrong row that counts for c, else +inf."""
    assert train.labels is not None
    fitted = centroids(train)
    nearest = [mpf("inf")] * train.classes
    for y, z in zip(train.labels.tolist(), logit_rows(train), strict=True):
        if y not in (-1, predicted(z)):
            c = {"predicted": predicted(z), "true": y}[by]
            nearest[c] = min(nearest[c], gap(softmax(z), fitted[c]))
    return np.array(nearest, np.float64)


FITTED_LOGIT_TWINS: dict[str, Callable[..., Array]] = {
    "kl_matching": kl_matching,
    "softmax_centroid": softmax_centroid,
    "standardized_max_logit": standardized_max_logit,
}
