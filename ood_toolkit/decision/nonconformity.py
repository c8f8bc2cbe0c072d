"""How strange a class would be as the label of a row, and where to cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ood_toolkit.outputs import Array
from ood_toolkit.parameters import require

__all__ = ["conformal_quantile", "nonconformity"]


def conformal_quantile(scores: Any, alpha: float) -> float:
    """The ceil((N + 1)(1 - alpha))-th smallest score; infinite where there are too few.

    Parameters
    ----------
    scores : (N,) array of float
        Nonconformity of calibration rows.
    alpha : float
        In (0, 1).

    Returns
    -------
    float
        A new exchangeable score is at most this with probability at least 1 - alpha.

    Examples
    --------
    >>> conformal_quantile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.2)
    0.8
    """
    require(0.0 < alpha < 1.0, f"alpha must lie in (0, 1), got {alpha}")
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    # rounding in (1 - alpha)(N + 1) must not take a whole row
    rank = math.ceil((ordered.size + 1) * (1.0 - alpha) - 1e-12)
    return float(ordered[rank - 1]) if rank <= ordered.size else math.inf


def nonconformity(
    p: Array,
    score: str,
    u: Array,
    *,
    penalty: float = 0.0,
    rank_free: int = 0,
    logits: Array | None = None,
) -> Array:
    """How strange each class would be as the label of each row.

    Parameters
    ----------
    p : (N, C) array of float64
        Class probabilities.
    score : {"lac", "aps", "raps", "saps"}
        1 - p; the mass of likelier classes and a share 1 - u of the class's own; the same
        plus `penalty` for each rank beyond `rank_free`; or that with every probability but
        the largest replaced by `penalty`.
    u : (N,) array of float64
        In [0, 1]; 0 for sets that do not depend on chance.
    penalty : float
        At least 0.
    rank_free : int
        Ranks, counted from 1, without penalty.
    logits : (N, C) array of float, optional
        What orders the classes of a row: of many classes the probability is the same, as 0
        is, and the logit is not.  Without them probabilities do, and after them the index.

    Returns
    -------
    (N, C) array of float64
        Smaller = likelier.
    """
    if score == "lac":
        return np.asarray(1.0 - p)
    by = p if logits is None else np.asarray(logits, dtype=np.float64)
    order = np.argsort(-by, axis=1, kind="stable")
    ordered = np.take_along_axis(p, order, axis=1)
    rank = np.arange(1, p.shape[1] + 1)
    if score == "saps":
        found = np.where(
            rank == 1,
            u[:, None] * ordered[:, :1],
            ordered[:, :1] + penalty * (rank - 2 + u[:, None]),
        )
    else:
        found = np.cumsum(ordered, axis=1) - u[:, None] * ordered
        if score == "raps":
            found = found + penalty * np.maximum(0, rank - rank_free)
    scores = np.empty_like(found)
    np.put_along_axis(scores, order, found, axis=1)
    return scores
