"""Open-set recognition: an ID row counts only where it is also classified correctly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.metrics.inputs import as_flags, as_scores, check_share, least_count, undefined
from ood_toolkit.metrics.ranking import Ranking

__all__ = ["ccr_at_fpr", "ccr_of_ranking", "oscr", "oscr_of_ranking"]


def ccr_at_fpr(id_scores: Any, id_correct: Any, ood_scores: Any, fpr: float = 0.05) -> float:
    """Correct classification rate at a false-positive rate.

    The share of ID rows that are classified correctly and score above the ceil(fpr M)-th
    largest OOD score; with fpr = 0, above every OOD score.

    Parameters
    ----------
    id_scores : (N,) array of float
        Larger = more in-distribution.
    id_correct : (N,) array of bool
        Whether the class predicted for an ID row is its own.
    ood_scores : (M,) array of float
        Larger = more in-distribution.
    fpr : float
        In [0, 1].

    Returns
    -------
    float
        In [0, accuracy], larger is better; NaN, with a warning, where a set is empty.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers or holds NaN, the lengths differ, or
        `fpr` is no share.

    References
    ----------
    Dhamija, Guenther & Boult, NeurIPS 2018.

    Examples
    --------
    >>> ccr_at_fpr([0.9, 0.8, 0.4], [True, False, True], [0.5, 0.1], fpr=0.5)
    0.3333333333333333
    """
    return ccr_of_ranking(*_of_correct(id_scores, id_correct, ood_scores), fpr)


def ccr_of_ranking(ranking: Ranking, rows: int, fpr: float) -> float:
    """`ccr_at_fpr` where the correctly classified of `rows` ID rows are ranked already."""
    share = check_share("fpr", fpr, zero=True)
    if rows == 0 or ranking.n_ood == 0:
        return undefined("CCR", "a set is empty")
    counts = ranking.ood_at_or_above
    at = int(np.searchsorted(counts, least_count(share, ranking.n_ood)))
    return int(ranking.id_at_or_above[at - 1]) / rows


def oscr(id_scores: Any, id_correct: Any, ood_scores: Any) -> float:
    """Area under the correct classification rate over the false-positive rate.

    P(an ID row is classified correctly and scores above an OOD row), ties counted half.

    Parameters
    ----------
    id_scores : (N,) array of float
        Larger = more in-distribution.
    id_correct : (N,) array of bool
        Whether the class predicted for an ID row is its own.
    ood_scores : (M,) array of float
        Larger = more in-distribution.

    Returns
    -------
    float
        In [0, accuracy], larger is better; NaN, with a warning, where a set is empty.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers or holds NaN, or the lengths differ.

    References
    ----------
    Dhamija, Guenther & Boult, NeurIPS 2018.

    Examples
    --------
    >>> oscr([0.9, 0.8, 0.4], [True, False, True], [0.5, 0.1])
    0.5
    """
    return oscr_of_ranking(*_of_correct(id_scores, id_correct, ood_scores))


def oscr_of_ranking(ranking: Ranking, rows: int) -> float:
    """`oscr` where the correctly classified of `rows` ID rows are ranked already."""
    if rows == 0 or ranking.n_ood == 0:
        return undefined("OSCR", "a set is empty")
    return ranking.auroc() * ranking.n_id / rows if ranking.n_id else 0.0


def _of_correct(id_scores: Any, id_correct: Any, ood_scores: Any) -> tuple[Ranking, int]:
    """Ranking of the correctly classified ID scores, and the number of all ID rows."""
    scores = as_scores("id_scores", id_scores)
    correct = as_flags("id_correct", id_correct, scores.size)
    return Ranking.of(scores[correct], ood_scores), scores.size
