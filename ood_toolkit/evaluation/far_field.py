"""Does a score notice that inputs have gone far away? Rays from the origin, followed outwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["FACTORS", "FarField", "along_ray", "far_field"]

FACTORS = tuple(2.0**k for k in range(11))
"""How far out rows are moved: up to 1024 times their own distance from the origin."""
SETTLED = 1e-3
"""Relative change over the last doubling under which a score counts as constant."""


@dataclass(frozen=True, slots=True)
class FarField:
    """What becomes of a score as inputs grow.

    Attributes
    ----------
    factors : tuple of float
        What rows were multiplied by, ascending.
    median : float
        Of the scores of the rows where they are.
    confident : tuple of float
        Share of rays whose score at each factor is at least `median`.
    settled, rising, falling : float
        Shares of rays on which the last step changes the score by a relative 1e-3 or less,
        raises it by more, or lowers it by more; they sum to 1.
    change : float
        Median over rays of the relative size of that last change.
    """

    factors: tuple[float, ...]
    median: float
    confident: tuple[float, ...]
    settled: float
    rising: float
    falling: float
    change: float

    @property
    def far(self) -> float:
        """Share of rays still confident at the largest factor; smaller is better."""
        return self.confident[-1]


def along_ray(x: Outputs, factor: float) -> Outputs:
    """The rows of `x` at `factor` times their distance from the origin.

    Features and further layers are multiplied; logits follow through the head where there
    are features and a head, and are multiplied too where not, as those of a network of
    rectified linear units are far from the origin.  So are members and token logits.

    Parameters
    ----------
    x : Outputs
        In-distribution rows.
    factor : float
        Above 0 and finite.

    Returns
    -------
    Outputs
        New float64 arrays, without labels; a masked logit (-inf) stays one.

    Raises
    ------
    BadParameter
        If the factor is not above 0 and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> head = ood.Head(weight=np.eye(2), bias=np.array([1.0, 0.0]))
    >>> x = ood.Outputs(features=np.array([[2.0, 1.0]]), head=head)
    >>> along_ray(x, 10.0).logits
    array([[21., 10.]])
    """
    if not 0.0 < factor < np.inf:
        raise BadParameter(f"a factor along a ray must be above 0 and finite, got {factor}")

    def grown(array: Array | None) -> Array | None:
        return None if array is None else np.asarray(array, dtype=np.float64) * factor

    through_head = x.features is not None and x.head is not None
    return replace(
        x,
        logits=None if through_head else grown(x.logits),
        features=grown(x.features),
        layers={name: np.asarray(a, dtype=np.float64) * factor for name, a in x.layers.items()},
        members=grown(x.members),
        token_logits=grown(x.token_logits),
        labels=None,
    )


def far_field(scorer: Scorer, x: Outputs, factors: Sequence[float] = FACTORS) -> FarField:
    """Follow a score along rays from the origin through each row.

    Classifiers of rectified linear units grow ever more certain along almost every ray: what
    a score of the softmax says there is that of a vertex.  A score that notices distance
    falls; one of directions alone stays as it was.

    Parameters
    ----------
    scorer : Scorer
        Fitted; larger = more in-distribution.
    x : Outputs
        In-distribution rows, which the rays go through.
    factors : sequence of float
        Two or more, above 0 and ascending.

    Returns
    -------
    FarField
        Share of rays that stay confident at each factor, and how the score ends.

    Raises
    ------
    BadParameter
        If there are fewer than two factors, or they do not ascend from above 0.
    InputError
        If there are no rows, or as the scorer.

    References
    ----------
    Ulmer & Cina, "Know Your Limits: Uncertainty Estimation with ReLU Classifiers Fails at
    Reliable OOD Detection", UAI 2021, arXiv 2012.05329, for what happens along rays.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> rng = np.random.default_rng(0)
    >>> f = rng.normal(size=(200, 3)) + 4 * np.eye(3)[np.arange(200) % 3]
    >>> x = ood.Outputs(logits=f, features=f, labels=np.arange(200) % 3)
    >>> round(far_field(ood.MSP().fit(), x).far, 2)
    1.0
    >>> round(far_field(ood.Mahalanobis().fit(x), x).far, 2)
    0.0
    """
    steps = tuple(float(factor) for factor in factors)
    if len(steps) < 2 or steps[0] <= 0.0 or not (np.diff(steps) > 0.0).all():
        raise BadParameter(f"factors must be two or more that ascend from above 0, got {steps}")
    if len(x) == 0:
        raise InputError("the far field needs in-distribution rows, got none")
    median = float(np.median(scorer.score(x)))
    confident, before, last = [], np.empty(0), np.empty(0)
    for factor in steps:
        before, last = last, scorer.score(along_ray(x, factor))
        confident.append(float(np.mean(last >= median)))
    change = relative_change(before, last)
    moving = np.abs(change) > SETTLED
    return FarField(
        steps,
        median,
        tuple(confident),
        float(np.mean(~moving)),
        float(np.mean(moving & (change > 0.0))),
        float(np.mean(moving & (change < 0.0))),
        float(np.median(np.abs(change))),
    )


def relative_change(before: Array, after: Array) -> Array:
    """(after - before) over the larger of their sizes, in [-2, 2]; 0 between equals.

    To or from an infinite score it is 1 upwards and -1 downwards.
    """
    equal = before == after
    ends = np.isinf(before) | np.isinf(after)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = (after - before) / np.maximum(np.abs(before), np.abs(after))
    change = np.where(ends, np.where(after > before, 1.0, -1.0), change)
    return np.where(equal, 0.0, change)
