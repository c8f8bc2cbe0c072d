"""Writing what is fitted of a guard to a file; `guard_file` reads it back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.decision.policy_parts import describe_fitted, fitted_types, make_fitted
from ood_toolkit.decision.verdict import Rule
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.io.fitted import FittedKind, write_fitted
from ood_toolkit.models.network import Network
from ood_toolkit.models.torch_library import model_digest

__all__ = ["GUARD_FILE", "GuardParts", "write_guard"]


@dataclass(frozen=True)
class GuardParts:
    """What is fitted of a guard."""

    scorer: FittedScorer
    calibrator: FittedCalibrator | None


GUARD_FILE = FittedKind(
    noun="guard",
    root="guard",
    made_by="WrappedClassifier.guard",
    types=lambda: {**fitted_types(), "GuardParts": GuardParts},
    describe=describe_fitted,
    make=make_fitted,
)
"""What guard files hold and how messages name them."""


def write_guard(
    path: str | os.PathLike[str], network: Network, parts: GuardParts, rule: Rule
) -> None:
    """Write everything but the model, replacing the file at once or not at all.

    Parameters
    ----------
    path : path-like
        Must end in `.safetensors`.
    network : Network
        Whose weights and places the file names.
    parts : GuardParts
        What is fitted.
    rule : Rule
        Which rows are accepted.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    facts = {
        "threshold": rule.facts(),
        "model": model_digest(network.inner),
        "head": network.head_name,
        "features": network.features_from,
        "layers": list(network.layers),
        "by_function": network.features_fn is not None,
    }
    arrays = {key: np.asarray(array) for key, array in rule.arrays().items()}
    text = {key: json.dumps(value) for key, value in facts.items()}
    write_fitted(path, parts, GUARD_FILE, {"method": parts.scorer.name, **text}, arrays)
