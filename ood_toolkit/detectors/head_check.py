"""Whether features and head give the logits that came with them."""

from __future__ import annotations

import warnings

import numpy as np

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.products import chunk_of_logits, row_chunks
from ood_toolkit.outputs import Outputs

__all__ = ["warn_if_head_disagrees"]

TOLERANCE = 1e-3
"""Largest |features @ weight.T + bias - logits| allowed, in units of the largest |logit|."""


def warn_if_head_disagrees(name: str, x: Outputs) -> None:
    """Warn unless features @ weight.T + bias equals the logits, up to float16 rounding.

    A difference means the head is not linear, or the features are not its input; a method
    that uses all three then describes no classifier.
    """
    if x.logits is None or x.features is None or x.head is None:
        return
    worst = largest = 0.0
    for part in row_chunks(len(x), chunk_of_logits(x.classes)):
        logits = np.asarray(x.logits[part], dtype=np.float64)
        legal = np.isfinite(logits)
        difference = np.abs(x.head.logits(x.features[part]) - logits)[legal]
        worst = max(worst, float(difference.max(initial=0.0)))
        largest = max(largest, float(np.abs(logits[legal]).max(initial=0.0)))
    if worst > TOLERANCE * largest:
        warnings.warn(
            f"{name}: features and head give other logits than the file's (difference up to "
            f"{worst:.3g}, largest logit {largest:.3g}); is the head linear, and are these its "
            "inputs?",
            ToolkitWarning,
            stacklevel=3,
        )
