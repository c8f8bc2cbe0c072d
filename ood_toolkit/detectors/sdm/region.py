"""The high-reliability region: where accuracy reaches alpha for every class, if anywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_toolkit.detectors.sdm.distances import level_complement
from ood_toolkit.outputs import Array
from ood_toolkit.parameters import require

__all__ = ["Region", "find_region", "ladder_levels", "region_ladder"]


@dataclass(frozen=True)
class Region:
    """Rows whose predictions are accepted at a level.

    Attributes
    ----------
    alpha : float
        The accuracy asked of every class.
    q_min : float
        Least rescaled similarity; infinite where every row is rejected.
    psi : (C,) array of float64
        Least activation of the predicted class; infinite where every row is rejected.
    missed : tuple of int
        Where every row is rejected, the classes at fault: without a matched calibration row,
        which leaves d at 0 for all; else those that reach `alpha` at no similarity; else those
        missing where most classes reach it.
    """

    alpha: float
    q_min: float
    psi: Array
    missed: tuple[int, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether any row can be accepted."""
        return bool(np.isfinite(self.q_min))

    def accepts(self, rescaled: Array, predictions: Array, probability: Array) -> Array:
        """Whether each prediction is accepted.

        (N,) q', (N,) classes and (N,) activations of these classes -> (N,) bool.
        """
        return np.asarray((rescaled >= self.q_min) & (probability >= self.psi[predictions]))


def find_region(
    rescaled: Array, probability_of_label: Array, labels: Array, classes: int, alpha: float
) -> Region:
    """Search for the least q' from which on the calibration rows of every class reach alpha.

    Parameters
    ----------
    rescaled : (n,) array of float
        q' of calibration rows.
    probability_of_label : (n,) array of float
        Activation of each row's true class, wrongly predicted rows included.
    labels : (n,) array of int
        True classes.
    classes : int
        How many there are.
    alpha : float
        In (1/2, 1].

    Returns
    -------
    Region
        With infinite bounds where no q' will do: an answer, not an error.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([0.95, 0.85, 0.70, 0.96, 0.86, 0.71])
    >>> found = find_region(np.array([3.0, 2, 1, 3, 2, 1]), p, np.array([0, 0, 0, 1, 1, 1]), 2, 0.8)
    >>> found.q_min, found.psi
    (2.0, array([0.85, 0.86]))
    """
    require(0.5 < alpha <= 1.0, f"alpha must lie in (0.5, 1], got {alpha}")
    order = np.argsort(rescaled, kind="stable")
    order = order[rescaled[order] > 0]
    tally = _Tally(probability_of_label[order], labels[order], classes, alpha)
    candidates, starts = np.unique(rescaled[order], return_index=True)
    for number, candidate in enumerate(candidates):
        tally.drop_before(int(starts[number]))
        if not tally.missing:
            kept = order[starts[number] :]
            psi = _quantiles(probability_of_label[kept], labels[kept], classes, alpha)
            return Region(alpha, float(candidate), psi)
    nowhere = np.full(classes, np.inf)
    return Region(alpha, float("inf"), nowhere, tally.to_blame())


def allowed(alpha: float, count: int) -> int:
    """floor((1 - alpha) n), at most n - 1: rows of a class that may lie below its threshold."""
    return min(round(level_complement(alpha) * 10**10) * count // 10**10, count - 1)


class _Tally:
    """Per class: rows left, and how many of them lie below alpha."""

    def __init__(self, probability: Array, labels: Array, classes: int, alpha: float) -> None:
        self._labels, self._below = labels.tolist(), (probability < alpha).tolist()
        self._alpha, self._dropped = alpha, 0
        self._rows = np.bincount(labels, minlength=classes).tolist()
        self._low = np.bincount(labels[probability < alpha], minlength=classes).tolist()
        self.missing = {c for c in range(classes) if not self._reaches(c)}
        self._never, self._least = set(self.missing), set(self.missing)

    def _reaches(self, c: int) -> bool:
        return bool(self._rows[c] > 0 and self._low[c] <= allowed(self._alpha, self._rows[c]))

    def drop_before(self, start: int) -> None:
        """Take out the rows before `start`, and see which classes still reach alpha."""
        touched = set()
        for i in range(self._dropped, start):
            c = self._labels[i]
            self._rows[c] -= 1
            self._low[c] -= self._below[i]
            touched.add(c)
        self._dropped = start
        for c in touched:
            (self.missing.discard if self._reaches(c) else self.missing.add)(c)
        self._never &= self.missing
        if len(self.missing) < len(self._least):
            self._least = set(self.missing)

    def to_blame(self) -> tuple[int, ...]:
        return tuple(sorted(self._never or self._least))


def _quantiles(probability: Array, labels: Array, classes: int, alpha: float) -> Array:
    """The psi of each class: the activation below which at most 1 - alpha of its rows lie."""
    psi = np.empty(classes)
    for c in range(classes):
        own = np.sort(probability[labels == c])
        psi[c] = own[allowed(alpha, len(own))]
    return psi


def region_ladder(
    rescaled: Array,
    probability: Array,
    probability_of_label: Array,
    predictions: Array,
    labels: Array,
    classes: int,
    step: float = 0.05,
) -> tuple[Region, ...]:
    """Nested regions at falling levels, each found on the rows that none above it accepts.

    Parameters
    ----------
    rescaled, probability, probability_of_label : (n,) arrays of float
        q' of calibration rows, and the activations of their predicted and true classes.
    predictions, labels : (n,) arrays of int
        Predicted and true classes.
    classes : int
        How many there are.
    step : float
        Distance between levels: 1 - step, 1 - 2 step, ... above 1/2.

    Returns
    -------
    tuple of Region
        From the highest level down.
    """
    require(0.0 < step < 0.5, f"the ladder's step must lie in (0, 0.5), got {step}")
    regions = []
    left = np.arange(len(labels))
    number = 1
    while (alpha := round(1.0 - number * step, 10)) > 0.5:
        region = find_region(
            rescaled[left], probability_of_label[left], labels[left], classes, alpha
        )
        regions.append(region)
        left = left[~region.accepts(rescaled[left], predictions[left], probability[left])]
        number += 1
    return tuple(regions)


def ladder_levels(
    ladder: tuple[Region, ...], rescaled: Array, predictions: Array, probability: Array
) -> Array:
    """The highest level whose region accepts each prediction; 0 where none does.  -> (N,)."""
    level = np.zeros(len(rescaled))
    for region in reversed(ladder):
        level[region.accepts(rescaled, predictions, probability)] = region.alpha
    return level
