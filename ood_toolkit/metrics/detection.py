"""Ranking metrics of ID against OOD scores, one function each; larger score = ID.

Each function sorts on its own: for several metrics of the same scores make a
`ood_toolkit.metrics.Ranking` once and ask it.
"""

from __future__ import annotations

from typing import Any

from ood_toolkit.metrics.ranking import Ranking, Roc

__all__ = ["aupr_in", "aupr_out", "auroc", "autc", "detection_error", "fpr_at_tpr", "roc_curve"]


def auroc(id_scores: Any, ood_scores: Any) -> float:
    """Area under the ROC curve: P(ID score > OOD score) + P(equal) / 2.

    Parameters
    ----------
    id_scores : (N,) array of float
        Larger = more in-distribution; +inf and -inf are ranked.
    ood_scores : (M,) array of float
        Likewise.

    Returns
    -------
    float
        In [0, 1], larger is better, 0.5 for a constant score; NaN, with a warning, where a
        set is empty.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers, or holds NaN.

    Examples
    --------
    >>> auroc([0.9, 0.8, 0.4], [0.5, 0.1])
    0.8333333333333334
    """
    return Ranking.of(id_scores, ood_scores).auroc()


def aupr_in(id_scores: Any, ood_scores: Any, estimator: str = "step") -> float:
    """Area under precision and recall, ID positive.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    estimator : {"step", "trapezoid"}
        Average precision (Hendrycks & Gimpel, ICLR 2017), or the area under straight lines
        between the points (OpenOOD), which flatters tied scores.

    Returns
    -------
    float
        In [0, 1], larger is better; about N / (N + M) for a random score.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers, or holds NaN.
    UnknownName
        If there is no such estimator.

    Examples
    --------
    >>> aupr_in([0.9, 0.8], [0.5, 0.1])
    1.0
    """
    return Ranking.of(id_scores, ood_scores).aupr_in(estimator)


def aupr_out(id_scores: Any, ood_scores: Any, estimator: str = "step") -> float:
    """Area under precision and recall, OOD positive; otherwise as `aupr_in`.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    estimator : {"step", "trapezoid"}
        As of `aupr_in`.

    Returns
    -------
    float
        In [0, 1], larger is better; about M / (N + M) for a random score.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers, or holds NaN.
    UnknownName
        If there is no such estimator.

    Examples
    --------
    >>> aupr_out([0.9, 0.3], [0.5, 0.1])
    0.8333333333333333
    """
    return Ranking.of(id_scores, ood_scores).aupr_out(estimator)


def fpr_at_tpr(
    id_scores: Any, ood_scores: Any, tpr: float = 0.95, rule: str = "id_positive"
) -> float:
    """False-positive rate where the true-positive rate is `tpr`.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    tpr : float
        In (0, 1].
    rule : str
        One of `FPR_RULES`: which set is positive and which operating point is read, as
        `Ranking.fpr_at_tpr` explains.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, where the rule gives none.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers or holds NaN, or `tpr` is no share.
    UnknownName
        If there is no such rule.

    Examples
    --------
    >>> fpr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1])
    0.5
    >>> fpr_at_tpr([0.9, 0.8, 0.4], [0.5, 0.1], rule="ood_positive")
    0.3333333333333333
    """
    return Ranking.of(id_scores, ood_scores).fpr_at_tpr(tpr, rule)


def detection_error(id_scores: Any, ood_scores: Any) -> float:
    """Least mean of the missed ID and the accepted OOD share, over all thresholds.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.

    Returns
    -------
    float
        In [0, 0.5], smaller is better; 1 minus it is the detection accuracy of Lee et al.,
        NeurIPS 2018.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers, or holds NaN.

    Examples
    --------
    >>> detection_error([0.9, 0.8, 0.4, 0.3], [0.5, 0.1])
    0.25
    """
    return Ranking.of(id_scores, ood_scores).detection_error()


def autc(id_scores: Any, ood_scores: Any) -> float:
    """Area under the threshold curve: mean of FPR and FNR over all thresholds.

    The scores of both sets together are scaled to [0, 1], so the value depends on how far
    apart they are, and on the extremes of this very pair of sets.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, where a score is infinite.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers, or holds NaN.

    References
    ----------
    Humblot-Renaux, Escalera & Moeslund, CVPR 2023.

    Examples
    --------
    >>> autc([1.0, 0.75], [0.25, 0.0])
    0.125
    """
    return Ranking.of(id_scores, ood_scores).autc()


def roc_curve(id_scores: Any, ood_scores: Any, points: int | None = None) -> Roc:
    """ROC curve with ID positive.

    Parameters
    ----------
    id_scores, ood_scores : (N,), (M,) arrays of float
        Larger = more in-distribution.
    points : int, optional
        Keep at most so many points, evenly spread along the curve, both ends among them.

    Returns
    -------
    Roc
        `fpr`, `tpr` and `thresholds`, (P,) arrays; the first threshold is +inf.

    Raises
    ------
    InputError
        If an array is not one-dimensional, not numbers or holds NaN, or `points` is below 2.

    Examples
    --------
    >>> roc_curve([0.9, 0.4], [0.5]).tpr
    array([0. , 0.5, 0.5, 1. ])
    """
    return Ranking.of(id_scores, ood_scores).roc(points)
