"""Moving probabilities while every prediction stays."""

from __future__ import annotations

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.outputs import Array

__all__ = ["argmax_preserving_perturbation", "checked_share", "entropy", "flatter", "sharper"]

LEAD = 1e-3
"""How much more than the others the prediction keeps in the flattest target."""
STEPS = 60
"""Halvings of the search for a target entropy: all the digits of float64."""


def flatter(z: Array, share: float) -> Array:
    """Logits of (1 - share) p + share u, u uniform over the classes that are not masked.

    Parameters
    ----------
    z : (N, C) array of float
        Logits; -inf is a masked class.
    share : float
        In [0, 1); below 1 the prediction stays.

    Returns
    -------
    (N, C) array of float64
        With the log-sum-exp that each row had, so that only what the softmax says changes.

    Raises
    ------
    BadParameter
        If the share is not in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(flatter(np.log([[0.7, 0.2, 0.1]]), 0.5)).round(4)
    array([[0.5167, 0.2667, 0.2167]])
    """
    p, total = _opened(z)
    return _closed(_mixed(p, _uniform(z), checked_share(share)), total, z)


def sharper(z: Array, share: float) -> Array:
    """Logits of (1 - share) p + share e, e certain of the prediction.

    Parameters
    ----------
    z : (N, C) array of float
        Logits; -inf is a masked class.
    share : float
        In [0, 1); the prediction stays.

    Returns
    -------
    (N, C) array of float64
        With the log-sum-exp that each row had.

    Raises
    ------
    BadParameter
        If the share is not in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(sharper(np.log([[0.7, 0.2, 0.1]]), 0.5)).round(4)
    array([[0.85, 0.1 , 0.05]])
    """
    p, total = _opened(z)
    return _closed(_mixed(p, _certain(z), checked_share(share)), total, z)


def argmax_preserving_perturbation(z: Array, target_entropy: float) -> Array:
    """Logits whose softmax have the entropy wanted and the predictions they had.

    A row of less entropy is mixed with the nearly uniform distribution that gives the
    prediction 0.001 more than the others, a row of more with certainty.

    Parameters
    ----------
    z : (N, C) array of float
        Logits; -inf is a masked class.
    target_entropy : float
        In nats, at least 0; a row whose classes cannot reach it comes as near as it can.

    Returns
    -------
    (N, C) array of float64
        With the log-sum-exp that each row had.

    Raises
    ------
    BadParameter
        If the target is negative or not finite.

    References
    ----------
    Zeng et al., "Uncertainty is Fragile: Manipulating Uncertainty in Large Language Models",
    2024, arXiv 2407.11282, whose backdoor does this to a model; the closed form is ours.

    Examples
    --------
    >>> import numpy as np
    >>> z = argmax_preserving_perturbation(np.array([[8.0, 0.0, 0.0]]), 1.0)
    >>> p = np.exp(z) / np.exp(z).sum()
    >>> z.argmax(), -(p * np.log(p)).sum().round(6)
    (np.int64(0), np.float64(1.0))
    """
    if not 0.0 <= target_entropy < np.inf:
        raise BadParameter(f"target_entropy must be at least 0 and finite, got {target_entropy}")
    p, total = _opened(z)
    flat = _mixed(_uniform(z), _certain(z), np.array(LEAD))
    goal = np.where((entropy(p) < target_entropy)[:, None], flat, _certain(z))
    upward = entropy(p) < target_entropy
    low, high = np.zeros(len(p)), np.ones(len(p))
    for _ in range(STEPS):  # entropy moves one way along each mixture
        middle = 0.5 * (low + high)
        found = entropy(_mixed(p, goal, middle[:, None]))
        short = np.where(upward, found < target_entropy, found > target_entropy)
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return _closed(_mixed(p, goal, (0.5 * (low + high))[:, None]), total, z)


def entropy(p: Array) -> Array:
    """In nats.  (N, C) -> (N,)"""
    return np.asarray(-np.sum(p * np.log(np.where(p > 0.0, p, 1.0)), axis=1))


def checked_share(share: float) -> Array:
    """The share as an array of no axes; `BadParameter` unless it lies in [0, 1)."""
    if not 0.0 <= share < 1.0:
        raise BadParameter(f"a share must lie in [0, 1), got {share}")
    return np.asarray(share, dtype=np.float64)


def _opened(z: Array) -> tuple[Array, Array]:
    """Probabilities, and the (N, 1) log-sum-exp of each row."""
    wide = np.asarray(z, dtype=np.float64)
    p, bad = softmax_rows(wide)
    if bad >= 0:
        raise InputError(f"logits: row {bad} holds NaN or +inf, or only -inf; remove or repair it")
    top = wide.max(axis=1, keepdims=True)
    return p, top + np.log(np.exp(wide - top).sum(axis=1, keepdims=True))


def _closed(p: Array, total: Array, z: Array) -> Array:
    """Logits of probabilities, with a given log-sum-exp and the prediction that there was."""
    with np.errstate(divide="ignore"):  # a masked class stays masked
        new: Array = np.log(p) + total
    rows, predicted = np.arange(len(z)), np.asarray(z).argmax(axis=1)
    # where a tie was only broken by digits that are gone
    lost = new.argmax(axis=1) != predicted
    new[rows[lost], predicted[lost]] = np.nextafter(new[lost].max(axis=1), np.inf)
    return new


def _mixed(p: Array, goal: Array, share: Array) -> Array:
    return np.asarray((1.0 - share) * p + share * goal)


def _uniform(z: Array) -> Array:
    seen = np.isfinite(np.asarray(z, dtype=np.float64))
    return np.asarray(seen / seen.sum(axis=1, keepdims=True))


def _certain(z: Array) -> Array:
    sure = np.zeros(np.shape(z))
    sure[np.arange(len(z)), np.asarray(z).argmax(axis=1)] = 1.0
    return sure
