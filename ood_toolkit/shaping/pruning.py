"""Shaping of each row by its own largest activations: ASH and SCALE.  Nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ood_toolkit.errors import BadParameter
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.shaping.base import reshaped

__all__ = ["Prune"]


@dataclass(frozen=True)
class Prune:
    """Keep, spread or scale the largest activations of each row.

    With k = D - round(D percentile / 100) activations kept, s1 the sum of all and s2 of the
    kept: "ash_p" keeps them, "ash_b" sets them to s1 / k, "ash_s" multiplies them by
    exp(s1 / s2); all three zero the rest.  "scale" multiplies every activation by
    exp(s1 / s2).  Meant for activations that are not negative, after a ReLU.

    Parameters
    ----------
    rule : "ash_p", "ash_b", "ash_s" or "scale"
        Which of the four.
    percentile : float
        In [0, 100].

    References
    ----------
    Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    ICLR 2023; Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection
    Enhancement", ICLR 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs
    >>> x = Outputs(features=np.array([[1.0, 3.0, 4.0, 0.0]]), head=Head(weight=np.ones((2, 4))))
    >>> Prune("ash_b", percentile=50).apply(x).features
    array([[0., 4., 4., 0.]])
    """

    rule: Literal["ash_p", "ash_b", "ash_s", "scale"]
    percentile: float = 90.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.percentile <= 100.0:
            raise BadParameter(f"a percentile lies in [0, 100], got {self.percentile}")

    def apply(self, x: Outputs, /) -> Outputs:
        """The record with shaped features and the logits the head then gives.

        Raises
        ------
        InputError
            If features or head are missing, or a row holds NaN or infinity.
        """
        return reshaped(x, self._shape)

    def _shape(self, f: Array) -> Array:
        dims = f.shape[1]
        kept = dims - round(dims * self.percentile / 100.0)
        # a stable sort of the negatives: of equal activations the first is kept
        largest = np.argsort(-f, axis=1, kind="stable")[:, :kept]
        rows = np.arange(len(f))[:, None]
        pruned = np.zeros_like(f)
        pruned[rows, largest] = f[rows, largest]
        if self.rule == "ash_p":
            return pruned
        total = f.sum(axis=1, dtype=np.float64, keepdims=True)
        if self.rule == "ash_b":
            pruned[rows, largest] = total / max(kept, 1)
            return pruned
        remaining = pruned.sum(axis=1, dtype=np.float64, keepdims=True)
        # a row whose kept activations sum to zero is left unscaled
        ratio = np.divide(total, remaining, out=np.zeros_like(total), where=remaining != 0)
        return np.asarray((pruned if self.rule == "ash_s" else f) * np.exp(ratio).astype(f.dtype))
