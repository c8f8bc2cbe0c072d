"""Policy files read back: detectors, calibrator and thresholds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ood_toolkit.decision.policy import Policy
from ood_toolkit.decision.policy_parts import POLICY_FILE, PolicyParts
from ood_toolkit.decision.rules import rule_from
from ood_toolkit.decision.verdict import Rule
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import read_fitted, refusing_damage
from ood_toolkit.outputs import Array

__all__ = ["load_policy"]


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a saved policy; it makes the same decisions as the one that was saved.

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
    stored = read_fitted(name, POLICY_FILE)
    with refusing_damage(name, POLICY_FILE):
        parts = stored.fitted
        if not isinstance(parts, PolicyParts):
            raise DataError(name, "policy", "is not a policy")
        facts = json.loads(stored.text["rules"])
        rules = [_rule(name, i, fact, stored.tensors) for i, fact in enumerate(facts)]
        (scorer, rule), *others = zip(parts.scorers, rules, strict=True)
        confidence = float(json.loads(stored.text["confidence"]))
        return Policy(scorer, rule, parts.calibrator, confidence, tuple(others))


def _rule(name: str, i: int, facts: Mapping[str, Any], tensors: Mapping[str, Array]) -> Rule:
    id_scores = tensors[f"rule.{i}.id_scores"]
    if facts["rows"] != id_scores.size or np.isnan(id_scores).any():
        raise DataError(name, f"rule.{i}", "its scores are not those the threshold was set on")
    return rule_from(facts, id_scores, tensors.get(f"rule.{i}.id_predictions"))
