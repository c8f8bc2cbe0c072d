"""Why a method ranks otherwise in pytorch-ood 0.4.0, where it does.

tests/test_peer_conventions.py repeats the peer's formula for each, with and without the step
named here: with it the difference of the table appears, without it there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["REASONS", "TOLERANCE", "UNKNOWN", "reason_for"]

TOLERANCE = 5e-4
"""Difference in AUROC that needs no reason."""

UNKNOWN = "not known"
"""What stands in place of a reason that nobody has found."""

REASONS: Mapping[str, str] = {
    "msp": "Theirs is rounded: the float32 softmax of confident rows is 1, and they tie.",
    "msp, fitted temperature": (
        "Theirs is not at the minimum: 50 steps of L-BFGS at learning rate 0.01, from T = 1, end "
        "before it; and it is rounded as for `msp`."
    ),
    "entropy": (
        "Theirs is rounded: float32 probabilities, clipped at 1e-7, which gives confident rows "
        "other ranks."
    ),
    "gen": (
        "Theirs clips float32 probabilities to [1e-7, 1 - 1e-7], which at the power 0.1 is far "
        "from nothing: confident rows get other ranks."
    ),
    "openmax": (
        "Another convention: theirs takes means and tails over all rows of a class, also those "
        "predicted wrong, which are the far end of the tail; the paper and its code take rows "
        "predicted right."
    ),
    "mahalanobis, 2 layers": (
        "Theirs inverts rounding errors: the logits of this head always have the same sum, so "
        "their scatter is singular, and in float32 its zero eigenvalue is noise beside which the "
        "1e-6 on the diagonal is nothing; ours is in float64."
    ),
    "vra": (
        "Another convention: theirs clips each feature at its own percentiles; ours all at one "
        "pair, as OpenOOD does."
    ),
    "nac": (
        "Another rule: the 50 bins of theirs begin at 1e-6 and are wide near 1/2, where the states "
        "are, and all training rows are counted against 50 that fill a bin: nearly every bin is "
        "full, and rows tie.  Ours are the bins and the 1000 rows of the authors' code."
    ),
}
"""By our name: what pytorch-ood does otherwise."""


def reason_for(method: str, difference: float) -> str:
    """The reason for a difference in AUROC; empty where it is small enough to need none."""
    if abs(difference) <= TOLERANCE:
        return ""
    return REASONS.get(method, UNKNOWN)
