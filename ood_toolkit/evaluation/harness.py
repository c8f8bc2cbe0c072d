"""Detectors against out-of-distribution sets: fit, score once, rank once a pair."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np

from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.evaluation.cache import NoCache
from ood_toolkit.evaluation.comparison import Comparison, compare_methods
from ood_toolkit.evaluation.groups import groups_of
from ood_toolkit.evaluation.kept_scores import KeptScores
from ood_toolkit.evaluation.manifest import Input
from ood_toolkit.evaluation.method_work import MethodWork
from ood_toolkit.evaluation.pairs import PairMetrics
from ood_toolkit.evaluation.pictures import Pictures
from ood_toolkit.evaluation.records import (
    Convention,
    Evaluation,
    PairResult,
    ShiftedSet,
)
from ood_toolkit.evaluation.scoring import Scored, Scoring
from ood_toolkit.evaluation.sets import FittedOn, Reported, keep_apart
from ood_toolkit.evaluation.tuning import Tuning
from ood_toolkit.evaluation.workers import processes_for
from ood_toolkit.io.gate import available_memory, size_text
from ood_toolkit.kernels.pool import in_order
from ood_toolkit.kernels.threads import thread_count
from ood_toolkit.metrics import Ranking
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector

__all__ = ["Harness"]

Progress = Callable[[str], None]

_BYTES_A_ROW = 80
"""What ranking a method takes at once: keys, merged counts, resamples and components."""


@dataclass(slots=True)
class Harness:
    """One evaluation: what is reported on, what methods are fitted on, and how to measure.

    Parameters
    ----------
    reported : Reported
        In-distribution and out-of-distribution sets; nothing is fitted or chosen on them.
    fitted_on : FittedOn
        What methods are fitted on; none of these rows may be reported on.
    convention : Convention
        FPR rule, AUPR estimator, and whether only correctly classified rows count as ID.
    resamples : int
        Bootstrap resamples behind the intervals of AUPR; 0 for no intervals of it.
    seed : int
        Seed of the bootstrap.
    tuning : Tuning
        How hyper-parameters are chosen before methods are fitted.
    cache : NoCache or Cache
        Where scores and intervals of earlier runs are found, and those of this one kept.
    compare : bool
        Whether every pair of methods is tested for a difference.
    pictures : bool
        Whether what a report draws is collected.
    memory : int, optional
        Bytes that running and ranking several methods at once and comparing all of them may
        take; by default half of what is free.
    workers : int, optional
        Processes that fit and score methods side by side, as far as memory allows; by default
        one a processor, where there is work enough.
    keep_scores : bool
        Whether the result holds the scores of every row.
    progress : callable
        Called with a label after each step: a fit, a scoring of a set, a ranking of a method.
    """

    reported: Reported
    fitted_on: FittedOn = field(default_factory=FittedOn)
    convention: Convention = field(default_factory=Convention)
    resamples: int = 1000
    seed: int = 0
    tuning: Tuning = field(default_factory=Tuning)
    cache: NoCache = field(default_factory=NoCache)
    compare: bool = True
    pictures: bool = False
    memory: int | None = None
    workers: int | None = None
    keep_scores: bool = False
    progress: Progress = lambda label: None

    def inputs(self) -> list[Input]:
        """Every record of the run, by its part in it."""
        reported, fitted_on = self.reported, self.fitted_on
        sets: list[tuple[str, str, Outputs | None]] = [("id", "", reported.id_test)]
        sets += [("shifted", key, x) for key, x in reported.shifted.items()]
        sets += [("ood", key, x) for key, x in reported.ood.items()]
        sets += [("train", "", fitted_on.train), ("id_val", "", fitted_on.validation)]
        sets.append(("tune", "", self.tuning.outliers))
        return [Input(role, key, len(x), x.source) for role, key, x in sets if x is not None]

    def run(self, detectors: Mapping[str, Detector], *, skip_unmet: bool) -> Evaluation:
        """Evaluate detectors by name.

        With `skip_unmet`, methods whose needs the records do not meet are listed as
        skipped; without it they count as failed.

        Raises
        ------
        InputError
            If a set is empty, no row counts as in-distribution, or rows are reported on that
            methods are fitted or tuned on.
        """
        self.reported.check()
        keep_apart(self.fitted_on, self.reported)
        work = MethodWork(self.reported, self.fitted_on, self.tuning, self.cache)
        scoring = Scoring(
            work,
            self.progress,
            lambda methods: processes_for(work, methods, self._budget(), self.workers),
        )
        scored = scoring.run(detectors, skip_unmet=skip_unmet)
        correct = self._correct(scored)
        counted = self._counted(correct)
        results, pictures = self._ranked(scored, counted, correct)
        accuracies = {key: float(right.mean()) for key, right in scored.correct.items()}
        shifted = self.reported.shifted
        return Evaluation(
            "+".join([self.reported.id_name, *shifted]),
            int(counted.sum()),
            accuracies.get(""),
            self.convention,
            tuple(results),
            tuple(scored.skipped),
            tuple(scored.failed),
            scored.timings,
            version("ood_toolkit"),
            self.tuning.record({n: scored.tuned[n] for n in scored.scores if n in scored.tuned}),
            tuple(ShiftedSet(key, len(x), accuracies.get(key)) for key, x in shifted.items()),
            {name: scored.held_out[name] for name in scored.scores if name in scored.held_out},
            self._comparison(scored, counted) if self.compare else None,
            pictures=pictures.document() if pictures is not None else None,
            scores=self._kept(scored) if self.keep_scores else None,
        )

    def _kept(self, scored: Scored) -> KeptScores:
        """Scores by set, as a file of them has them."""

        def of(key: str) -> dict[str, Array]:
            return {name: scores[key] for name, scores in scored.scores.items()}

        inside = self.reported.inside()
        labels = {key: x.labels for key, x in inside.items() if x.labels is not None}
        return KeptScores(
            {key: of(key) for key in inside}, {key: of(key) for key in self.reported.ood}, labels
        )

    def _correct(self, scored: Scored) -> Array | None:
        """Whether each in-distribution row is classified right; None without labels."""
        inside = self.reported.inside()
        if any(key not in scored.correct for key in inside):
            return None
        return np.concatenate([scored.correct[key] for key in inside])

    def _counted(self, correct: Array | None) -> Array:
        """Which in-distribution rows enter the metrics."""
        if self.convention.id_subset == "all":
            return np.ones(sum(map(len, self.reported.inside().values())), dtype=bool)
        if correct is None:
            raise InputError("id_subset=correct needs logits and labels of every ID row")
        if not correct.any():
            raise InputError("id_subset=correct: no ID row is classified correctly")
        return correct

    def _id_scores(self, scores: Mapping[str, Array], counted: Array) -> Array:
        """Scores of the rows that count as in-distribution."""
        inside = [scores[key] for key in self.reported.inside()]
        return np.asarray((np.concatenate(inside) if len(inside) > 1 else inside[0])[counted])

    def _ranked(
        self, scored: Scored, counted: Array, correct: Array | None
    ) -> tuple[list[PairResult], Pictures | None]:
        """Every pair measured, methods side by side as memory allows; results in their order."""
        measure = PairMetrics(self.convention, self.resamples, self.seed, self.cache)
        open_set = correct if self.convention.id_subset == "all" else None
        names = list(scored.scores)
        pictures = None
        if self.pictures:
            pictures = Pictures(self.reported.id_test, self.reported.ood, scored.correct.get(""))

        def rank(start: int, stop: int) -> list[tuple[PairResult, Ranking | None]]:
            scores = scored.scores[names[start]]
            inside = self._id_scores(scores, counted)
            ood = {key: scores[key] for key in self.reported.ood}
            pairs = measure.of_method(names[start], inside, ood, self.reported.groups, open_set)
            return [(pair, ranking if pictures is not None else None) for pair, ranking in pairs]

        results = []
        workers = self._workers(len(counted))
        for name, pairs in zip(names, in_order(rank, len(names), 1, workers), strict=True):
            for pair, ranking in pairs:
                results.append(pair)
                if pictures is not None and ranking is not None:
                    pictures.pair(name, pair.ood, ranking)
            if pictures is not None:
                for key in ("", *self.reported.ood):
                    pictures.rows(name, key, scored.scores[name][key])
            self.progress(f"rank {name}")
        return results, pictures

    def _budget(self) -> int:
        return available_memory() // 2 if self.memory is None else self.memory

    def _workers(self, n_id: int) -> int:
        """How many methods are ranked at once."""
        rows = sum(map(len, self.reported.ood.values()))
        need = _BYTES_A_ROW * (n_id + rows)
        return max(1, min(thread_count(), self._budget() // max(need, 1)))

    def _comparison(self, scored: Scored, counted: Array) -> Comparison | None:
        """Paired tests of all methods; None for too few rows, or too little memory."""
        names = list(scored.scores)
        sizes = {key: len(x) for key, x in self.reported.ood.items()}
        n_id = int(counted.sum())
        if not names or min(n_id, *sizes.values()) < 2:
            return None
        groups = groups_of({key: self.reported.groups.get(key, "") for key in sizes})
        wanted = 8 * len(names) * (n_id * (len(groups) + 2) + 2 * max(sizes.values()))
        if wanted > self._budget():
            warnings.warn(
                f"methods are not tested against each other: it would take {size_text(wanted)} "
                f"of memory, and {size_text(self._budget())} may be used",
                ToolkitWarning,
                stacklevel=3,
            )
            return None
        return compare_methods(
            names,
            lambda name: self._id_scores(scored.scores[name], counted),
            lambda name, key: scored.scores[name][key],
            groups,
        )
