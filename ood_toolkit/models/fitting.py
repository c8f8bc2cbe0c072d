"""Scorers, records and guards from the several things that a caller may give."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import make_calibrator
from ood_toolkit.decision import Rule, Threshold, rule_from
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of
from ood_toolkit.detectors.persistence import read_scorer
from ood_toolkit.detectors.planner import fit_method
from ood_toolkit.errors import InputError
from ood_toolkit.models.guard import Guard
from ood_toolkit.models.network import Network
from ood_toolkit.outputs import Outputs
from ood_toolkit.protocols import Calibrator, Detector

__all__ = ["as_record", "as_scorer", "made_guard"]


def as_record(data: Any, outputs: Callable[[Any], Outputs]) -> Outputs:
    """Outputs as they are; anything else is run through the model."""
    return data if isinstance(data, Outputs) else outputs(data)


def as_scorer(scorer: str | Detector | FittedScorer) -> FittedScorer:
    """A fitted scorer, or that of a method that learns nothing.

    Raises
    ------
    InputError
        If the method has to be fitted first.
    """
    if isinstance(scorer, FittedScorer):
        return scorer
    detector = make_detector(scorer) if isinstance(scorer, str) else scorer
    row = method_of(detector)
    if row.fits:
        raise InputError(
            f"{row.name} must be fitted first: pass {row.detector.__name__}().fit(...)"
        )
    return fit_method(detector)


def made_guard(
    network: Network,
    method: str | os.PathLike[str] | Detector | FittedScorer,
    train: Outputs | None,
    id_val: Outputs | None,
    rule: Rule | None,
    tpr: float,
    delta: float | None,
    calibrator: str | Calibrator | FittedCalibrator | None,
) -> Guard:
    """Fit what is not fitted, set the threshold, and put it all together."""
    if isinstance(method, os.PathLike) or (
        isinstance(method, str) and method.endswith(".safetensors")
    ):
        scorer, stored = _from_file(os.fspath(method))
        if rule is None and id_val is None:
            rule = stored
    elif isinstance(method, FittedScorer):
        scorer = method
    else:
        detector = make_detector(method) if isinstance(method, str) else method
        scorer = fit_method(detector, train, id_val)
    if isinstance(calibrator, str):
        calibrator = make_calibrator(calibrator)
    if calibrator is not None and not isinstance(calibrator, FittedCalibrator):
        if id_val is None:
            raise InputError(f"{type(calibrator).__name__} is fitted on id_val; pass labelled rows")
        calibrator = cast(FittedCalibrator, calibrator.fit(id_val))
    if rule is None:
        if id_val is None:
            raise InputError(
                "a guard needs id_val, held-out rows that set its threshold, or a rule: rule=, or "
                "a detector file that `ood-toolkit threshold` has put one into"
            )
        scores = scorer.score(id_val)
        rule = (
            Threshold.at_tpr(scores, tpr)
            if delta is None
            else Threshold.guaranteed(scores, tpr, delta)
        )
    return Guard(network, scorer, rule, calibrator)


def _from_file(path: str) -> tuple[FittedScorer, Rule | None]:
    """The scorer of a detector file, and the rule that is stored beside it."""
    saved = read_scorer(path)
    if saved.threshold is None:
        return saved.scorer, None
    return saved.scorer, rule_from(saved.threshold, saved.id_scores, saved.id_predictions)
