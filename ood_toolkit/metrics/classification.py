"""How good the class probabilities of a classifier are, by proper scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import LARGEST, excess
from ood_toolkit.metrics.inputs import (
    as_classes,
    as_flags,
    as_labels,
    as_probabilities,
    undefined,
)

__all__ = ["accuracy", "brier", "nll", "top_label_brier"]


def accuracy(predictions: Any, labels: Any) -> float:
    """Share of predictions that are the label.

    Parameters
    ----------
    predictions : (N,) array of int
        Predicted classes (not logits: take `argmax` first).
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    float
        In [0, 1], larger is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If the lengths differ or an entry is no class number.

    Examples
    --------
    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    predicted = as_classes("predictions", predictions)
    known = as_classes("labels", labels, predicted.size)
    if known.size == 0:
        return undefined("accuracy", "there are no rows")
    return float(np.mean(predicted == known))


def nll(logits: Any, labels: Any) -> float:
    """Mean negative log-likelihood of the labels under the softmax of the logits, in nats.

    Parameters
    ----------
    logits : (N, C) array of float16, bfloat16, float32 or float64
        -inf marks a masked class.
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    float
        In [0, inf], smaller is better; +inf where a label's class is masked; NaN, with a
        warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, or a row holds NaN or +inf or only -inf.

    Examples
    --------
    >>> round(nll([[2.0, 1.0, 0.1]], [0]), 9)
    0.417030016
    """
    z = np.asarray(logits)
    if z.ndim != 2 or z.shape[1] < 2:
        raise InputError(f"logits must be (N, C) with C >= 2, got shape {z.shape}")
    if z.dtype.kind in "iu":
        z = z.astype(np.float64)
    known = as_labels(labels, *z.shape)
    if known.size == 0:
        return undefined("NLL", "there are no rows")
    found = row_statistics(z, (LARGEST, excess()))
    if found.first_bad >= 0:
        raise InputError(f"logits: row {found.first_bad} holds NaN or +inf, or only -inf")
    true = np.take_along_axis(z, known[:, None], axis=1)[:, 0].astype(np.float64)
    # log-sum-exp less the true logit, but exact near 0
    return float(np.mean(found[excess()] + (found[LARGEST] - true)))


def brier(probabilities: Any, labels: Any) -> float:
    """Mean squared distance of the probabilities to the one-hot label, summed over classes.

    Parameters
    ----------
    probabilities : (N, C) array of float
        In [0, 1].
    labels : (N,) array of int
        True classes; -1 (unknown) is refused.

    Returns
    -------
    float
        In [0, 2] where rows sum to one, smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If shapes differ, a label is no class, or an entry is no probability.

    References
    ----------
    Brier, Monthly Weather Review 1950.

    Examples
    --------
    >>> brier([[0.75, 0.25], [0.5, 0.5]], [0, 1])
    0.3125
    """
    p = as_probabilities("probabilities", probabilities)
    known = as_labels(labels, *p.shape)
    if known.size == 0:
        return undefined("Brier score", "there are no rows")
    p[np.arange(known.size), known] -= 1.0
    return float(np.mean(np.einsum("nc,nc->n", p, p)))


def top_label_brier(confidence: Any, correct: Any) -> float:
    """Mean squared difference between confidence and being right.

    Parameters
    ----------
    confidence : (N,) array of float
        Probability of the predicted class, in [0, 1].
    correct : (N,) array of bool
        Whether the prediction is right.

    Returns
    -------
    float
        In [0, 1], smaller is better; NaN, with a warning, without rows.

    Raises
    ------
    InputError
        If the lengths differ or a confidence is no probability.

    Examples
    --------
    >>> top_label_brier([0.5, 1.0], [True, True])
    0.125
    """
    p = as_probabilities("confidence", confidence, axes=1)
    right = as_flags("correct", correct, p.size)
    if p.size == 0:
        return undefined("top-label Brier score", "there are no rows")
    return float(np.mean((p - right) ** 2))
