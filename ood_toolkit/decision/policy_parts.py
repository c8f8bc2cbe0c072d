"""Writing the fitted parts of a policy to a file; `policy_file` reads them back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import (
    CALIBRATOR_KINDS,
    make_calibrator,
    method_of_calibrator,
    values_of,
)
from ood_toolkit.decision.verdict import Rule
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of, parameter_values
from ood_toolkit.detectors.saving import scorer_types
from ood_toolkit.errors import InputError, UnknownName
from ood_toolkit.io.fitted import FittedKind, write_fitted
from ood_toolkit.protocols import Scorer, Transform

__all__ = [
    "POLICY_FILE",
    "PolicyParts",
    "describe_fitted",
    "fitted_types",
    "make_fitted",
    "write_policy",
]

_OF_CALIBRATORS = "calibrator "


@dataclass(frozen=True)
class PolicyParts:
    """What is fitted of a policy."""

    scorers: tuple[FittedScorer, ...]
    calibrator: FittedCalibrator | None


def describe_fitted(value: Any) -> tuple[str, Mapping[str, Any]]:
    """Name and hyper-parameters of a detector or a calibrator, told apart by the name."""
    try:
        return method_of(value).name, parameter_values(value)
    except UnknownName:
        name = method_of_calibrator(value).name
        return f"{_OF_CALIBRATORS}{name}", values_of(value)


def make_fitted(name: str, parameters: Mapping[str, Any]) -> Any:
    """The detector or calibrator that `describe_fitted` described."""
    if name.startswith(_OF_CALIBRATORS):
        return make_calibrator(name.removeprefix(_OF_CALIBRATORS), dict(parameters))
    return make_detector(name, parameters)


def fitted_types() -> dict[str, type]:
    """Every class of fitted detectors and calibrators, by name; loads all detectors."""
    return {**scorer_types(), **CALIBRATOR_KINDS}


POLICY_FILE = FittedKind(
    noun="policy",
    root="policy",
    made_by="ood-toolkit policy",
    types=lambda: {**fitted_types(), "PolicyParts": PolicyParts},
    describe=describe_fitted,
    make=make_fitted,
)
"""What policy files hold and how messages name them."""


def write_policy(
    path: str | os.PathLike[str],
    checks: Sequence[tuple[Scorer, Rule]],
    calibrator: Transform | None,
    confidence: float,
) -> None:
    """Write a policy's parts, replacing the file at once or not at all.

    Parameters
    ----------
    path : path-like
        Must end in `.safetensors`.
    checks : sequence of (scorer, rule)
        Detectors of the toolkit, each with what it accepts.
    calibrator : Transform or None
        A fitted calibrator of the toolkit.
    confidence : float
        Below it rows are deferred.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    InputError
        If a scorer or the calibrator is none of the toolkit's.
    """
    scorers = tuple(_own(scorer, FittedScorer) for scorer, _ in checks)
    own = None if calibrator is None else _own(calibrator, FittedCalibrator)
    arrays = {
        f"rule.{i}.{key}": np.asarray(array)
        for i, (_, rule) in enumerate(checks)
        for key, array in rule.arrays().items()
    }
    facts = {
        "method": "policy",
        "confidence": confidence,
        "rules": [rule.facts() for _, rule in checks],
    }
    write_fitted(path, PolicyParts(scorers, own), POLICY_FILE, facts, arrays)


def _own(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{type(value).__name__} cannot be saved, it is none of the toolkit's")
    return value
