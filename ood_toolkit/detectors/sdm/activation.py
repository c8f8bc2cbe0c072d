"""The SDM activation and its loss: a softmax whose base and scale know the training data.

q, the similarity, counts nearest training rows that agree with a prediction; d, the distance
quantile, says how usual the distance to them is.  Both come from `matching` and `distances`;
here they are numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array

__all__ = [
    "activation_scale",
    "balanced_sdm_loss",
    "rescaled_similarity",
    "rival_mass",
    "sdm_activation",
    "sdm_log_activation",
    "sdm_loss",
]


def activation_scale(similarity: Any, distance: Any) -> Array:
    """Ln(2 + q) d: what logits are multiplied by.  (N,) and (N,) -> (N,) float64."""
    return np.asarray(np.log(2.0 + np.asarray(similarity, dtype=np.float64)) * distance)


def sdm_log_activation(logits: Any, similarity: Any, distance: Any) -> Array:
    """Natural logarithm of the SDM activation.

    Parameters
    ----------
    logits : (N, C) array of float
        -inf marks a masked class.
    similarity : (N,) array of float
        q >= 0: matching nearest training rows.
    distance : (N,) array of float
        d in [0, 1]; 1 is as near as any, 0 is farther than all.

    Returns
    -------
    (N, C) array of float64
        ln of probabilities; larger = more of the row's mass on the class.

    Raises
    ------
    InputError
        If shapes disagree.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760, equation 10.

    Examples
    --------
    >>> sdm_log_activation([[2.0, -1.0]], [3], [0.5]).round(6)
    array([[-0.085666, -2.499823]])
    """
    scaled = _below_the_top(logits, activation_scale(similarity, distance))
    lost = np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return np.asarray(scaled - lost)


def sdm_activation(logits: Any, similarity: Any, distance: Any) -> Array:
    """SDM activation: the softmax with base 2 + q of logits times d.

    softmax(ln(2 + q) d z): the softmax itself at q = e - 2 and d = 1, uniform over the
    unmasked classes at d = 0.  The prediction, the largest logit, stays the same for d > 0.

    Parameters
    ----------
    logits : (N, C) array of float
        -inf marks a masked class.
    similarity : (N,) array of float
        q >= 0: matching nearest training rows.
    distance : (N,) array of float
        d in [0, 1]; 1 is as near as any, 0 is farther than all.

    Returns
    -------
    (N, C) array of float64
        Probabilities; rows sum to one.

    Raises
    ------
    InputError
        If shapes disagree.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760, equation 6.

    Examples
    --------
    >>> from ood_toolkit import sdm_activation
    >>> sdm_activation([[2.0, -1.0], [2.0, -1.0]], [0, 3], [0.75, 0.0]).round(6)
    array([[0.826293, 0.173707],
           [0.5     , 0.5     ]])
    """
    raised = np.exp(_below_the_top(logits, activation_scale(similarity, distance)))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sdm_loss(logits: Any, similarity: Any, distance: Any, labels: Any) -> Array:
    """SDM loss of each row: -log to the base 2 + q of the label's activation.

    Parameters
    ----------
    logits : (N, C) array of float
        -inf marks a masked class.
    similarity : (N,) array of float
        q >= 0.
    distance : (N,) array of float
        d in [0, 1]; at 0 the loss is a constant, ln C / ln(2 + q).
    labels : (N,) array of int
        Classes 0 ... C-1.

    Returns
    -------
    (N,) array of float64
        0 or more; smaller is better.  Ordinary cross-entropy at q = e - 2 and d = 1.

    Raises
    ------
    InputError
        If shapes disagree.

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760, equation 7.

    Examples
    --------
    >>> from ood_toolkit import sdm_loss
    >>> sdm_loss([[2.0, -1.0]], [3], [0.5], [0]).round(6)
    array([0.053227])
    """
    logs = sdm_log_activation(logits, similarity, distance)
    own = logs[np.arange(len(logs)), np.asarray(labels)]
    return np.asarray(-own / np.log(2.0 + np.asarray(similarity, dtype=np.float64)))


def balanced_sdm_loss(logits: Any, similarity: Any, distance: Any, labels: Any) -> float:
    """Mean over the classes that have rows of the mean SDM loss of their rows.

    Raises
    ------
    InputError
        If there are no rows.
    """
    y = np.asarray(labels)
    if y.size == 0:
        raise InputError("a balanced loss needs at least one row")
    losses = sdm_loss(logits, similarity, distance, y)
    count = np.bincount(y)
    return float((np.bincount(y, losses)[count > 0] / count[count > 0]).mean())


def rescaled_similarity(similarity: Any, probability: Any) -> Array:
    """The rescaled similarity q' = min(q, (2 + q)^p): what of q the activation bears out.

    (N,) and (N,) -> (N,) float64 in [0, q]; 0 only where q is.  Equation 8 of the paper.
    """
    q = np.asarray(similarity, dtype=np.float64)
    return np.asarray(np.minimum(q, (2.0 + q) ** np.asarray(probability, dtype=np.float64)))


def rival_mass(logits: Array, predictions: Array, scale: Array) -> Array:
    """Activation beside the prediction's, in units of it: (1 - p) / p, exact where tiny.

    (N, C), (N,) and (N,) -> (N,) float64; `predictions` hold the place of a largest logit.
    """
    raised = np.exp(_below_the_top(logits, scale))
    raised[np.arange(len(raised)), predictions] = 0.0
    return np.asarray(raised.sum(axis=1))


def _below_the_top(logits: Any, scale: Array) -> Array:
    """Logits below their largest times the scale; masked classes are -inf at a scale of 0 too."""
    z = np.array(logits, dtype=np.float64)
    if z.ndim != 2 or scale.shape != z.shape[:1]:
        raise InputError(
            f"logits must be (N, C), similarity and distance (N,); got {z.shape} and {scale.shape}"
        )
    with np.errstate(over="ignore"):  # a difference beyond float64 is a probability of 0
        z -= z.max(axis=1, keepdims=True)
        masked = np.isneginf(z)
        z[masked] = 0.0
        z *= scale[:, np.newaxis]
    z[masked] = -np.inf
    return z
