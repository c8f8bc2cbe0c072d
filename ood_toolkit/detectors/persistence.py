"""Fitted scorers as `.safetensors` files, with their threshold and where they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import make_detector, method_of, parameter_values, registered
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import (
    FORMAT,
    FittedKind,
    fitted_digest,
    read_fitted,
    refusing_damage,
    write_fitted,
)
from ood_toolkit.outputs import Array
from ood_toolkit.shaping import ClippedFeatures, Prune, SparseHead

__all__ = [
    "FORMAT",
    "SavedScorer",
    "load_scorer",
    "read_scorer",
    "save_scorer",
    "scorer_facts",
    "scorer_types",
]


def scorer_types() -> dict[str, type]:
    """Every class that a detector file may hold, by name; loads all detectors."""
    registered()
    return {**FittedScorer.kinds, **_transforms()}


def _transforms() -> dict[str, type]:
    from ood_toolkit.detectors.sdm.adaptor import ExemplarAdaptor

    transforms = (ClippedFeatures, ExemplarAdaptor, Prune, SparseHead)
    return {kind.__name__: kind for kind in transforms}


_DETECTOR = FittedKind(
    noun="detector",
    root="scorer",
    made_by="ood-toolkit fit",
    types=scorer_types,
    describe=lambda detector: (method_of(detector).name, parameter_values(detector)),
    make=make_detector,
)


@dataclass(frozen=True, slots=True)
class SavedScorer:
    """What a detector file holds.

    Attributes
    ----------
    scorer : FittedScorer
        Ready to score.
    fitted_on : mapping
        Origin, number of rows and sha256 of the training file, as far as known.
    threshold : mapping or None
        What a threshold was made with (`value`, `tpr`, ...); None where there is none.
    id_scores : (N,) array of float64
        Sorted in-distribution scores behind the threshold; empty where there is none.
    id_predictions : (N,) or (0,) array of int64
        Class predicted for each of those rows, where thresholds are by class.
    toolkit : str
        Version of the toolkit that wrote the file.
    """

    scorer: FittedScorer
    fitted_on: Mapping[str, Any]
    threshold: Mapping[str, Any] | None
    id_scores: Array
    id_predictions: Array
    toolkit: str


def save_scorer(
    scorer: FittedScorer,
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
    write_fitted(path, scorer, _DETECTOR, metadata, arrays)


def scorer_facts(scorer: FittedScorer) -> dict[str, Any]:
    """What a fitted scorer is, JSON-ready: its method, parameters, and a checksum of all of it."""
    tensors: dict[str, Array] = {}
    loaded = replace(_DETECTOR, types=lambda: {**FittedScorer.kinds, **_transforms()})
    tree = json.dumps(loaded.encode(scorer, "scorer", tensors), sort_keys=True)
    return {
        "method": scorer.name,
        "parameters": dict(parameter_values(scorer.detector)),
        "sha256": fitted_digest({"scorer": tree}, tensors),
    }


def load_scorer(path: str | os.PathLike[str]) -> FittedScorer:
    """Read a fitted scorer back; it scores the same bits as the one that was saved.

    Parameters
    ----------
    path : path-like
        A detector file, as `save` and `ood-toolkit fit` write it.

    Returns
    -------
    FittedScorer
        Ready to score.

    Raises
    ------
    DataError
        If the file is not a detector file of this toolkit, of a later format, or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> from ood_toolkit import Energy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "energy.safetensors")
    ...     Energy(temperature=2.0).fit().save(path)
    ...     load_scorer(path).detector
    Energy(temperature=2.0)
    """
    return read_scorer(path).scorer


def read_scorer(path: str | os.PathLike[str]) -> SavedScorer:
    """Read a detector file with its threshold and provenance.

    Raises
    ------
    DataError
        If the file is not a detector file of this toolkit, of a later format, or damaged.
    """
    name = os.fspath(path)
    stored = read_fitted(name, _DETECTOR)
    scorer, text = stored.fitted, stored.text
    with refusing_damage(name, _DETECTOR):
        if not isinstance(scorer, FittedScorer):
            raise DataError(name, "scorer", "is not a scorer")
        if scorer.name != text["method"]:
            raise DataError(
                name, "method", f"says {text['method']} but the arrays are of {scorer.name}"
            )
        threshold = json.loads(text["threshold"])
        id_scores = stored.tensors.get("id_scores", np.empty(0))
        made_for = text.get("threshold_of") or scorer.name
        if threshold is not None and made_for != scorer.name:
            raise DataError(
                name, "threshold", f"was made for {made_for}, not for {scorer.name}; set it again"
            )
        if threshold is not None and (
            threshold["rows"] != id_scores.size or np.isnan(id_scores).any()
        ):
            raise DataError(name, "id_scores", "are not the scores the threshold was set on")
        id_predictions = stored.tensors.get("id_predictions", np.empty(0, dtype=np.int64))
        return SavedScorer(
            scorer,
            json.loads(text["fitted_on"]),
            threshold,
            id_scores,
            id_predictions,
            text["toolkit"],
        )
