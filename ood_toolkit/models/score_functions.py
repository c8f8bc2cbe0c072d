"""Scores as functions of tensors: differentiable, exportable, equal to the numpy scorers.

Logits are (N, C), features (N, D), scores (N,); larger = more in-distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.composed import After
from ood_toolkit.errors import InputError
from ood_toolkit.models.feature_scores import FEATURE_SCORES, ScoreFunction
from ood_toolkit.models.logit_scores import LOGIT_SCORES, Held
from ood_toolkit.outputs import Head
from ood_toolkit.shaping import ClippedFeatures, Prune

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TENSOR_METHODS", "ScoreFunction", "score_function", "score_module"]


def _shaped(scorer: After, head: Head | None) -> ScoreFunction:
    """A shaping of the features, the head, then a score of the new logits."""
    if head is None:
        raise InputError(f"{scorer.name} needs the head to compute logits again")
    shape = _shaping(scorer.transform, head.weight.shape[1])
    base = score_function(scorer.scorer, head)  # type: ignore[arg-type]
    arrays = {
        **{f"base_{key}": a for key, a in base.arrays.items()},
        "head_weight": head.weight,
        "head_bias": head.bias,
    }

    def apply(held: Held, z: Tensor, f: Tensor) -> Tensor:
        shaped = shape(f)
        logits = shaped @ held["head_weight"].T + held["head_bias"]
        own = {k.removeprefix("base_"): t for k, t in held.items() if k.startswith("base_")}
        return base.apply(own, logits, shaped)

    return ScoreFunction(arrays, apply, needs_features=True)


def _shaping(transform: object, dims: int) -> Callable[[Tensor], Tensor]:
    if isinstance(transform, ClippedFeatures):
        lower = None if math.isinf(transform.lower) else transform.lower
        upper = transform.upper
        return lambda f: f.clamp(min=lower, max=upper)
    if isinstance(transform, Prune) and transform.rule in ("scale", "ash_s", "ash_p"):
        # the number is fixed here: a trace would not see it change
        rule, count = transform.rule, dims - round(dims * transform.percentile / 100.0)

        def prune(f: Tensor) -> Tensor:
            largest = f.topk(count, dim=1)
            pruned = f.new_zeros(f.shape).scatter(1, largest.indices, largest.values)
            if rule == "ash_p":
                return pruned
            kept = largest.values.sum(1, keepdim=True)
            ratio = (f.sum(1, keepdim=True) / kept.where(kept != 0, 1.0)) * (kept != 0)
            return (f if rule == "scale" else pruned) * ratio.exp()

        return prune
    raise InputError(
        f"{type(transform).__name__} cannot be computed in tensors; score the outputs instead"
    )


_OTHERS = "mahalanobis and its kin", "vim", "residual", "knn"
_SHAPINGS = "react", "vra", "ash_p", "ash_s", "scale"

TENSOR_METHODS = (*LOGIT_SCORES, *_OTHERS, *_SHAPINGS)
"""What `score_function` can do; shapings may be followed by any of the logit scores."""


def score_function(scorer: FittedScorer, head: Head | None = None) -> ScoreFunction:
    """The score of a fitted scorer as a function of tensors.

    Parameters
    ----------
    scorer : FittedScorer
        Of one of `TENSOR_METHODS`.
    head : Head, optional
        Needed where features are shaped and logits computed again.

    Returns
    -------
    ScoreFunction
        Equal to `scorer.score`, within float32.

    Raises
    ------
    InputError
        If the method cannot be computed in tensors.
    """
    if isinstance(scorer, After):
        return _shaped(scorer, head)
    kind = type(scorer).__name__
    if kind in FEATURE_SCORES:
        return FEATURE_SCORES[kind](scorer)
    if scorer.name in LOGIT_SCORES and not scorer.dims:
        return ScoreFunction({}, LOGIT_SCORES[scorer.name](scorer.detector))
    raise InputError(
        f"{scorer.name} cannot be computed in tensors; these can: {', '.join(TENSOR_METHODS)}"
    )


def score_module(
    scorer: FittedScorer, head: Head | None = None, *, dtype: str = "float32"
) -> nn.Module:
    """The same as a `torch.nn.Module` of logits and features, its arrays as buffers.

    Parameters
    ----------
    scorer : FittedScorer
        Of one of `TENSOR_METHODS`.
    head : Head, optional
        As for `score_function`.
    dtype : str
        Of the buffers.

    Returns
    -------
    torch.nn.Module
        (N, C) logits and (N, D) features -> (N,) scores.

    Examples
    --------
    >>> import torch
    >>> from ood_toolkit import Energy
    >>> score_module(Energy().fit())(torch.zeros(2, 3), torch.zeros(2, 4))
    tensor([1.0986, 1.0986])
    """
    import torch

    function = score_function(scorer, head)

    class Score(torch.nn.Module):  # type: ignore[misc]
        """A fitted score."""

        def __init__(self) -> None:
            super().__init__()
            self.names = tuple(function.arrays)
            for name, array in function.arrays.items():
                tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
                self.register_buffer(name, tensor)

        def forward(self, logits: Tensor, features: Tensor) -> Tensor:
            held = {name: getattr(self, name) for name in self.names}
            return function.apply(held, logits, features)

    return Score()
