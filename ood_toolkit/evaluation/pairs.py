"""One method on one out-of-distribution set: every ranking metric from one sort."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ood_toolkit.evaluation.cache import NoCache
from ood_toolkit.evaluation.records import Convention, PairResult
from ood_toolkit.metrics import (
    Interval,
    Ranking,
    SortedScores,
    bootstrap_intervals_of,
    delong_interval,
    fpr_interval,
)
from ood_toolkit.metrics.openset import ccr_of_ranking, oscr_of_ranking
from ood_toolkit.outputs import Array

__all__ = ["CCR_FPR", "PairMetrics"]

CCR_FPR = 0.05
"""OOD share at which the correct-classification rate is reported."""


@dataclass(frozen=True, slots=True)
class PairMetrics:
    """How pairs of score sets are measured.

    Parameters
    ----------
    convention : Convention
    resamples, seed : int
        Of the bootstrap behind the intervals of AUPR; 0 resamples for none of these.
    cache : NoCache or Cache
        Where these intervals are kept.
    """

    convention: Convention
    resamples: int
    seed: int
    cache: NoCache

    def of_method(
        self,
        method: str,
        id_scores: Array,
        ood: Mapping[str, Array],
        groups: Mapping[str, str],
        correct: Array | None,
    ) -> list[tuple[PairResult, Ranking]]:
        """Measure a method on every set; its ID scores are sorted once.

        Parameters
        ----------
        method : str
        id_scores : (N,) array of float64
            Of the rows that count as in-distribution.
        ood : mapping of str to (M,) arrays of float64
        groups : mapping of str to str
        correct : (N,) array of bool, optional
            Whether each ID row is classified right, where open-set metrics are wanted.
        """
        inside = SortedScores.of(id_scores)
        right = None if correct is None else SortedScores.of(id_scores[correct])
        digest = hashlib.sha256(np.ascontiguousarray(id_scores).view(np.uint8).data)
        found = []
        outer = {key: SortedScores.of(scores) for key, scores in ood.items()}
        rankings = {key: Ranking.between(inside, outside) for key, outside in outer.items()}
        digests = {}
        for key, scores in ood.items():
            both = digest.copy()
            both.update(np.ascontiguousarray(scores).view(np.uint8).data)
            digests[key] = both.hexdigest()
        intervals_of = self._intervals(rankings, digests)
        for key, scores in ood.items():
            outside, ranking, intervals = outer[key], rankings[key], intervals_of[key]
            ccr = curve = None
            if right is not None:
                of_right = Ranking.between(right, outside)
                ccr = ccr_of_ranking(of_right, len(id_scores), CCR_FPR)
                curve = oscr_of_ranking(of_right, len(id_scores))
            c = self.convention
            pair = PairResult(
                method=method,
                ood=key,
                group=groups.get(key, ""),
                n_ood=len(scores),
                auroc=ranking.auroc(),
                auroc_ci=delong_interval(ranking),
                fpr=ranking.fpr_at_tpr(c.fpr_at_tpr, rule=c.fpr_rule),
                fpr_ci=intervals.get("fpr"),
                aupr_in=ranking.aupr_in(c.aupr),
                aupr_out=ranking.aupr_out(c.aupr),
                detection_error=ranking.detection_error(),
                autc=ranking.autc(),
                ccr_at_fpr=ccr,
                oscr=curve,
                aupr_in_ci=intervals.get("aupr_in"),
                aupr_out_ci=intervals.get("aupr_out"),
            )
            found.append((pair, ranking))
        return found

    def _intervals(
        self, rankings: Mapping[str, Ranking], digests: Mapping[str, str]
    ) -> dict[str, Mapping[str, Interval]]:
        """Intervals by set; of the same scores and choices they are taken from the cache.

        The others are made together, because sets of one size share their resamples.
        """
        c = self.convention
        if not self.resamples:
            # that of the FPR takes no resamples, and a millisecond
            return {
                key: {"fpr": fpr_interval(ranking, tpr=c.fpr_at_tpr, rule=c.fpr_rule)}
                for key, ranking in rankings.items()
            }
        found: dict[str, Mapping[str, Interval]] = {}
        names = {
            key: self.cache.key(
                intervals=digests[key],
                sizes=[ranking.n_id, ranking.n_ood],
                resamples=self.resamples,
                seed=self.seed,
                tpr=c.fpr_at_tpr,
                rule=c.fpr_rule,
                aupr=c.aupr,
            )
            for key, ranking in rankings.items()
        }
        for key, name in names.items():
            kept = self.cache.get(name)
            if kept is not None:
                found[key] = {metric: Interval(*map(float, ends)) for metric, ends in kept.items()}
        missing = [key for key in rankings if key not in found]
        made = bootstrap_intervals_of(
            [rankings[key] for key in missing],
            self.resamples,
            self.seed,
            tpr=c.fpr_at_tpr,
            rule=c.fpr_rule,
            estimator=c.aupr,
            wanted=("fpr", "aupr_in", "aupr_out"),
        )
        for key, intervals in zip(missing, made, strict=True):
            found[key] = intervals
            if names[key]:
                ends = {metric: np.asarray(interval) for metric, interval in intervals.items()}
                self.cache.put(names[key], ends)
        return found
