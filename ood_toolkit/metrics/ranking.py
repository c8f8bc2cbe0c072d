"""Every ranking metric of one pair of score sets, from one sort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.ranking import (
    TieGroups,
    average_precision,
    delong_variance,
    group_keys,
    merge_tie_groups,
    ordered_pairs,
    smallest_error,
    trapezoid_precision,
)
from ood_toolkit.kernels.resampling import drawn_groups, resampled
from ood_toolkit.kernels.sorting import scores_of, sort_pair_descending
from ood_toolkit.metrics.false_positives import false_positive_rate
from ood_toolkit.metrics.inputs import as_scores, check_choice, undefined
from ood_toolkit.metrics.sorted_scores import SortedScores

__all__ = ["AUPR_ESTIMATORS", "PrecisionRecall", "Ranking", "Roc"]

Array = npt.NDArray[Any]

AUPR_ESTIMATORS = ("step", "trapezoid")
"""Average precision, and the area under straight lines between the points."""


class Roc(NamedTuple):
    """Points of a ROC curve with ID positive: (P,) arrays, from (0, 0) to (1, 1)."""

    fpr: Array
    tpr: Array
    thresholds: Array


class PrecisionRecall(NamedTuple):
    """Points of a precision-recall curve: (P,) arrays, from recall 0 and precision 1 on."""

    recall: Array
    precision: Array
    thresholds: Array


@dataclass(frozen=True, eq=False)
class Ranking:
    """How ID and OOD scores interleave, with ties kept together; larger score = ID.

    Made by `Ranking.of`; scores may be infinite.  Every metric is a fraction, not percent,
    and NaN with a warning where a set is empty.

    Attributes
    ----------
    id_at_or_above, ood_at_or_above : (G + 1,) arrays of int
        How many scores of a set lie at or above +inf and each of the G distinct scores,
        from the largest down: 0 first.

    Examples
    --------
    >>> ranking = Ranking.of([0.9, 0.8, 0.4], [0.5, 0.1])
    >>> ranking.auroc(), ranking.fpr_at_tpr(0.95)
    (0.8333333333333334, 0.5)
    """

    id_at_or_above: Array
    ood_at_or_above: Array
    _find_thresholds: Callable[[], Array]

    @classmethod
    def of(cls, id_scores: Any, ood_scores: Any) -> Ranking:
        """Sort (N,) ID and (M,) OOD scores of float16/32/64, bfloat16 or integers.

        Raises
        ------
        InputError
            If an array is not one-dimensional, not numbers, or holds NaN.
        """
        sets = {"id_scores": id_scores, "ood_scores": ood_scores}
        first, second = (as_scores(name, values) for name, values in sets.items())
        if first.dtype != second.dtype:
            first, second = first.astype(np.float64), second.astype(np.float64)
        ordered = sort_pair_descending(first, second)
        for name, one in zip(sets, ordered, strict=True):
            if one.first_bad >= 0:
                raise InputError(f"{name}[{one.first_bad}] is NaN; a score must be a number")
        return cls._merged(ordered[0].keys, ordered[1].keys)

    @classmethod
    def between(cls, id_scores: SortedScores, ood_scores: SortedScores) -> Ranking:
        """Merge scores that are sorted already, as for one ID set and many OOD sets."""
        return cls._merged(id_scores.keys, ood_scores.keys)

    @classmethod
    def _merged(cls, first: Array, second: Array) -> Ranking:
        groups = merge_tie_groups(first, second)
        return cls(*groups, partial(_thresholds, first, second, groups))

    @property
    def n_id(self) -> int:
        """Number of ID scores."""
        return int(self.id_at_or_above[-1])

    @property
    def n_ood(self) -> int:
        """Number of OOD scores."""
        return int(self.ood_at_or_above[-1])

    @cached_property
    def thresholds(self) -> Array:
        """+inf, then the distinct scores from the largest down.  (G + 1,) float."""
        return self._find_thresholds()

    def auroc(self) -> float:
        """P(ID score > OOD score) + P(equal) / 2, in [0, 1]; larger is better."""
        if reason := self._one_sided():
            return undefined("AUROC", reason)
        pairs = ordered_pairs(self.id_at_or_above, self.ood_at_or_above)
        return pairs / (2 * self.n_id * self.n_ood)

    def auroc_variance(self) -> float:
        """Variance of the AUROC by DeLong's components; NaN below two scores in a set.

        References
        ----------
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988.
        """
        if self.n_id < 2 or self.n_ood < 2:
            return undefined("AUROC variance", "a set has fewer than two scores")
        return delong_variance(self.id_at_or_above, self.ood_at_or_above, self.auroc())

    def aupr_in(self, estimator: str = "step") -> float:
        """Area under precision and recall with ID positive, in [0, 1]; larger is better."""
        return self._aupr("AUPR-in", estimator, self.id_at_or_above, self.ood_at_or_above, False)

    def aupr_out(self, estimator: str = "step") -> float:
        """Area under precision and recall with OOD positive, in [0, 1]; larger is better."""
        return self._aupr("AUPR-out", estimator, self.ood_at_or_above, self.id_at_or_above, True)

    def _aupr(
        self, name: str, estimator: str, hits: Array, misses: Array, from_below: bool
    ) -> float:
        check_choice("AUPR estimator", estimator, AUPR_ESTIMATORS)
        if reason := self._one_sided():
            return undefined(name, reason)
        area = average_precision if estimator == "step" else trapezoid_precision
        return area(hits, misses, from_below)

    def fpr_at_tpr(self, tpr: float = 0.95, rule: str = "id_positive") -> float:
        """False-positive rate where the true-positive rate is `tpr`, in [0, 1]; smaller is better.

        Parameters
        ----------
        tpr : float
            In (0, 1].
        rule : str
            - id_positive: share of OOD scores at or above the ceil(tpr N)-th largest ID score.
            - ood_positive: share of ID scores at or below the ceil(tpr M)-th smallest OOD
              score.
            - openood: as OpenOOD computes ood_positive, on scikit-learn's ROC curve without
              the points it drops; larger than ood_positive on some tied scores.
            - odin: mean share of OOD scores above a threshold, over thresholds that split the
              range of all scores into 100,000 and keep a share of ID scores within 0.0005 of
              `tpr` at or above them.  ODIN's own code uses fixed ranges.
            - nearest_id, nearest_ood: at the threshold whose share of ID (OOD) scores is
              nearest to `tpr`, which may be below it; of equal shares, the threshold with
              most false positives, as the published code finds it.

        Returns
        -------
        float
            NaN, with a warning, where a set is empty or no threshold falls in odin's band.

        References
        ----------
        odin: Liang, Li & Srikant, ICLR 2018.  nearest_id: Liu et al., NeurIPS 2020.
        nearest_ood: Hendrycks, Mazeika & Dietterich, ICLR 2019.
        """
        fpr, reason = self.fpr_and_reason(tpr, rule)
        return undefined(f"FPR ({rule})", reason) if reason else fpr

    def fpr_and_reason(self, tpr: float, rule: str) -> tuple[float, str]:
        """FPR as of `fpr_at_tpr`, and in place of a warning the reason why it is NaN."""
        return false_positive_rate(
            self.id_at_or_above, self.ood_at_or_above, lambda: self.thresholds, tpr, rule
        )

    def detection_error(self) -> float:
        """Least mean of missed ID and accepted OOD share over thresholds, in [0, 0.5]."""
        if reason := self._one_sided():
            return undefined("detection error", reason)
        return smallest_error(self.id_at_or_above, self.ood_at_or_above)

    def autc(self) -> float:
        """Area under the threshold curve, in [0, 1]; smaller is better.

        The mean of FPR and FNR over all thresholds, with OOD positive and the scores of both
        sets together scaled to [0, 1].  NaN, with a warning, where their range is infinite;
        1/2 where all scores are equal.

        References
        ----------
        Humblot-Renaux, Escalera & Moeslund, CVPR 2023.
        """
        if reason := self._one_sided():
            return undefined("AUTC", reason)
        scores = self.thresholds[1:].astype(np.float64)
        if not np.isfinite(scores[[0, -1]]).all():
            return undefined("AUTC", "infinite scores cannot be scaled to [0, 1]")
        if scores.size == 1:
            return 0.5
        if max(abs(scores[0]), abs(scores[-1])) > 1e300:
            scores *= 0.25  # so that their range is finite
        oddness = (scores[0] - scores) / (scores[0] - scores[-1])
        of_id, of_ood = (
            float((oddness * np.diff(counts)).sum()) / int(counts[-1])
            for counts in (self.id_at_or_above, self.ood_at_or_above)
        )
        return 0.5 * (of_id + 1.0 - of_ood)

    def roc(self, points: int | None = None) -> Roc:
        """ROC curve with ID positive, thinned to at most `points` evenly spread points."""
        tpr, fpr = (
            counts / max(int(counts[-1]), 1)
            for counts in (self.id_at_or_above, self.ood_at_or_above)
        )
        kept = _evenly(tpr + fpr, points)
        return Roc(fpr[kept], tpr[kept], self.thresholds[kept])

    def precision_recall(self, positive: str = "id", points: int | None = None) -> PrecisionRecall:
        """Precision and recall of one set, thinned to at most `points` evenly spread points.

        With "ood" positive the threshold is what a score may at most be.
        """
        check_choice("positive set", positive, ("id", "ood"))
        hits, misses = self.id_at_or_above, self.ood_at_or_above
        thresholds = self.thresholds
        if positive == "ood":
            hits, misses = misses[-1] - misses[::-1], hits[-1] - hits[::-1]
            thresholds = np.append(-np.inf, thresholds[:0:-1])
        recall = hits / max(int(hits[-1]), 1)
        kept = _evenly(recall + misses / max(int(misses[-1]), 1), points)
        called = hits[kept] + misses[kept]
        precision = np.divide(hits[kept], called, out=np.ones(called.size), where=called > 0)
        return PrecisionRecall(recall[kept], precision, thresholds[kept])

    def resampled(self, state: int) -> Ranking:
        """Ranking of as many scores drawn with replacement from either set on its own.

        `state`, in 0 ... 2**64 - 1, alone decides what is drawn; nothing is sorted.
        """
        groups = TieGroups(self.id_at_or_above, self.ood_at_or_above)
        return Ranking(
            *resampled(groups, state), lambda: self.thresholds[drawn_groups(groups, state)]
        )

    def _one_sided(self) -> str:
        """Why no metric of two sets is defined; empty where it is."""
        if self.n_id == 0:
            return "there are no ID scores"
        return "" if self.n_ood else "there are no OOD scores"


def _thresholds(first: Array, second: Array, groups: TieGroups) -> Array:
    """+inf and the score of each tie group.  (G + 1,)."""
    scores = scores_of(group_keys(first, second, groups))
    return np.append(scores.dtype.type(np.inf), scores)


def _evenly(progress: Array, points: int | None) -> Array:
    """At most `points` entries of an ascending (G,) array, evenly spread over its range."""
    if points is None or points >= progress.size:
        return np.arange(progress.size)
    if points < 2:
        raise InputError(f"points is {points}; a curve has at least 2")
    return np.unique(np.searchsorted(progress, np.linspace(0.0, progress[-1], points)))
