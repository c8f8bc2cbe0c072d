"""A guard as one `.safetensors` file beside the model's own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.decision import Threshold
from ood_toolkit.decision.policy_file import describe_fitted, make_fitted
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.persistence import scorer_types
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import FittedKind, read_fitted, refusing_damage, write_fitted
from ood_toolkit.models.batches import Unpack
from ood_toolkit.models.guard import Guard
from ood_toolkit.models.network import FeaturesFunction, network_of
from ood_toolkit.models.torch_library import model_digest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_guard", "save_guard"]


@dataclass(frozen=True)
class GuardParts:
    """What is fitted of a guard."""

    scorer: FittedScorer
    calibrator: FittedCalibrator | None


_GUARD = FittedKind(
    noun="guard",
    root="guard",
    made_by="WrappedClassifier.guard",
    types=lambda: {**scorer_types(), **FittedCalibrator.kinds, "GuardParts": GuardParts},
    describe=describe_fitted,
    make=make_fitted,
)


def save_guard(guard: Guard, path: str | os.PathLike[str]) -> None:
    """Write everything but the model, replacing the file at once or not at all.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    network = guard.network
    metadata = {
        "threshold": guard.threshold.facts(),
        "model": model_digest(network.inner),
        "head": network.head_name,
        "features": network.features_from,
        "layers": list(network.layers),
        "by_function": network.features_fn is not None,
    }
    arrays = {"id_scores": np.asarray(guard.threshold.id_scores, dtype=np.float64)}
    parts = GuardParts(guard.scorer, guard.calibrator)
    text = {key: json.dumps(value) for key, value in metadata.items()}
    write_fitted(path, parts, _GUARD, {"method": guard.scorer.name, **text}, arrays)


def load_guard(
    path: str | os.PathLike[str],
    model: nn.Module,
    *,
    features_fn: FeaturesFunction | None = None,
    unpack: Unpack | None = None,
) -> Guard:
    """Read a guard back for the model it was made with; it gives the same verdicts.

    Parameters
    ----------
    path : path-like
        As `Guard.save` writes it.
    model : torch.nn.Module
        With the weights that it had then.
    features_fn, unpack : callable, optional
        As given to `wrap` then; code is not stored.

    Returns
    -------
    Guard
        Ready to be called.

    Raises
    ------
    DataError
        If the file is no guard, is damaged, or was made with other weights.

    Examples
    --------
    >>> import os, tempfile, torch
    >>> from ood_toolkit.models import wrap
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> guard = wrap(model).guard("energy", id_val=torch.randn(50, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "guard.safetensors")
    ...     guard.save(path)
    ...     again = load_guard(path, model)
    >>> torch.equal(again(torch.ones(1, 4)).score, guard(torch.ones(1, 4)).score)
    True
    """
    name = os.fspath(path)
    stored = read_fitted(name, _GUARD)
    with refusing_damage(name, _GUARD):
        if not isinstance(stored.fitted, GuardParts):
            raise DataError(name, "guard", "is not a guard")
        facts = {
            key: json.loads(stored.text[key])
            for key in ("threshold", "model", "head", "features", "layers", "by_function")
        }
        id_scores = stored.tensors["id_scores"]
        if facts["threshold"]["rows"] != id_scores.size or np.isnan(id_scores).any():
            raise DataError(name, "id_scores", "are not the scores the threshold was set on")
        threshold = Threshold.from_facts(facts["threshold"], id_scores)
    if facts["by_function"] and features_fn is None:
        raise DataError(name, "", "was made with features_fn=; pass it again, code is not stored")
    network = network_of(
        model,
        head=facts["head"] or None,
        features=facts["features"],
        layers=facts["layers"],
        features_fn=features_fn,
        unpack=unpack,
    )
    if model_digest(network.inner) != facts["model"]:
        raise DataError(
            name, "model", "the guard was made with other weights; load those, or make it again"
        )
    return Guard(network, stored.fitted.scorer, threshold, stored.fitted.calibrator)
