"""Validation and test rows of classifiers whose probabilities are off in known ways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ood_toolkit.calibration import make_calibrator, registered_calibrators
from ood_toolkit.outputs import Array, Outputs

__all__ = ["NAMES", "QUICK", "fitted", "overconfident", "softmax"]

NAMES = tuple(row.name for row in registered_calibrators())
QUICK: dict[str, dict[str, Any]] = {
    "dac": {"k": 5},
    "spc": {"hidden": 8, "epochs": 20, "learning_rate": 0.01},
    "matrix": {"off_diagonal": 0.1},
    "dirichlet": {"off_diagonal": 0.1},
    "sparse_softmax": {"k": 2},
    "auto": {"candidates": ("temperature", "vector", "histogram")},
}
"""Parameters under which a fit of a few hundred rows takes no time."""


def softmax(z: Array) -> Array:
    weight = np.exp(z - z.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def overconfident(
    rows: int, *, seed: int, classes: int = 4, factor: float = 3.0, dims: int = 6
) -> Outputs:
    """Labels drawn from the softmax of features; the logits are `factor` times too large."""
    rng = np.random.default_rng(seed)
    weight = np.random.default_rng(99).normal(size=(dims, classes))
    features = rng.normal(size=(rows, dims))
    true = features @ weight
    below = np.cumsum(softmax(true), axis=1) < rng.random(rows)[:, None]
    labels = np.minimum(below.sum(axis=1), classes - 1)
    few = min(rows, 2 * classes)
    labels[:few] = np.arange(few) % classes
    return Outputs(
        logits=factor * true + 0.3 * rng.normal(size=true.shape),
        features=features,
        labels=labels,
        layers={"early": np.abs(features[:, :3]) + 0.1},
    )


def fitted(name: str, rows: int = 300, **parameters: Any) -> Any:
    """The calibrator, fitted on a few hundred rows."""
    made: Any = make_calibrator(name, QUICK.get(name, {}) | parameters)
    validation = overconfident(rows, seed=1)
    train = replace(overconfident(80, seed=2), labels=None)
    return made.fit(validation, train)
