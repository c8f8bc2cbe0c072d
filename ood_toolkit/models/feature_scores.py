"""Scores of features, in tensors, from what their scorers were fitted with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.models.logit_scores import Apply, Held
from ood_toolkit.outputs import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FEATURE_SCORES", "LARGEST_BANK", "ScoreFunction"]

LARGEST_BANK = 100_000
"""Rows of a bank of neighbours that a module may carry."""


@dataclass(frozen=True, slots=True)
class ScoreFunction:
    """A fitted score in tensors.

    Attributes
    ----------
    arrays : mapping of str to array
        What was fitted.
    apply : callable
        These arrays as tensors, logits and features -> scores.
    needs_features : bool
        Whether it reads the features.
    """

    arrays: Mapping[str, Array]
    apply: Apply
    needs_features: bool = False


def _gaussian(scorer: Any) -> ScoreFunction:
    arrays = {
        "origin": scorer.origin,
        "within": scorer.class_whitening,
        "means": scorer.class_means,
        "background": scorer.background_whitening,
    }
    has_classes, has_background = bool(arrays["within"].size), bool(arrays["background"].size)
    sign, unit = scorer.background_sign, scorer.unit_length

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        if unit:
            f = f / f.norm(dim=1, keepdim=True)
        centred = f - held["origin"]
        scores = centred.sum(1) * 0.0
        if has_classes:
            x, m = centred @ held["within"], held["means"]
            squared = (x * x).sum(1, keepdim=True) - 2.0 * (x @ m.T) + (m * m).sum(1)
            scores = scores - squared.clamp(min=0.0).amin(1)
        if has_background:
            x = centred @ held["background"]
            scores = scores + sign * (x * x).sum(1)
        return scores

    kept = {k: a for k, a in arrays.items() if a.size}
    return ScoreFunction(kept, apply, needs_features=True)


def _vim(scorer: Any) -> ScoreFunction:
    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        residual = ((f - held["origin"]) @ held["residual"]).norm(dim=1)
        return z.logsumexp(1) - held["alpha"] * residual

    arrays = {"origin": scorer.origin, "residual": scorer.residual, "alpha": np.array(scorer.alpha)}
    return ScoreFunction(arrays, apply, needs_features=True)


def _residual(scorer: Any) -> ScoreFunction:
    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        return -((f - held["origin"]) @ held["residual"]).norm(dim=1)

    arrays = {"origin": scorer.origin, "residual": scorer.residual}
    return ScoreFunction(arrays, apply, needs_features=True)


def _knn(scorer: Any) -> ScoreFunction:
    k, unit = min(scorer.detector.k, len(scorer.bank)), scorer.detector.normalize
    if len(scorer.bank) > LARGEST_BANK:
        raise InputError(
            f"knn: a bank of {len(scorer.bank)} rows is more than the {LARGEST_BANK} a module may "
            "carry; fit on fewer rows"
        )

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        if unit:
            f = f / f.norm(dim=1, keepdim=True)
        bank = held["bank"]
        products = (f * f).sum(1, keepdim=True) - 2.0 * (f @ bank.T) + (bank * bank).sum(1)
        nearest = products.topk(k, dim=1, largest=False).indices
        # differences, not products: near duplicates would lose half their digits
        kth = (f[:, None] - bank[nearest]).pow(2).sum(2).amax(1)
        return -kth.sqrt()

    return ScoreFunction({"bank": scorer.bank}, apply, needs_features=True)


FEATURE_SCORES: Mapping[str, Callable[[Any], ScoreFunction]] = {
    "GaussianScorer": _gaussian,
    "ViMScorer": _vim,
    "ResidualScorer": _residual,
    "KNNScorer": _knn,
}
"""What a fitted scorer computes, by its class."""
