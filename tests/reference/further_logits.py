"""Further twins of scores of logits, and those of ensemble members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_fitted_logits import class_mean, divergence
from tests.reference.from_head import float_head
from tests.reference.from_logits import (
    DIGITS,
    Row,
    by_rows,
    log_softmax,
    log_sum_exp,
    logit_rows,
    predicted,
    softmax,
)

__all__ = ["FURTHER_LOGIT_TWINS", "outside_image"]


@by_rows
def standardized_logit(z: Row) -> Any:
    """max_c (z_c - mean z) / std z, the population's; 0 for equal logits."""
    mean = sum(z.values()) / len(z)
    std = mp.sqrt(sum((v - mean) ** 2 for v in z.values()) / len(z))
    return (max(z.values()) - mean) / std if std else 0


@by_rows
def evidential(z: Row) -> Any:
    """-C / Σ α, α = max(z, 0) + 1."""
    return -len(z) / sum(max(v, 0) + 1 for v in z.values())


@by_rows
def inhibited_softmax(z: Row, a: float = 1.0) -> Any:
    """max_c exp(z_c) / (Σ exp(z) + exp(a))."""
    with_constant = log_softmax({**z, -1: mpf(a)})
    return mp.exp(max(with_constant[c] for c in z))


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def information_gain(x: Outputs, train: Outputs) -> Array:
    """KL(p ‖ p_0), p_0 the mean softmax of the training rows."""
    prior = class_mean([softmax(z) for z in logit_rows(train)], 0)
    return np.array([divergence(log_softmax(z), prior) for z in logit_rows(x)], np.float64)


def member_rows(x: Outputs) -> list[tuple[Row, ...]]:
    """The live logits of each member, row by row."""
    assert x.members is not None
    return list(zip(*(logit_rows(Outputs(logits=member)) for member in x.members), strict=True))


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def vote_entropy(x: Outputs, train: Outputs | None = None) -> Array:
    """Σ (v_c / M) ln(v_c / M), v_c the members that predict c."""
    scores = []
    for row in member_rows(x):
        votes = Counter(predicted(z) for z in row)
        shares = [mpf(count) / len(row) for count in votes.values()]
        scores.append(sum(share * mp.log(share) for share in shares))
    return np.array(scores, np.float64)


def member_shares(row: tuple[Row, ...]) -> list[dict[int, Any]]:
    """The softmax of each member, class by class."""
    classes = sorted({c for z in row for c in z})
    return [
        {c: mp.exp(z[c] - log_sum_exp(list(z.values()))) if c in z else mpf(0) for c in classes}
        for z in row
    ]


def entropy_of(p: dict[int, Any]) -> Any:
    return -sum((v * mp.log(v) for v in p.values() if v > 0), mpf(0))


def mean_shares(members: list[dict[int, Any]]) -> dict[int, Any]:
    return {c: sum(p[c] for p in members) / len(members) for c in members[0]}


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def predictive_entropy(x: Outputs, train: Outputs | None = None) -> Array:
    """-H of the members' mean probability."""
    rows = map(member_shares, member_rows(x))
    return np.array([-entropy_of(mean_shares(row)) for row in rows], np.float64)


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def mutual_information(x: Outputs, train: Outputs | None = None) -> Array:
    """Mean entropy of the members less the entropy of their mean."""
    rows = map(member_shares, member_rows(x))
    scores = [sum(map(entropy_of, r)) / len(r) - entropy_of(mean_shares(r)) for r in rows]
    return np.array(scores, np.float64)


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def class_variance(x: Outputs, train: Outputs | None = None) -> Array:
    """-(1/C) sum over classes of the mean squared distance from the mean probability."""
    scores = []
    for row in map(member_shares, member_rows(x)):
        mean = mean_shares(row)
        total = sum((p[c] - mean[c]) ** 2 for p in row for c in mean)
        scores.append(-total / (len(row) * len(mean)))
    return np.array(scores, np.float64)


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def t_similarity(x: Outputs, train: Outputs | None = None) -> Array:
    """The mean of ⟨p^i, p^j⟩ over the pairs i ≠ j of members."""
    scores = []
    for row in member_rows(x):
        heads = [softmax(z) for z in row]
        if len(heads) < 2:
            raise ValueError("one member has no pairs")
        pairs = [(p, q) for i, p in enumerate(heads) for j, q in enumerate(heads) if i != j]
        products = [sum(p[c] * q[c] for c in p if c in q) for p, q in pairs]
        scores.append(sum(products) / len(pairs))
    return np.array(scores, np.float64)


def outside_image(v: Array, weight: Array, ones: bool = False) -> float:
    """‖v - P v‖₂, P the projection on the columns of W, and on (1, ..., 1) if asked."""
    columns = np.column_stack([weight, np.ones(len(weight))]) if ones else weight
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    basis = u[:, s > max(columns.shape) * np.finfo(np.float64).eps * s[0]]
    return float(np.linalg.norm(v - basis @ (basis.T @ v)))


def logit_signature(x: Outputs, train: Outputs | None = None, ones: bool = False) -> Array:
    """-‖(I - P)(z - b)‖ / ‖z - b‖; `ones` for logits that are log-probabilities."""
    weight, bias = float_head(x, train)
    assert x.logits is not None
    scores = []
    for z in x.logits.astype(np.float64) - bias:
        scores.append(-outside_image(z, weight, ones) / (np.linalg.norm(z) or 1.0))
    return np.array(scores, np.float64)


FURTHER_LOGIT_TWINS: dict[str, Callable[..., Array]] = {
    "class_variance": class_variance,
    "evidential": evidential,
    "information_gain": information_gain,
    "inhibited_softmax": inhibited_softmax,
    "logit_signature": logit_signature,
    "mutual_information": mutual_information,
    "predictive_entropy": predictive_entropy,
    "standardized_logit": standardized_logit,
    "t_similarity": t_similarity,
    "vote_entropy": vote_entropy,
}
