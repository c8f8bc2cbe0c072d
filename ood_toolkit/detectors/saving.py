"""Writing fitted scorers to `.safetensors` files; `persistence` reads them back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ood_toolkit.detectors.catalogue import (
    SCORER_KINDS,
    make_detector,
    method_of,
    parameter_values,
    registered,
)
from ood_toolkit.io.fitted import FittedKind, fitted_digest, write_fitted
from ood_toolkit.outputs import Array
from ood_toolkit.shaping import ClippedFeatures, Prune, SparseHead

__all__ = ["DETECTOR_FILE", "Fitted", "save_scorer", "scorer_facts", "scorer_types"]


class Fitted(Protocol):
    """What a file says of a fitted scorer, beside its arrays."""

    @property
    def name(self) -> str:
        """The method's name."""

    @property
    def detector(self) -> Any:
        """The hyper-parameters it was fitted with."""

    @property
    def classes(self) -> int:
        """Classes it was fitted on; 0 where any number will do."""

    @property
    def dims(self) -> int:
        """Feature columns it was fitted on; 0 where any number will do."""


def scorer_types() -> dict[str, type]:
    """Every class that a detector file may hold, by name; loads all detectors."""
    registered()
    return {**SCORER_KINDS, **_transforms()}


def _transforms() -> dict[str, type]:
    from ood_toolkit.detectors.sdm.adaptor import ExemplarAdaptor

    transforms = (ClippedFeatures, ExemplarAdaptor, Prune, SparseHead)
    return {kind.__name__: kind for kind in transforms}


DETECTOR_FILE = FittedKind(
    noun="detector",
    root="scorer",
    made_by="ood-toolkit fit",
    types=scorer_types,
    describe=lambda detector: (method_of(detector).name, parameter_values(detector)),
    make=make_detector,
)
"""What detector files hold and how messages name them."""


def save_scorer(
    scorer: Fitted,
    path: str | os.PathLike[str],
    *,
    fitted_on: Mapping[str, Any] | None = None,
    threshold: Mapping[str, Any] | None = None,
    id_scores: Array | None = None,
    id_predictions: Array | None = None,
) -> None:
    """Write a fitted scorer, replacing the file at once or not at all.

    Parameters
    ----------
    scorer : FittedScorer
        What to save.
    path : path-like
        Must end in `.safetensors`.
    fitted_on : mapping, optional
        JSON-ready facts about the training data.
    threshold : mapping, optional
        JSON-ready: the rule that says what is accepted.
    id_scores : (N,) array of float64, optional
        In-distribution scores that the threshold was set on.
    id_predictions : (N,) array of int, optional
        Class predicted for each of those rows, where thresholds are by class.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    arrays: dict[str, Array] = {}
    if id_scores is not None:
        scores = np.asarray(id_scores, dtype=np.float64)
        order = np.argsort(scores, kind="stable")
        arrays["id_scores"] = scores[order]
        if id_predictions is not None:
            arrays["id_predictions"] = np.asarray(id_predictions, dtype=np.int64)[order]
    metadata = {
        "method": scorer.name,
        "parameters": parameter_values(scorer.detector),
        "classes": scorer.classes,
        "dims": scorer.dims,
        "threshold": dict(threshold) if threshold is not None else None,
        "fitted_on": dict(fitted_on or {}),
        "threshold_of": scorer.name if threshold is not None else "",
    }
    write_fitted(path, scorer, DETECTOR_FILE, metadata, arrays)


def scorer_facts(scorer: Fitted) -> dict[str, Any]:
    """What a fitted scorer is, JSON-ready: its method, parameters, and a checksum of all of it."""
    tensors: dict[str, Array] = {}
    loaded = replace(DETECTOR_FILE, types=lambda: {**SCORER_KINDS, **_transforms()})
    tree = json.dumps(loaded.encode(scorer, "scorer", tensors), sort_keys=True)
    return {
        "method": scorer.name,
        "parameters": dict(parameter_values(scorer.detector)),
        "sha256": fitted_digest({"scorer": tree}, tensors),
    }
