"""How easily decisions flip when probabilities are moved and predictions are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ood_toolkit.calibration import Temperature
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.evaluation.perturbation import checked_share, flatter, sharper
from ood_toolkit.metrics.inputs import least_count
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.protocols import Scorer

__all__ = ["SHARES", "Fragility", "fragility", "temperature_drift"]

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""How far towards the target probabilities are moved."""
ROUNDING = 1e-6
"""How far past the threshold, relative to it, a score must be to count as flipped: single
precision, in which stored logits are scored."""


@dataclass(frozen=True, slots=True)
class Fragility:
    """Decisions that a change of probabilities flips while every prediction stays.

    Attributes
    ----------
    threshold : float
        Rows that score at least this are accepted.
    shares : tuple of float
        How far probabilities were moved: 0 not at all, 1 to the target.
    lost : tuple of float
        Share of the accepted rows that are rejected once mixed with the uniform.
    gained : tuple of float
        Share of the rejected rows that are accepted once mixed with certainty; NaN where
        none is rejected.
    """

    threshold: float
    shares: tuple[float, ...]
    lost: tuple[float, ...]
    gained: tuple[float, ...]


def fragility(
    scorer: Scorer,
    x: Outputs,
    *,
    threshold: float | None = None,
    tpr: float = 0.95,
    shares: Sequence[float] = SHARES,
) -> Fragility:
    """Share of accept and reject decisions that flip though no prediction changes.

    Logits, members and token logits are moved; features, layers and head stay, so that a
    score of features alone flips nothing.

    Parameters
    ----------
    scorer : Scorer
        Fitted; larger = more in-distribution.
    x : Outputs
        Rows to decide on.
    threshold : float, optional
        Rows that score at least this are accepted; by default the one that accepts `tpr` of
        the rows.
    tpr : float
        In (0, 1]; not used with a threshold.
    shares : sequence of float
        Each in [0, 1).

    Returns
    -------
    Fragility
        Decisions flipped by each share; smaller is better.

    Raises
    ------
    BadParameter
        If `tpr` or a share is out of range, or there are no shares.
    InputError
        If there are no rows, nothing to move, or as the scorer.

    References
    ----------
    Zeng et al., 2024, arXiv 2407.11282.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> x = ood.Outputs(logits=np.array([[6.0, 0.0], [5.0, 0.0], [1.0, 0.0], [0.0, 4.0]]))
    >>> fragility(ood.MSP().fit(), x, tpr=0.75, shares=(0.1,)).lost
    (1.0,)
    """
    if not 0.0 < tpr <= 1.0:
        raise BadParameter(f"tpr must lie in (0, 1], got {tpr}")
    steps = tuple(float(checked_share(share)) for share in shares)
    if not steps:
        raise BadParameter("shares is empty; give one or more in [0, 1)")
    if len(x) == 0:
        raise InputError("fragility needs rows to decide on, got none")
    if x.logits is None and x.members is None and x.token_logits is None:
        raise InputError("fragility moves logits, and there are none")
    scores = scorer.score(x)
    if threshold is None:
        threshold = float(np.sort(scores)[len(scores) - least_count(tpr, len(scores))])
    accepted = scores >= threshold
    # the row that lies on the threshold has not flipped because its score was rounded anew
    slack = ROUNDING * max(1.0, abs(threshold))
    lost, gained = [], []
    for share in steps:
        lower = scorer.score(_moved(x, share, flat=True))[accepted]
        higher = scorer.score(_moved(x, share, flat=False))[~accepted]
        lost.append(_share(lower < threshold - slack))
        gained.append(_share(higher >= threshold + slack))
    return Fragility(threshold, steps, tuple(lost), tuple(gained))


def temperature_drift(x: Outputs, share: float) -> float:
    """How much a fitted temperature changes when probabilities are mixed with the uniform.

    Parameters
    ----------
    x : Outputs
        With logits and labels.
    share : float
        In [0, 1).

    Returns
    -------
    float
        New temperature over the old one; 1 where nothing changes, below 1 where the mixed
        probabilities must be sharpened.

    Raises
    ------
    BadParameter
        If the share is not in [0, 1).
    InputError
        If logits or labels are missing, or a row cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> import ood_toolkit as ood
    >>> x = ood.Outputs(logits=np.array([[4.0, 0.0]] * 4), labels=[0, 0, 0, 1])
    >>> round(temperature_drift(x, 0.5), 4)
    0.2628
    """
    before = Temperature().fit(x).temperature
    assert x.logits is not None
    moved = replace(x, logits=flatter(x.logits, share), head=None)
    return Temperature().fit(moved).temperature / before


def _share(flags: Array) -> float:
    """NaN of none at all."""
    return float(np.mean(flags)) if len(flags) else float("nan")


def _moved(x: Outputs, share: float, *, flat: bool) -> Outputs:
    move = flatter if flat else sharper

    def last_axis(array: Array | None) -> Array | None:
        if array is None:
            return None
        rows = np.asarray(array, dtype=np.float64).reshape(-1, array.shape[-1])
        return move(rows, share).reshape(array.shape)

    return replace(
        x,
        logits=last_axis(x.logits),
        members=last_axis(x.members),
        token_logits=last_axis(x.token_logits),
    )
