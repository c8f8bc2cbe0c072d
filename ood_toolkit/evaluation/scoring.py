"""Every method fitted, and every set scored, once: in one pass where scores allow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ood_toolkit.chunks import checked_statistics
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import Method, method_of
from ood_toolkit.detectors.planner import scores_and_statistics, unmet_needs
from ood_toolkit.errors import ToolkitError
from ood_toolkit.evaluation.failing import why_it_failed
from ood_toolkit.evaluation.method_work import MethodDone, MethodWork
from ood_toolkit.evaluation.records import MethodNote
from ood_toolkit.evaluation.tuning import Tuned
from ood_toolkit.evaluation.workers import can_be_sent, side_by_side
from ood_toolkit.kernels.statistics import PREDICTION, RowStatistics, Statistic
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Detector

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
    work : MethodWork
        The records, and what is done with one method.
    progress : callable
        Called with a label after each fit, and each scoring of a set.
    processes : callable
        How many methods may be run side by side, of so many that could be.
    """

    def __init__(
        self,
        work: MethodWork,
        progress: Callable[[str], None],
        processes: Callable[[int], int] = lambda methods: 1,
    ) -> None:
        self._work, self._progress, self._processes = work, progress, processes
        self._sets = work.reported.every()
        self._found = Scored()

    def run(self, detectors: Mapping[str, Detector], *, skip_unmet: bool) -> Scored:
        """Fit and score; with `skip_unmet`, methods that cannot run are skipped, not failed."""
        found = self._found
        ready: dict[str, Detector] = {}
        for name, detector in detectors.items():
            reason = self._unmet(method_of(detector))
            if reason:
                (found.skipped if skip_unmet else found.failed).append(MethodNote(name, reason))
            else:
                ready[name] = detector
        shared = {}
        for done in self._each(ready):
            self._take(done)
            if done.scorer is not None:
                shared[done.name] = done
        self._score_shared(shared)
        order = list(detectors)
        found.failed.sort(key=lambda note: order.index(note.method))
        lost = {note.method for note in found.failed}
        found.scores = {n: found.scores[n] for n in order if n in found.scores and n not in lost}
        found.timings = {n: t for n, t in found.timings.items() if n not in lost}
        return found

    def _each(self, ready: Mapping[str, Detector]) -> Iterator[MethodDone]:
        """What came of each method, in their order."""
        sent = {n: d for n, d in ready.items() if can_be_sent(d, tuned=self._work.tuning.on)}
        processes = self._processes(len(sent))
        if processes > 1:
            yield from side_by_side(self._work, ready, set(sent), processes, self._progress)
        else:
            for name, detector in ready.items():
                yield self._work.run(name, detector, self._progress)

    def _take(self, done: MethodDone) -> None:
        found = self._found
        found.timings[done.name] = done.seconds
        if done.tuned is not None:
            found.tuned[done.name] = done.tuned
        if done.held_out:
            found.held_out[done.name] = done.held_out
        if done.failure:
            found.failed.append(MethodNote(done.name, done.failure))
        elif done.scores:
            found.scores[done.name] = done.scores

    def _unmet(self, row: Method) -> str:
        fitted_on = self._work.fitted_on
        for i, (key, x) in enumerate(self._sets.items()):
            # which file, where it is not the first, from which one sees it
            named = (x.source or key) if i else ""
            if reason := unmet_needs(row, x, fitted_on.train, named=named):
                return reason
        return self._work.tuning.unmet(row, fitted_on.train, fitted_on.validation)

    def _score_shared(self, shared: Mapping[str, MethodDone]) -> None:
        """All methods of row statistics on each set, with its predictions, in one pass."""
        found = self._found
        lost: set[str] = set()
        for key, x in self._sets.items():
            group = {
                name: done.scorer
                for name, done in shared.items()
                if done.scorer is not None and name not in lost and key not in done.scores
            }
            judged = key in self._work.reported.inside() and _every_label(x)
            if not group and not judged:
                continue
            start, processor = time.perf_counter(), time.process_time()
            if group:
                scores, rows = self._together(x, group, (PREDICTION,) if judged else ())
            else:
                scores, rows = {}, checked_statistics(x, (PREDICTION,))
            lost |= group.keys() - scores.keys()
            share = (time.perf_counter() - start) / max(len(group), 1)
            cpu = (time.process_time() - processor) / max(len(group), 1)
            if judged:
                assert x.labels is not None
                found.correct[key] = np.asarray(rows[PREDICTION] == x.labels)
            for name in scores:
                seconds = found.timings[name]
                seconds["score"] += share
                seconds["score_cpu"] = seconds.get("score_cpu", 0.0) + cpu
                try:
                    self._work.keep(shared[name], key, scores[name])
                    found.scores[name] = shared[name].scores
                except Exception as error:  # noqa: BLE001, any library may raise any kind
                    lost.add(name)
                    found.failed.append(MethodNote(name, why_it_failed(name, error)))
                self._progress(f"score {name}")

    def _together(
        self, x: Outputs, group: Mapping[str, FittedScorer], wanted: tuple[Statistic, ...]
    ) -> tuple[dict[str, Array], RowStatistics]:
        """One pass for all; where that ends in no error of the toolkit's, one for each method."""
        try:
            return scores_and_statistics(x, group, wanted)
        except ToolkitError:
            raise
        except Exception:  # noqa: BLE001, the method at fault raises it again below
            scores: dict[str, Array] = {}
            for name, scorer in group.items():
                try:
                    scores |= scores_and_statistics(x, {name: scorer}, ())[0]
                except Exception as error:  # noqa: BLE001, any library may raise any kind
                    self._found.failed.append(MethodNote(name, why_it_failed(name, error)))
            return scores, scores_and_statistics(x, {}, wanted)[1]


def _every_label(x: Outputs) -> bool:
    """Whether right and wrong predictions can be told apart in every row."""
    return x.labels is not None and x.logits is not None and not (x.labels < 0).any()
