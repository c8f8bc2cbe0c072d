"""A policy as one `.safetensors` file: detectors, calibrator and thresholds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.registry import make_calibrator, method_of_calibrator, values_of
from ood_toolkit.decision.policy import Policy
from ood_toolkit.decision.rules import rule_from
from ood_toolkit.decision.verdict import Rule
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of, parameter_values
from ood_toolkit.detectors.persistence import scorer_types
from ood_toolkit.errors import DataError, InputError, UnknownName
from ood_toolkit.io.fitted import FittedKind, read_fitted, refusing_damage, write_fitted
from ood_toolkit.outputs import Array

__all__ = ["describe_fitted", "load_policy", "make_fitted", "save_policy"]

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


_POLICY = FittedKind(
    noun="policy",
    root="policy",
    made_by="ood-toolkit policy",
    types=lambda: {**scorer_types(), **FittedCalibrator.kinds, "PolicyParts": PolicyParts},
    describe=describe_fitted,
    make=make_fitted,
)


def save_policy(policy: Policy, path: str | os.PathLike[str]) -> None:
    """Write a policy, replacing the file at once or not at all.

    Parameters
    ----------
    policy : Policy
        Of fitted detectors and a fitted calibrator of the toolkit.
    path : path-like
        Must end in `.safetensors`.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    InputError
        If a scorer or the calibrator is none of the toolkit's.
    """
    scorers = tuple(_own(s, FittedScorer) for s in policy.scorers.values())
    calibrator = policy.calibrator
    if calibrator is not None:
        calibrator = _own(calibrator, FittedCalibrator)
    rules = list(policy.rules.values())
    arrays = {
        f"rule.{i}.{key}": np.asarray(array)
        for i, rule in enumerate(rules)
        for key, array in rule.arrays().items()
    }
    facts = {
        "method": "policy",
        "confidence": policy.confidence,
        "rules": [rule.facts() for rule in rules],
    }
    write_fitted(path, PolicyParts(scorers, calibrator), _POLICY, facts, arrays)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy back; it decides as the one that was saved.

    Parameters
    ----------
    path : path-like
        As `Policy.save` and `ood-toolkit policy` write it.

    Returns
    -------
    Policy
        Ready to decide.

    Raises
    ------
    DataError
        If the file is no policy, of a later format, or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> import ood_toolkit as ood
    >>> digits = ood.load_benchmark("digits")
    >>> scorer = ood.Energy().fit()
    >>> policy = ood.Policy(scorer, ood.Threshold.at_tpr(scorer.score(digits.id_val)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "policy.safetensors")
    ...     policy.save(path)
    ...     load_policy(path).threshold.value == policy.threshold.value
    True
    """
    name = os.fspath(path)
    stored = read_fitted(name, _POLICY)
    with refusing_damage(name, _POLICY):
        parts = stored.fitted
        if not isinstance(parts, PolicyParts):
            raise DataError(name, "policy", "is not a policy")
        facts = json.loads(stored.text["rules"])
        rules = [_rule(name, i, fact, stored.tensors) for i, fact in enumerate(facts)]
        (scorer, rule), *others = zip(parts.scorers, rules, strict=True)
        confidence = float(json.loads(stored.text["confidence"]))
        return Policy(scorer, rule, parts.calibrator, confidence, tuple(others))


def _own(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{type(value).__name__} cannot be saved, it is none of the toolkit's")
    return value


def _rule(name: str, i: int, facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> Rule:
    id_scores = tensors[f"rule.{i}.id_scores"]
    if facts["rows"] != id_scores.size or np.isnan(id_scores).any():
        raise DataError(name, f"rule.{i}", "its scores are not those the threshold was set on")
    return rule_from(facts, id_scores, tensors.get(f"rule.{i}.id_predictions"))
