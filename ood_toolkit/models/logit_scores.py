"""Scores of logits, in tensors: those of `ood_toolkit.detectors` that learn nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOGIT_SCORES", "Apply", "Held"]

Held = Mapping[str, "Tensor"]
"""What was fitted, by name."""
Apply = Callable[[Held, "Tensor", "Tensor"], "Tensor"]
"""What was fitted, logits (N, C) and features (N, D) -> scores (N,)."""


def _msp(detector: Any) -> Apply:
    return lambda held, z, f: z.softmax(1).amax(1)


def _energy(detector: Any) -> Apply:
    t = detector.temperature
    return lambda held, z, f: t * (z / t).logsumexp(1)


def _max_logit(detector: Any) -> Apply:
    return lambda held, z, f: z.amax(1)


def _entropy(detector: Any) -> Apply:
    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        log_p = z.log_softmax(1)
        # a masked class has p = 0 and adds nothing
        return (log_p.exp() * log_p.clamp(min=-1e30)).sum(1)

    return apply


def _gen(detector: Any) -> Apply:
    gamma, top = detector.gamma, detector.top

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        log_p = z.log_softmax(1)
        log_rest = _log_rest(z)
        terms = ((log_p + log_rest) * gamma).exp()
        if top < z.shape[1]:
            largest = log_p.topk(top, dim=1).indices
            terms = terms.gather(1, largest)
        return -terms.sum(1)

    return apply


def _log_rest(z: Tensor) -> Tensor:
    """Ln(1 - p) of every class, from the others' mass where p is nearly 1."""
    import torch

    log_p = z.log_softmax(1)
    small = torch.log1p(-log_p.exp().clamp(max=0.5))
    top = z.argmax(1, keepdim=True)
    chosen = torch.zeros_like(z).scatter(1, top, 1.0) > 0
    beside = z.masked_fill(chosen, -math.inf).logsumexp(1, keepdim=True) - z.logsumexp(
        1, keepdim=True
    )
    return torch.where(chosen, beside, small)


def _label_non_uniformity(detector: Any) -> Apply:
    if detector.ground != "zero_one":
        raise InputError(
            "label_non_uniformity: only ground=zero_one can be computed in tensors; score the "
            "outputs with the detector instead"
        )

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        live = (z > -math.inf).to(z.dtype)
        classes = live.sum(1)
        above = (z.softmax(1) - 1.0 / classes[:, None]).clamp(min=0.0) * live
        distance = above.sum(1)
        if detector.normalise == "l1":
            return 2.0 * distance
        if detector.normalise == "unit":
            return distance / (1.0 - 1.0 / classes).clamp(min=1e-30)
        return distance

    return apply


def _odin_temperature(detector: Any) -> Apply:
    t = detector.temperature

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        predicted = z.argmax(1, keepdim=True)  # of ties the first, in the gradient too
        return z.gather(1, predicted)[:, 0] / t - (z / t).logsumexp(1)

    return apply


def _gini(detector: Any) -> Apply:
    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        log_p, log_rest = z.log_softmax(1), _log_rest(z)
        if detector.variant == "alpha":
            # 1 - sum p^2 = sum p (1 - p), which loses no digits where one p is nearly 1
            return -(log_p + log_rest).exp().sum(1) / (2.0 * log_p).exp().sum(1)
        top = z.argmax(1, keepdim=True)
        return -(log_rest.gather(1, top) - log_p.gather(1, top)).exp()[:, 0]

    return apply


LOGIT_SCORES: Mapping[str, Callable[[Any], Apply]] = {
    "msp": _msp,
    "energy": _energy,
    "max_logit": _max_logit,
    "entropy": _entropy,
    "gen": _gen,
    "label_non_uniformity": _label_non_uniformity,
    "odin_temperature": _odin_temperature,
    "gini": _gini,
}
"""What a detector that learns nothing computes, by its name."""
