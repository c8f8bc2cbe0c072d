"""What an evaluation does with one method: choose its parameters, fit it, score the sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method_of, parameter_values
from ood_toolkit.detectors.planner import fit_method, scores_and_statistics
from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.cache import NoCache, record_digest
from ood_toolkit.evaluation.failing import why_it_failed
from ood_toolkit.evaluation.kept_choices import choice_from_arrays, choice_to_arrays
from ood_toolkit.evaluation.sets import FittedOn, Reported
from ood_toolkit.evaluation.tuning import Tuned, Tuning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector, RowScorer

__all__ = ["MethodDone", "MethodWork"]

Progress = Callable[[str], None]

_FITTED_ON = ("train", "validation", "outliers")


@dataclass(slots=True)
class MethodDone:
    """What came of one method.

    Attributes
    ----------
    name : str
    scores : dict of str to array
        (N,) scores by set.
    seconds : dict of str to float
        By step, on the clock and (`fit_cpu`, ...) of the processor, over all threads.
    tuned : Tuned or None
        What was chosen.
    held_out : str
        Where rows held out of the training set were taken from; "" where none were.
    scorer : FittedScorer or None
        Of row statistics alone, for the pass that all such methods share.
    keys : dict of str to str
        What the scores of each set are kept under.
    failure : str
        Why it has no scores; "" where it has.
    """

    name: str
    scores: dict[str, Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"fit": 0.0, "score": 0.0})
    tuned: Tuned | None = None
    held_out: str = ""
    scorer: FittedScorer | None = None
    keys: dict[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass(slots=True)
class MethodWork:
    """The records of an evaluation, and how its methods are run on them.

    Parameters
    ----------
    reported : Reported
    fitted_on : FittedOn
    tuning : Tuning
    cache : NoCache or Cache
    digests : dict of tuple to str or None
        Of records that were read already, by what they are and whether labels count.
    """

    reported: Reported
    fitted_on: FittedOn
    tuning: Tuning
    cache: NoCache
    digests: dict[tuple[str, bool], str | None] = field(default_factory=dict)

    @property
    def caching(self) -> bool:
        """Whether anything is kept between runs."""
        return type(self.cache) is not NoCache

    def know_digests(self) -> None:
        """Read every record once, where entries of a cache are found by its digest."""
        if self.caching:
            for name in _FITTED_ON:
                self._digest(name, getattr(self.fitted_on, name), labels=name != "outliers")
            for key, x in self.reported.every().items():
                self._digest(f"set {key}", x, labels=False)

    def run(self, name: str, detector: Detector, progress: Progress) -> MethodDone:
        """Tune, fit and score; whatever goes wrong is the method's failure, not the run's.

        A scorer of row statistics is not asked for scores: that is done for all of them at once.
        """
        done = MethodDone(name)
        steps = self._steps(done, detector)
        while True:
            try:
                label = next(steps, None)
            except Exception as error:  # noqa: BLE001, any library may raise any kind
                done.failure = why_it_failed(name, error)
                return done
            if label is None:
                return done
            progress(label)  # what the caller's own function raises is no failure of a method

    def _steps(self, done: MethodDone, detector: Detector) -> Iterator[str]:
        """Do all there is to do, saying what was done."""
        chosen = self._chosen(done, detector)
        done.keys = self._score_keys(chosen)
        for key, x in self.reported.every().items():
            if self._recalled(done, key, x):
                yield f"score {done.name}"
        scorer = None
        if len(done.scores) < len(self.reported.every()):
            scorer = self._fitted(done, chosen)
        yield f"fit {done.name}"
        if scorer is None:
            return
        if issubclass(type(scorer), RowScorer):
            done.scorer = scorer
        else:  # its memory is given back before the next fit
            yield from self._score(done, scorer)

    def _chosen(self, done: MethodDone, detector: Detector) -> Detector:
        """The detector, with its parameters chosen where that was asked for."""
        if self.tuning.on == "none":
            return detector
        with _timed(done, "tune"):
            place = self._choice_key(detector)
            kept = self.cache.get(place)
            choice = choice_from_arrays(kept) if kept is not None else None
            if choice is None:
                fitted_on = self.fitted_on
                choice = self.tuning.choose(detector, fitted_on.train, fitted_on.validation)
                assert choice is not None  # something is tuned
                if place:
                    self.cache.put(place, choice_to_arrays(choice))
        done.tuned = choice
        return choice.detector

    def _choice_key(self, detector: Detector) -> str:
        """What the choice of a method's parameters is kept under."""
        if not self.caching:
            return ""
        return self.cache.key(
            tuned=method_of(detector).name,
            parameters=_parameters(detector),
            on=self.tuning.on,
            outliers=self._digest("outliers", self.fitted_on.outliers, labels=False),
            **self._training(),
        )

    def _score_keys(self, detector: Detector) -> dict[str, str]:
        """What the scores of each set are kept under."""
        sets = self.reported.every()
        if not self.caching:
            return dict.fromkeys(sets, "")
        row = method_of(detector)
        recipe: dict[str, Any] = {"scores": row.name, "parameters": _parameters(detector)}
        if row.fits:
            recipe |= self._training()
        return {
            key: self.cache.key(set=self._digest(f"set {key}", x, labels=False), **recipe)
            for key, x in sets.items()
        }

    def _training(self) -> dict[str, str | None]:
        """Digests of what methods are fitted on."""
        return {
            name: self._digest(name, getattr(self.fitted_on, name), labels=True)
            for name in ("train", "validation")
        }

    def _digest(self, name: str, x: Outputs | None, *, labels: bool) -> str | None:
        place = (name, labels)
        if place not in self.digests:
            self.digests[place] = record_digest(x, labels=labels)
        return self.digests[place]

    def _recalled(self, done: MethodDone, key: str, x: Outputs) -> bool:
        """Take scores from the cache, if they are there and fit the set."""
        kept = self.cache.get(done.keys[key])
        if kept is None or kept["scores"].shape != (len(x),):
            return False
        done.scores[key] = kept["scores"]
        done.held_out = str(kept.get("held_out_from", done.held_out))
        done.seconds["sets_from_cache"] = done.seconds.get("sets_from_cache", 0.0) + 1.0
        return True

    def _fitted(self, done: MethodDone, detector: Detector) -> FittedScorer:
        """The fitted detector; of an earlier run, where it was kept."""
        place = ""
        if self.caching and method_of(detector).fits:
            place = self.cache.key(
                fitted=method_of(detector).name,
                parameters=_parameters(detector),
                **self._training(),
            )
        with _timed(done, "fit"):
            scorer = self.cache.get_scorer(place)
            if scorer is None:
                fitted_on = self.fitted_on
                scorer = fit_method(detector, fitted_on.train, fitted_on.validation)
                self.cache.put_scorer(place, scorer)
            else:
                done.seconds["fit_from_cache"] = 1.0
        done.held_out = str(scorer.report().get("held_out_from") or done.held_out)
        return scorer

    def _score(self, done: MethodDone, scorer: FittedScorer) -> Iterator[str]:
        for key, x in self.reported.every().items():
            if key not in done.scores:
                with _timed(done, "score"):
                    scores = scores_and_statistics(x, {done.name: scorer}, ())[0][done.name]
                self.keep(done, key, scores)
                yield f"score {done.name}"

    def keep(self, done: MethodDone, key: str, scores: Array) -> None:
        """Note the scores of a set, in the cache too.

        Raises
        ------
        InputError
            If a row has none.
        """
        bad = np.flatnonzero(np.isnan(scores))
        if bad.size:
            x = self.reported.every()[key]
            raise InputError(
                f"{x.source or self.reported.label(key)}: row {bad[0]} has no score (NaN), as "
                f"{bad.size} of {len(x)} rows; leave them out, or the method"
            )
        done.scores[key] = scores
        if done.keys[key]:
            extra = {"held_out_from": np.asarray(done.held_out)} if done.held_out else {}
            self.cache.put(done.keys[key], {"scores": scores, **extra})


@contextmanager
def _timed(done: MethodDone, step: str) -> Iterator[None]:
    """Add what the block takes to a step's seconds, and to the processor's."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    spent = {step: time.perf_counter() - wall, f"{step}_cpu": time.process_time() - processor}
    for name, seconds in spent.items():
        done.seconds[name] = done.seconds.get(name, 0.0) + seconds


def _parameters(detector: Detector) -> Mapping[str, str]:
    return {key: repr(value) for key, value in parameter_values(detector).items()}
