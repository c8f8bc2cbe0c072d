"""The false-positive rate at a true-positive rate, under each rule in print.

Which set is "positive" and which operating point is read make the numbers of different
papers differ by tens of points on the same scores, so every rule has a name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.ranking import FIRST, NEAREST, THINNED, band_mean, operating_point
from ood_toolkit.metrics.inputs import check_choice, check_share, least_count

__all__ = ["FPR_RULES", "SWEPT", "false_positive_rate", "how_chosen"]

Array = npt.NDArray[Any]

SWEPT = -1
"""How the rule chooses that sweeps thresholds instead of reading one point of the curve."""

_BAND_HALF_WIDTH = 0.0005
_BAND_CUTS = 100_000

_RULES: dict[str, tuple[int, bool]] = {  # name: how the point is chosen, is OOD positive
    "id_positive": (FIRST, False),
    "ood_positive": (FIRST, True),
    "openood": (THINNED, True),
    "odin": (SWEPT, False),
    "nearest_id": (NEAREST, False),
    "nearest_ood": (NEAREST, True),
}

FPR_RULES = tuple(_RULES)
"""Names of the rules; `Ranking.fpr_at_tpr` says what each does."""


def how_chosen(rule: str) -> tuple[int, bool]:
    """How `operating_point` finds a rule's point, or `SWEPT`; and whether OOD is positive.

    Raises
    ------
    UnknownName
        If there is no such rule.
    """
    check_choice("FPR rule", rule, FPR_RULES)
    return _RULES[rule]


def false_positive_rate(
    id_at_or_above: Array, ood_at_or_above: Array, thresholds: Any, tpr: float, rule: str
) -> tuple[float, str]:
    """FPR of a curve, and why it is NaN where it is.

    Parameters
    ----------
    id_at_or_above, ood_at_or_above : (G + 1,) arrays of int
        How many scores lie at or above +inf and each distinct score, from the largest down.
    thresholds : callable
        Returns the (G + 1,) scores; called only by the rule that needs them.
    tpr : float
        In (0, 1].
    rule : str
        One of `FPR_RULES`.

    Returns
    -------
    fpr : float
        In [0, 1]; smaller is better.
    reason : str
        Empty unless `fpr` is NaN.

    Raises
    ------
    UnknownName
        If there is no such rule.
    InputError
        If `tpr` is not in (0, 1].
    """
    choice, ood_positive = how_chosen(rule)
    share = check_share("tpr", tpr)
    for name, counts in (("ID", id_at_or_above), ("OOD", ood_at_or_above)):
        if counts[-1] == 0:
            return math.nan, f"there are no {name} scores"
    if choice == SWEPT:
        return _mean_over_band(thresholds(), id_at_or_above, ood_at_or_above, share)
    hits, misses = id_at_or_above, ood_at_or_above
    if ood_positive:
        hits, misses = ood_at_or_above[::-1], id_at_or_above[::-1]
    total = abs(int(hits[-1]) - int(hits[0]))
    entry = operating_point(choice, hits, misses, least_count(share, total), share)
    called, every = (abs(int(misses[at]) - int(misses[0])) for at in (entry, -1))
    return called / every, ""


def _mean_over_band(
    thresholds: Array, id_at_or_above: Array, ood_at_or_above: Array, share: float
) -> tuple[float, str]:
    """Mean FPR over cuts with a TPR within 0.0005 of the share wanted."""
    lowest, highest = float(thresholds[-1]), float(thresholds[1])
    with np.errstate(over="ignore", invalid="ignore"):
        gap = (np.float64(highest) - lowest) / _BAND_CUTS
    if not math.isfinite(gap):
        return math.nan, "the range of the scores is not finite, so it cannot be swept"
    low, high = (round(share + side * _BAND_HALF_WIDTH, 10) for side in (-1, 1))
    fpr = math.nan
    if gap > 0.0:
        # The released code's own expression: its rounding decides on which side of a tied
        # score a cut falls.
        cuts = np.arange(lowest, highest, gap)
        fpr = band_mean(thresholds, id_at_or_above, ood_at_or_above, cuts, low, high)
    if math.isnan(fpr):
        return fpr, f"no threshold of the sweep has a TPR in [{low}, {high}]"
    return fpr, ""
