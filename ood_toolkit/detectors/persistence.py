"""Detector files read back: the scorer, its threshold and where they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.saving import DETECTOR_FILE
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import FORMAT, read_fitted, refusing_damage
from ood_toolkit.outputs import Array

__all__ = [
    "FORMAT",
    "SavedScorer",
    "load_scorer",
    "read_scorer",
]


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


def load_scorer(path: str | os.PathLike[str]) -> FittedScorer:
    """Read a saved scorer; its scores are bit-identical to those of the one that was saved.

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
    stored = read_fitted(name, DETECTOR_FILE)
    scorer, text = stored.fitted, stored.text
    with refusing_damage(name, DETECTOR_FILE):
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
