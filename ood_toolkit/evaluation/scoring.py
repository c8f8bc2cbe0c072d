"""Every method fitted, and every set scored, once: in one pass where scores allow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import Method, method_of, parameter_values
from ood_toolkit.detectors.planner import fit_method, scores_and_statistics, unmet_needs
from ood_toolkit.errors import InputError, ToolkitError
from ood_toolkit.evaluation.cache import NoCache, record_digest
from ood_toolkit.evaluation.kept_choices import choice_from_arrays, choice_to_arrays
from ood_toolkit.evaluation.records import MethodNote
from ood_toolkit.evaluation.sets import FittedOn, Reported
from ood_toolkit.evaluation.tuning import Tuned, Tuning
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, RowScorer

__all__ = ["Scored", "Scoring"]


@dataclass(slots=True)
class Scored:
    """What scoring found.

    Attributes
    ----------
    scores : dict of str to dict of str to array
        (N,) scores by method and by set; only methods that scored every set.
    skipped, failed : list of MethodNote
        The others, and why.
    timings : dict of str to dict of str to float
        Seconds by method and step.
    tuned : dict of str to Tuned
        What was chosen for each tuned method.
    held_out : dict of str to str
        Where methods that hold rows out took them from.
    correct : dict of str to array
        Whether each row is classified right, by set; only sets with logits and every label.
    """

    scores: dict[str, dict[str, Array]] = field(default_factory=dict)
    skipped: list[MethodNote] = field(default_factory=list)
    failed: list[MethodNote] = field(default_factory=list)
    timings: dict[str, dict[str, float]] = field(default_factory=dict)
    tuned: dict[str, Tuned] = field(default_factory=dict)
    held_out: dict[str, str] = field(default_factory=dict)
    correct: dict[str, Array] = field(default_factory=dict)


class Scoring:
    """Fits and scores the methods of one evaluation.

    Parameters
    ----------
    reported : Reported
    fitted_on : FittedOn
    tuning : Tuning
    cache : NoCache or Cache
    progress : callable
        Called with a label after each fit, and each scoring of a set.
    """

    def __init__(
        self,
        reported: Reported,
        fitted_on: FittedOn,
        tuning: Tuning,
        cache: NoCache,
        progress: Callable[[str], None],
    ) -> None:
        self._reported = reported
        self._sets = reported.every()
        self._fitted_on, self._tuning = fitted_on, tuning
        self._cache, self._progress = cache, progress
        self._digests: dict[tuple[int, bool], str | None] = {}
        self._found = Scored()

    def run(self, detectors: Mapping[str, Detector], *, skip_unmet: bool) -> Scored:
        """Fit and score; with `skip_unmet`, methods that cannot run are skipped, not failed."""
        found = self._found
        shared: dict[str, FittedScorer] = {}
        keys: dict[str, dict[str, str]] = {}
        for name, detector in detectors.items():
            reason = self._unmet(method_of(detector))
            if reason:
                (found.skipped if skip_unmet else found.failed).append(MethodNote(name, reason))
                continue
            found.timings[name] = {"fit": 0.0, "score": 0.0}
            try:
                chosen = self._chosen(name, detector)
                keys[name] = self._keys(chosen)
                scorer = self._fitted(name, chosen, keys[name])
                if scorer is None:
                    continue
                if issubclass(type(scorer), RowScorer):
                    shared[name] = scorer
                else:  # its memory is given back before the next fit
                    self._score_alone(name, scorer, keys[name])
            except ToolkitError as error:
                found.failed.append(MethodNote(name, str(error)))
                found.scores.pop(name, None)
        self._score_shared(shared, keys)
        order = list(detectors)
        found.failed.sort(key=lambda note: order.index(note.method))
        lost = {note.method for note in found.failed}
        found.scores = {n: found.scores[n] for n in order if n in found.scores and n not in lost}
        found.timings = {n: t for n, t in found.timings.items() if n not in lost}
        return found

    def _unmet(self, row: Method) -> str:
        for x in self._sets.values():
            reason = unmet_needs(row, x, self._fitted_on.train)
            if reason:
                return reason
        return self._tuning.unmet(row, self._fitted_on.train, self._fitted_on.validation)

    def _chosen(self, name: str, detector: Detector) -> Detector:
        """The detector, with its parameters chosen where that was asked for."""
        if self._tuning.on == "none":
            return detector
        start = time.perf_counter()
        place = self._choice_key(detector)
        kept = self._cache.get(place)
        choice = choice_from_arrays(kept) if kept is not None else None
        if choice is None:
            fitted_on = self._fitted_on
            choice = self._tuning.choose(detector, fitted_on.train, fitted_on.validation)
            assert choice is not None  # something is tuned
            if place:
                self._cache.put(place, choice_to_arrays(choice))
        self._found.tuned[name] = choice
        self._found.timings[name]["tune"] = time.perf_counter() - start
        return choice.detector

    def _choice_key(self, detector: Detector) -> str:
        """What the choice of a method's parameters is kept under."""
        if type(self._cache) is NoCache:
            return ""
        return self._cache.key(
            tuned=method_of(detector).name,
            parameters={k: repr(v) for k, v in parameter_values(detector).items()},
            on=self._tuning.on,
            train=self._digest(self._fitted_on.train, labels=True),
            validation=self._digest(self._fitted_on.validation, labels=True),
            outliers=self._digest(self._fitted_on.outliers, labels=False),
        )

    def _keys(self, detector: Detector) -> dict[str, str]:
        """What the scores of each set are kept under."""
        if type(self._cache) is NoCache:
            return dict.fromkeys(self._sets, "")
        row = method_of(detector)
        recipe: dict[str, Any] = {
            "scores": row.name,
            "parameters": {k: repr(v) for k, v in parameter_values(detector).items()},
        }
        if row.fits:
            recipe["train"] = self._digest(self._fitted_on.train, labels=True)
            recipe["validation"] = self._digest(self._fitted_on.validation, labels=True)
        return {
            key: self._cache.key(set=self._digest(x, labels=False), **recipe)
            for key, x in self._sets.items()
        }

    def _digest(self, x: Outputs | None, *, labels: bool) -> str | None:
        place = (id(x), labels)
        if place not in self._digests:
            self._digests[place] = record_digest(x, labels=labels)
        return self._digests[place]

    def _fitted(
        self, name: str, detector: Detector, keys: Mapping[str, str]
    ) -> FittedScorer | None:
        """The fitted detector; None where all its scores are known from an earlier run."""
        for key, x in self._sets.items():
            self._recall(name, key, x, keys[key])
        scorer = None
        if len(self._found.scores.get(name, {})) < len(self._sets):
            start = time.perf_counter()
            fitted_on = self._fitted_on
            scorer = fit_method(detector, fitted_on.train, fitted_on.validation)
            self._found.timings[name]["fit"] = time.perf_counter() - start
            origin = scorer.report().get("held_out_from")
            if origin:
                self._found.held_out[name] = str(origin)
        self._progress(f"fit {name}")
        return scorer

    def _recall(self, name: str, key: str, x: Outputs, place: str) -> None:
        """Take scores from the cache, if they are there and fit the set."""
        kept = self._cache.get(place)
        if kept is None or kept["scores"].shape != (len(x),):
            return
        self._found.scores.setdefault(name, {})[key] = kept["scores"]
        if "held_out_from" in kept:
            self._found.held_out[name] = str(kept["held_out_from"])
        seconds = self._found.timings[name]
        seconds["sets_from_cache"] = seconds.get("sets_from_cache", 0.0) + 1.0
        self._progress(f"score {name}")

    def _keep(self, name: str, key: str, place: str, scores: Array) -> None:
        bad = np.flatnonzero(np.isnan(scores))
        if bad.size:
            x = self._sets[key]
            raise InputError(
                f"{x.source or self._reported.label(key)}: row {bad[0]} has no score (NaN), as "
                f"{bad.size} of {len(x)} rows; leave them out, or the method"
            )
        self._found.scores.setdefault(name, {})[key] = scores
        if place:
            origin = self._found.held_out.get(name)
            extra = {} if origin is None else {"held_out_from": np.asarray(origin)}
            self._cache.put(place, {"scores": scores, **extra})

    def _score_alone(self, name: str, scorer: FittedScorer, keys: Mapping[str, str]) -> None:
        for key, x in self._sets.items():
            if key in self._found.scores.get(name, {}):
                continue
            start = time.perf_counter()
            scores = scores_and_statistics(x, {name: scorer}, ())[0][name]
            self._found.timings[name]["score"] += time.perf_counter() - start
            self._keep(name, key, keys[key], scores)
            self._progress(f"score {name}")

    def _score_shared(
        self, shared: Mapping[str, FittedScorer], keys: Mapping[str, Mapping[str, str]]
    ) -> None:
        """All methods of row statistics on each set, with its predictions, in one pass."""
        found = self._found
        for key, x in self._sets.items():
            lost = {note.method for note in found.failed}
            group = {
                name: scorer
                for name, scorer in shared.items()
                if name not in lost and key not in found.scores.get(name, {})
            }
            judged = key in self._reported.inside() and _every_label(x)
            if not group and not judged:
                continue
            start = time.perf_counter()
            if group:
                scores, rows = scores_and_statistics(x, group, (PREDICTION,) if judged else ())
            else:
                scores, rows = {}, checked_statistics(x, (PREDICTION,))
            share = (time.perf_counter() - start) / max(len(group), 1)
            if judged:
                assert x.labels is not None
                found.correct[key] = np.asarray(rows[PREDICTION] == x.labels)
            for name in group:
                found.timings[name]["score"] += share
                try:
                    self._keep(name, key, keys[name][key], scores[name])
                except InputError as error:
                    found.failed.append(MethodNote(name, str(error)))
                self._progress(f"score {name}")


def _every_label(x: Outputs) -> bool:
    """Whether right and wrong predictions can be told apart in every row."""
    return x.labels is not None and x.logits is not None and not (x.labels < 0).any()
