"""Scores of one set, sorted once for all the sets they are ranked against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.sorting import sort_descending
from ood_toolkit.metrics.inputs import as_scores

__all__ = ["SortedScores"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class SortedScores:
    """(N,) scores as sorted keys; `Ranking.between` merges two of them.

    Attributes
    ----------
    keys : (N,) array of uint64
        Ascending as scores fall.

    Examples
    --------
    >>> from ood_toolkit.metrics import Ranking
    >>> inside = SortedScores.of([0.9, 0.8, 0.4])
    >>> [Ranking.between(inside, SortedScores.of(s)).auroc() for s in ([0.5], [0.1])]
    [0.6666666666666666, 1.0]
    """

    keys: Array

    @classmethod
    def of(cls, scores: Any) -> SortedScores:
        """Sort (N,) scores, as float64.

        Raises
        ------
        InputError
            If the array is not one-dimensional, not numbers, or holds NaN.
        """
        ordered = sort_descending(as_scores("scores", scores).astype(np.float64, copy=False))
        if ordered.first_bad >= 0:
            raise InputError(f"scores[{ordered.first_bad}] is NaN; a score must be a number")
        return cls(ordered.keys)
