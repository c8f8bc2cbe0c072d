"""Scorers, records and guards from the several things that a caller may give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import make_calibrator
from ood_toolkit.decision import Threshold
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of
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
    method: str | Detector | FittedScorer,
    train: Outputs | None,
    id_val: Outputs,
    tpr: float,
    delta: float | None,
    calibrator: str | Calibrator | FittedCalibrator | None,
) -> Guard:
    """Fit what is not fitted, set the threshold, and put it all together."""
    if isinstance(method, FittedScorer):
        scorer = method
    else:
        detector = make_detector(method) if isinstance(method, str) else method
        scorer = fit_method(detector, train, id_val)
    scores = scorer.score(id_val)
    threshold = (
        Threshold.at_tpr(scores, tpr) if delta is None else Threshold.guaranteed(scores, tpr, delta)
    )
    if isinstance(calibrator, str):
        calibrator = make_calibrator(calibrator)
    if calibrator is not None and not isinstance(calibrator, FittedCalibrator):
        calibrator = cast(FittedCalibrator, calibrator.fit(id_val))
    return Guard(network, scorer, threshold, calibrator)
