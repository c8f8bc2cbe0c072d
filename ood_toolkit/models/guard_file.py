"""Guard files read back, for the model that the guard was made with."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np

from ood_toolkit.decision import rule_from
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import read_fitted, refusing_damage
from ood_toolkit.models.batches import Unpack
from ood_toolkit.models.guard import Guard
from ood_toolkit.models.guard_parts import GUARD_FILE, GuardParts
from ood_toolkit.models.network import FeaturesFunction, network_of
from ood_toolkit.models.torch_library import model_digest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_guard"]


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
    stored = read_fitted(name, GUARD_FILE)
    with refusing_damage(name, GUARD_FILE):
        if not isinstance(stored.fitted, GuardParts):
            raise DataError(name, "guard", "is not a guard")
        facts = {
            key: json.loads(stored.text[key])
            for key in ("threshold", "model", "head", "features", "layers", "by_function")
        }
        id_scores = stored.tensors["id_scores"]
        if facts["threshold"]["rows"] != id_scores.size or np.isnan(id_scores).any():
            raise DataError(name, "id_scores", "are not the scores the threshold was set on")
        rule = rule_from(facts["threshold"], id_scores, stored.tensors.get("id_predictions"))
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
    return Guard(network, stored.fitted.scorer, rule, stored.fitted.calibrator)
