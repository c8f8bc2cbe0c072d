"""Twins of the scores of features and the last layer, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ood_toolkit.outputs import Array, Outputs
from tests.reference.from_features import float_features
from tests.reference.from_logits import LOGIT_TWINS

__all__ = ["HEAD_TWINS", "energy_of_features", "float_head", "residual_norms"]


def float_head(x: Outputs, train: Outputs | None) -> tuple[Array, Array]:
    """Weight (C, D) and bias (C,) in float64: the training record's head, else the input's."""
    head = train.head if train is not None and train.head is not None else x.head
    assert head is not None
    return head.weight.astype(np.float64), head.bias.astype(np.float64)


def energy_of_features(f: Sequence[Array] | Array, weight: Array, bias: Array) -> Array:
    """lse(f Wᵀ + b)."""
    logits = np.empty((len(f), len(bias)))
    for n, c in np.ndindex(logits.shape):
        logits[n, c] = np.dot(f[n], weight[c]) + bias[c]
    return LOGIT_TWINS["energy"](Outputs(logits=logits))


def kept_dimensions(dim: int | str, d: int) -> int:
    """D' of ViM: 1000 for D ≥ 2048, 512 for D ≥ 768, else half of D."""
    kept = int(dim) if dim != "auto" else 1000 if d >= 2048 else 512 if d >= 768 else d // 2
    if kept >= d:
        raise ValueError(f"dim {kept} leaves nothing of {d} features")
    return kept


def residual_norms(x: Outputs, train: Outputs, dim: int | str) -> tuple[Array, Array]:
    """‖NSᵀ(f - u)‖₂ of the input rows and of the training rows.

    u = -W⁺b; NS are the eigenvectors of XᵀX/N, X = F - u, after the D' largest.
    """
    weight, bias = float_head(x, train)
    origin = -np.linalg.pinv(weight) @ bias
    centred = float_features(train) - origin
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    d = centred.shape[1]
    null_space = vectors[:, : d - kept_dimensions(dim, d)]  # eigh sorts ascending
    inputs = [np.linalg.norm(null_space.T @ f) for f in float_features(x) - origin]
    fitted = [np.linalg.norm(null_space.T @ f) for f in centred]
    return np.array(inputs, np.float64), np.array(fitted, np.float64)


def vim(x: Outputs, train: Outputs, dim: int | str = "auto") -> Array:
    """lse(z) - α ‖NSᵀ(f - u)‖, α = mean(max z) / mean ‖NSᵀ(f - u)‖ over the training rows."""
    residual, fitted = residual_norms(x, train, dim)
    alpha = LOGIT_TWINS["max_logit"](train).mean() / fitted.mean()
    energy: Array = LOGIT_TWINS["energy"](x) - alpha * residual
    return energy


def react(x: Outputs, train: Outputs, percentile: float = 90.0) -> Array:
    """Energy of the logits of min(f, c), c that percentile of all training activations."""
    threshold = np.percentile(float_features(train), percentile)
    clipped = np.minimum(float_features(x), threshold)
    return energy_of_features(clipped, *float_head(x, train))


HEAD_TWINS: dict[str, Callable[..., Array]] = {"react": react, "vim": vim}
