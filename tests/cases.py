"""Small records that every method can be fitted and judged on."""

from __future__ import annotations

import numpy as np

from ood_toolkit.outputs import Head, Outputs

CLASSES, DIMS = 5, 8


def record(
    rows: int,
    *,
    seed: int,
    classes: int = CLASSES,
    dims: int = DIMS,
    spread: float = 1.0,
    head_seed: int = 0,
    dtype: type = np.float64,
) -> Outputs:
    """Features >= 0 around class directions, a random head, and the logits it gives."""
    head_rng = np.random.default_rng(head_seed)
    weight = head_rng.normal(size=(classes, dims)).astype(dtype)
    head = Head(weight, head_rng.normal(size=classes).astype(dtype))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    labels[: min(classes, rows)] = np.arange(min(classes, rows))
    features = np.abs(rng.normal(size=(rows, dims)) + spread * 2 * weight[labels])
    return Outputs(features=features.astype(dtype), head=head, labels=labels)
