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
    """Features >= 0 around class directions, a random head, the logits it gives, those of
    four members whose heads differ a little, and sequences of one to four tokens.
    """
    head_rng = np.random.default_rng(head_seed)
    weight = head_rng.normal(size=(classes, dims)).astype(dtype)
    head = Head(weight, head_rng.normal(size=classes).astype(dtype))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    labels[: min(classes, rows)] = np.arange(min(classes, rows))
    features = np.abs(rng.normal(size=(rows, dims)) + spread * 2 * weight[labels])
    tokens = np.random.default_rng((seed, 1))
    members = [
        Head(weight + 0.3 * head_rng.normal(size=weight.shape)).logits(features) for _ in range(4)
    ]
    return Outputs(
        features=features.astype(dtype),
        head=head,
        labels=labels,
        members=np.array(members, dtype=dtype),
        token_logits=(2 * tokens.normal(size=(rows, 4, 6))).astype(dtype),
        token_mask=np.arange(4) < tokens.integers(1, 5, (rows, 1)),
        token_ids=tokens.integers(0, 6, (rows, 4)),
    )


def mostly_right(rows: int, *, seed: int, spread: float = 1.0, classes: int = CLASSES) -> Outputs:
    """Outputs of a classifier that predicts every class and is right on most rows."""
    dims = 2 * classes
    pattern = np.repeat(np.eye(classes), 2, axis=1)
    head_rng = np.random.default_rng(7)
    weight = pattern - pattern.mean(axis=0) + 0.1 * head_rng.normal(size=pattern.shape)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    features = np.maximum(rng.normal(size=(rows, dims)) + spread * 2 * pattern[labels], 0)
    head = Head(weight, 0.1 * head_rng.normal(size=classes))
    members = np.array(
        [Head(weight + 0.1 * head_rng.normal(size=weight.shape)).logits(features) for _ in range(4)]
    )
    return Outputs(features=features, head=head, labels=labels, members=members)
