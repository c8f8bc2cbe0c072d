"""Whether features and head give the logits that came with them."""

from __future__ import annotations

import warnings

import numpy as np

from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.kernels.blas import one_blas_thread
from ood_toolkit.kernels.differences import largest_difference
from ood_toolkit.kernels.pool import share_out
from ood_toolkit.kernels.products import chunk_of_logits
from ood_toolkit.kernels.threads import thread_count
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
    features, logits, head = x.features, x.logits, x.head
    found: list[tuple[float, float]] = []

    def compare(start: int, stop: int) -> None:
        expected = logits[start:stop]
        if expected.dtype.itemsize < 4:
            expected = expected.astype(np.float32)
        found.append(largest_difference(head.logits(features[start:stop]), np.asarray(expected)))

    with one_blas_thread():
        share_out(compare, len(x), chunk_of_logits(x.classes), thread_count())
    worst = max((difference for difference, _ in found), default=0.0)
    largest = max((logit for _, logit in found), default=0.0)
    if worst > TOLERANCE * largest:
        warnings.warn(
            f"{name}: features and head give other logits than the file's (difference up to "
            f"{worst:.3g}, largest logit {largest:.3g}); is the head linear, and are these its "
            "inputs?",
            ToolkitWarning,
            stacklevel=3,
        )
