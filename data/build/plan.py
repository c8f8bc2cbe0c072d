"""What a benchmark is made of, and the figures that describe a trained one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from data.build.training import Recipe

__all__ = ["Plan", "Split", "figures", "flat", "tolerance"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Split:
    """One file of outputs: the images shown to the classifier and what is known of them."""

    file: str
    role: str
    """"train", "id_val", "id" or "ood"."""
    name: str
    images: Array
    origin: str
    licence: str
    group: str | None = None
    """"near", "far" or "synthetic" for OOD."""
    labels: Array | None = None
    thumbnails: bool = True
    extra: Mapping[str, Array] = field(default_factory=dict)
    """Further arrays of the file, such as the row of the source each image came from."""


@dataclass(frozen=True)
class Plan:
    """A benchmark before training."""

    name: str
    title: str
    description: str
    licence: str
    class_names: tuple[str, ...]
    held_out: Mapping[str, Any]
    """The classes the classifier never saw, and why these."""
    layers: tuple[tuple[Any, ...], ...]
    recipe: Recipe
    seed: int
    training_images: Array
    training_labels: Array
    splits: tuple[Split, ...]
    sources: tuple[Mapping[str, str], ...]


def _scores(logits: Array) -> dict[str, Array]:
    """The three scores the manifest states; larger = more in-distribution."""
    z = logits.astype(np.float64)
    log_sum = np.logaddexp.reduce(z, axis=1)
    largest = z.max(axis=1)
    return {"msp": np.exp(largest - log_sum), "energy": log_sum, "max_logit": largest}


def figures(splits: Mapping[str, Mapping[str, Array]], roles: Mapping[str, str]) -> dict[str, Any]:
    """Accuracies, and AUROC of each score on each OOD set with the ID test rows as positives.

    Parameters
    ----------
    splits : mapping of str to mapping of str to array
        The arrays of each file, by the name of the split.
    roles : mapping of str to str
        The role of each split.
    """
    from sklearn.metrics import roc_auc_score

    by_role = {role: name for name, role in roles.items()}
    accuracy = {
        role: float((splits[name]["logits"].argmax(axis=1) == splits[name]["labels"]).mean())
        for role, name in by_role.items()
        if role != "ood"
    }
    known = _scores(splits[by_role["id"]]["logits"])
    auroc = {}
    for name in (name for name, role in roles.items() if role == "ood"):
        strange = _scores(splits[name]["logits"])
        auroc[name] = {
            score: float(
                roc_auc_score(
                    np.repeat([1, 0], [known[score].size, strange[score].size]),
                    np.concatenate([known[score], strange[score]]),
                )
            )
            for score in known
        }
    return {"accuracy": accuracy, "auroc": auroc}


def flat(metrics: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Every figure with the keys that lead to it, e.g. ("auroc digits msp", 0.93)."""
    for key, value in metrics.items():
        name = f"{above} {key}".lstrip()
        if isinstance(value, Mapping):
            yield from flat(value, name)
        else:
            yield name, value


def tolerance(
    stated: Mapping[str, Any], seeds: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """How far each figure of a retrained classifier may lie from the stated one.

    Twice the largest deviation among networks trained with other seeds, rounded up to a
    hundredth: on another machine sums round otherwise, and a training run drifts from the
    shipped one as it does under another seed.
    """
    others = [dict(flat(metrics)) for metrics in seeds.values()]
    return {
        name: max(1, math.ceil(200 * max(abs(other[name] - value) for other in others))) / 100
        for name, value in flat(stated)
        if others
    }
