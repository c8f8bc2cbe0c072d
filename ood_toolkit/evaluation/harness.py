"""Detectors against out-of-distribution sets: fit, score once, rank once a pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method_of
from ood_toolkit.detectors.planner import fit_method, score_together, unmet_needs
from ood_toolkit.errors import InputError, ToolkitError
from ood_toolkit.evaluation.leakage import refuse_shared_rows
from ood_toolkit.evaluation.records import Convention, Evaluation, MethodNote, PairResult
from ood_toolkit.evaluation.tuning import Tuned, Tuning
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.metrics import Ranking, bootstrap_intervals, ccr_at_fpr, delong_interval, oscr
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, RowScorer

__all__ = ["Harness", "split_group"]

CCR_FPR = 0.05
"""OOD share at which the correct-classification rate is reported."""

Progress = Callable[[str], None]


@dataclass(slots=True)
class Harness:
    """One evaluation: in-distribution and out-of-distribution sets, and how to measure.

    Parameters
    ----------
    id_test : Outputs
        In-distribution test rows.
    ood : mapping of str to Outputs
        Out-of-distribution sets.
    groups : mapping of str to str
        Group of each set: "near", "far", "synthetic", any other word, or "".
    train, validation : Outputs, optional
        What methods are fitted on.
    convention : Convention
        FPR rule, AUPR estimator, and whether only correctly classified rows count as ID.
    resamples : int
        Bootstrap resamples behind the interval of FPR; 0 for no intervals of it.
    seed : int
        Seed of the bootstrap.
    tuning : Tuning
        How hyper-parameters are chosen before methods are fitted.
    """

    id_test: Outputs
    ood: Mapping[str, Outputs]
    groups: Mapping[str, str]
    train: Outputs | None = None
    validation: Outputs | None = None
    convention: Convention = field(default_factory=Convention)
    resamples: int = 1000
    seed: int = 0
    id_name: str = "id"
    progress: Progress = lambda label: None
    tuning: Tuning = field(default_factory=Tuning)

    def run(self, detectors: Mapping[str, Detector], *, skip_unmet: bool) -> Evaluation:
        """Evaluate detectors by name.

        With `skip_unmet`, methods whose needs the records do not meet are listed as
        skipped; without it they count as failed.

        Raises
        ------
        InputError
            If a set is empty, or no row counts as in-distribution.
        """
        self._check_sets()
        correct = self._correct()
        counted = self._counted(correct)
        skipped: list[MethodNote] = []
        failed: list[MethodNote] = []
        scorers: dict[str, FittedScorer] = {}
        timings: dict[str, dict[str, float]] = {}
        tuned: dict[str, Tuned] = {}
        for name, detector in detectors.items():
            reason = self._unmet(detector)
            if reason:
                (skipped if skip_unmet else failed).append(MethodNote(name, reason))
                continue
            timings[name] = {"fit": 0.0, "score": 0.0}
            try:
                scorers[name] = self._fit(name, detector, tuned, timings[name])
            except ToolkitError as error:
                failed.append(MethodNote(name, str(error)))
            self.progress(f"fit {name}")
        sets = {"": self.id_test, **self.ood}
        scores = {key: self._score(x, scorers, timings, failed) for key, x in sets.items()}
        for note in failed:
            timings.pop(note.method, None)
        done = [name for name in scorers if all(name in s for s in scores.values())]
        results = []
        for name in done:
            for key in self.ood:
                results.append(
                    self._pair(name, key, scores[""][name][counted], scores[key][name], correct)
                )
            self.progress(f"rank {name}")
        return Evaluation(
            self.id_name,
            int(counted.sum()),
            float(correct.mean()) if correct is not None else None,
            self.convention,
            tuple(results),
            tuple(skipped),
            tuple(failed),
            timings,
            version("ood_toolkit"),
            self.tuning.record({name: tuned[name] for name in done if name in tuned}),
        )

    def _fit(
        self, name: str, detector: Detector, tuned: dict[str, Tuned], seconds: dict[str, float]
    ) -> FittedScorer:
        """The fitted detector, with its parameters chosen first where that was asked for."""
        start = time.perf_counter()
        choice = self.tuning.choose(detector, self.train, self.validation)
        if choice is not None:
            tuned[name], detector = choice, choice.detector
            seconds["tune"] = time.perf_counter() - start
            start = time.perf_counter()
        scorer = fit_method(detector, self.train, self.validation)
        seconds["fit"] = time.perf_counter() - start
        return scorer

    def _check_sets(self) -> None:
        if not self.ood:
            raise InputError("an evaluation needs at least one out-of-distribution set")
        for name, x in {self.id_name: self.id_test, **self.ood}.items():
            if len(x) == 0:
                raise InputError(f"{x.source or name}: has no rows")
            if x.logits is not None and x.classes != (self.id_test.classes or x.classes):
                raise InputError(
                    f"{x.source or name}: {x.classes} classes, but the in-distribution rows have "
                    f"{self.id_test.classes}; both must come from one classifier"
                )
        if self.tuning.on == "none":
            return
        chosen_on = {"the training rows": self.train} if self.validation is None else {}
        chosen_on |= {"the held-out rows": self.validation}
        chosen_on |= {"the validation outliers": self.tuning.outliers}
        given = {purpose: x for purpose, x in chosen_on.items() if x is not None}
        refuse_shared_rows(given, {self.id_name: self.id_test, **self.ood})

    def _unmet(self, detector: Detector) -> str:
        row = method_of(detector)
        for x in (self.id_test, *self.ood.values()):
            reason = unmet_needs(row, x, self.train)
            if reason:
                return reason
        return self.tuning.unmet(row, self.train, self.validation)

    def _correct(self) -> Array | None:
        """Whether each in-distribution row is classified right; None without labels."""
        if self.id_test.labels is None or self.id_test.logits is None:
            return None
        if (self.id_test.labels < 0).any():
            return None
        rows = checked_statistics(self.id_test, (PREDICTION,))
        return np.asarray(rows[PREDICTION] == self.id_test.labels)

    def _counted(self, correct: Array | None) -> Array:
        """Which in-distribution rows enter the metrics."""
        if self.convention.id_subset == "all":
            return np.ones(len(self.id_test), dtype=bool)
        if correct is None:
            raise InputError("id_subset=correct needs logits and labels of every ID row")
        if not correct.any():
            raise InputError("id_subset=correct: no ID row is classified correctly")
        return correct

    def _score(
        self,
        x: Outputs,
        scorers: Mapping[str, FittedScorer],
        timings: Mapping[str, dict[str, float]],
        failed: list[MethodNote],
    ) -> dict[str, Array]:
        """Scores of one set; a scorer that fails is noted and left out from then on."""
        lost = {note.method for note in failed}
        by_rows = {n: s for n, s in scorers.items() if isinstance(s, RowScorer) and n not in lost}
        alone = {n: s for n, s in scorers.items() if n not in by_rows and n not in lost}
        scores: dict[str, Array] = {}
        for group in ([by_rows] if by_rows else []) + [{n: s} for n, s in alone.items()]:
            start = time.perf_counter()
            try:
                scores |= score_together(x, group)
            except ToolkitError as error:
                if len(group) > 1 or not alone:
                    raise  # the logits themselves cannot be read: no method could
                failed.extend(MethodNote(name, str(error)) for name in group)
            share = (time.perf_counter() - start) / len(group)
            for name in group:
                timings[name]["score"] += share
                self.progress(f"score {name}")
        return scores

    def _pair(
        self, method: str, key: str, id_scores: Array, ood_scores: Array, correct: Array | None
    ) -> PairResult:
        c = self.convention
        ranking = Ranking.of(id_scores, ood_scores)
        fpr_ci = None
        if self.resamples:
            fpr_ci = bootstrap_intervals(
                ranking, self.resamples, self.seed, tpr=c.fpr_at_tpr, rule=c.fpr_rule
            )["fpr"]
        ccr = curve = None
        if correct is not None and c.id_subset == "all":
            ccr = ccr_at_fpr(id_scores, correct, ood_scores, fpr=CCR_FPR)
            curve = oscr(id_scores, correct, ood_scores)
        return PairResult(
            method,
            key,
            self.groups.get(key, ""),
            len(ood_scores),
            ranking.auroc(),
            delong_interval(ranking),
            ranking.fpr_at_tpr(c.fpr_at_tpr, rule=c.fpr_rule),
            fpr_ci,
            ranking.aupr_in(c.aupr),
            ranking.aupr_out(c.aupr),
            ranking.detection_error(),
            ranking.autc(),
            ccr,
            curve,
        )


def split_group(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Read `GROUP/NAME` keys: short name and group of each, by the key as given."""
    short = {name: name.rsplit("/", 1)[-1] for name in names}
    if len(set(short.values())) < len(short):
        short = {name: name for name in names}
    return short, {name: name.rsplit("/", 1)[0] if "/" in name else "" for name in names}
