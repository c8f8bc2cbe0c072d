"""Choosing the penalty of prediction sets on rows that the quantile is not taken of."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.decision.conformal import ConformalSets, FittedSets, labels_of_sets
from ood_toolkit.decision.nonconformity import conformal_quantile
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["PENALTIES", "tuned_sets"]

PENALTIES = {
    ("raps", "size"): (0.001, 0.01, 0.1, 0.2, 0.5),
    ("raps", "adaptiveness"): (1e-5, 1e-4, 8e-4, 1e-3, 1.5e-3, 2e-3),
    ("saps", "size"): (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6),
    ("saps", "adaptiveness"): (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6),
}
"""Penalties that are tried: those of the authors' code for RAPS, our own for SAPS."""
STRATA = (2, 4, 7, 11, 101)
"""Sizes at which a new stratum begins: 0-1, 2-3, 4-6, 7-10, 11-100, and more."""


def tuned_sets(
    rule: ConformalSets,
    validation: Outputs,
    *,
    share: float = 0.3,
    by: Literal["size", "adaptiveness"] = "size",
) -> FittedSets:
    """Fit "raps" or "saps" sets with a penalty chosen on a part of the rows.

    The part is drawn by chance and not used again: the quantile is taken of the other rows,
    so the promise of coverage stands.

    Parameters
    ----------
    rule : ConformalSets
        With score "raps" or "saps"; its `penalty`, and `rank_free` of "raps", are replaced.
    validation : Outputs
        With logits and labels.
    share : float
        In (0, 1): the part of the rows to choose on.
    by : "size" or "adaptiveness"
        Smallest sets on average, or coverage alike in small and large sets: the least largest
        deviation from 1 - alpha among strata of sizes.

    Returns
    -------
    FittedSets
        Its `rule` holds the penalty and rank that were chosen.  The rank is the (1 - alpha)
        quantile of the labels' ranks.

    Raises
    ------
    BadParameter
        If the score has no penalty, or `share` or `by` is out of range.
    InputError
        If there are too few rows for two parts, or as `ConformalSets.fit`.

    References
    ----------
    Angelopoulos, Bates, Malik & Jordan, ICLR 2021; Huang, Xi, Zhang, Yao, Qiu & Wei, ICML 2024.

    Examples
    --------
    >>> from ood_toolkit import load_benchmark
    >>> digits = load_benchmark("digits")
    >>> fitted = tuned_sets(ConformalSets(alpha=0.05, score="raps"), digits.id_val)
    >>> fitted.rule.rank_free, fitted.rule.penalty in PENALTIES["raps", "size"]
    (1, True)
    """
    require(
        rule.score in ("raps", "saps"),
        f"only raps and saps have a penalty to choose, got {rule.score!r}",
    )
    require(0.0 < share < 1.0, f"share must lie in (0, 1), got {share}")
    require(by in ("size", "adaptiveness"), f"by is size or adaptiveness, got {by!r}")
    labels = labels_of_sets(validation)
    rows = len(labels)
    tuned_on = round(share * rows)
    if not 0 < tuned_on < rows:
        raise InputError(
            located(validation, f"{rows} labelled rows cannot be split at {share:g} into two parts")
        )
    order = np.random.default_rng(rule.seed).permutation(rows)
    part, rest = validation.rows(order[:tuned_on]), validation.rows(order[tuned_on:])
    if rule.score == "raps":
        rule = replace(rule, rank_free=_rank_of_labels(part, rule.alpha))
    tried = [replace(rule, penalty=penalty) for penalty in PENALTIES[rule.score, by]]
    losses = [_loss(one, part, by) for one in tried]
    return tried[int(np.argmin(losses))].fit(rest)


def _rank_of_labels(x: Outputs, alpha: float) -> int:
    """The least rank, counted from 1, that holds at least 1 - alpha of the labels."""
    assert x.logits is not None
    assert x.labels is not None
    order = np.argsort(-np.asarray(x.logits, dtype=np.float64), axis=1, kind="stable")
    rank = np.argmax(order == x.labels[:, np.newaxis], axis=1)
    return int(np.quantile(rank, 1.0 - alpha, method="higher")) + 1


def _loss(rule: ConformalSets, x: Outputs, by: str) -> float:
    """What a penalty costs on the rows it is chosen on."""
    labels = labels_of_sets(x)
    scores = rule.scores(x, rule.seed)
    held = scores[np.arange(len(labels)), labels]
    sets = scores <= conformal_quantile(held, rule.alpha)
    size = sets.sum(axis=1)
    if by == "size":
        return float(size.mean())
    return _worst_stratum(size, sets[np.arange(len(labels)), labels], 1.0 - rule.alpha)


def _worst_stratum(size: Array, held: Array, wanted: float) -> float:
    stratum = np.digitize(size, STRATA)
    present = np.unique(stratum)
    return max(abs(float(held[stratum == s].mean()) - wanted) for s in present)
