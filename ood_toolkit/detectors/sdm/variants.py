"""Two ways from similarity, distance and logits to a probability and a rescaled similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ood_toolkit.detectors.sdm.activation import (
    activation_scale,
    rescaled_similarity,
    rival_mass,
    sdm_activation,
)
from ood_toolkit.outputs import Array

__all__ = [
    "Activations",
    "Evidence",
    "Judged",
    "Variant",
    "Verification",
    "class_activations",
    "verification_weight",
]

STEPS = 1000
"""Steps of the fit of the verification weights."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n predictions.

    Attributes
    ----------
    logits : (n, C) float64 array
        Divided by the temperature.
    predictions, similarity : (n,) int64 arrays
        Predicted class; q.
    quantile : (n,) float64 array
        The distance quantile d.
    """

    logits: Array
    predictions: Array
    similarity: Array
    quantile: Array


@dataclass(frozen=True, slots=True)
class Judged:
    """What a variant makes of n predictions.

    Attributes
    ----------
    probabilities : (n, C) float64 array
        Activations.
    rivals : (n,) float64 array
        (1 - p) / p of the predicted class.
    rescaled : (n,) float64 array
        The rescaled similarity, 0 where a prediction is not borne out.
    """

    probabilities: Array
    rivals: Array
    rescaled: Array

    def of(self, classes: Array) -> Array:
        """The activation of one class a row.  (n,) -> (n,)."""
        return np.asarray(self.probabilities[np.arange(len(classes)), classes])


class Variant(Protocol):
    """A rule from evidence to probability and rescaled similarity."""

    def judge(self, rows: Evidence, shift: Array | None = None) -> Judged:
        """Judge rows; (n, C) widths shift what is estimated, down where negative."""
        ...


@dataclass(frozen=True, slots=True)
class Activations:
    """The SDM activation: softmax(ln(2 + q) d z), and q' = min(q, (2 + q)^p)."""

    def judge(self, rows: Evidence, shift: Array | None = None) -> Judged:
        """Judge rows; the widest shift of a row moves its distance quantile."""
        d = rows.quantile
        if shift is not None:
            widest = shift[np.arange(len(d)), np.abs(shift).argmax(axis=1)]
            d = np.clip(d + widest, 0.0, 1.0)
        probabilities = sdm_activation(rows.logits, rows.similarity, d)
        rivals = rival_mass(rows.logits, rows.predictions, activation_scale(rows.similarity, d))
        rescaled = rescaled_similarity(rows.similarity, 1.0 / (1.0 + rivals))
        return Judged(probabilities, rivals, rescaled)


@dataclass(frozen=True)
class Verification:
    """The older variant: class-wise quantiles of the activation, weighted once more.

    v_c is the share of the calibration rows of class c whose activation of c is smaller; the
    rescaled similarity is v_y ln(2 + q) of the prediction y; the probability is the softmax
    with base 2 + that of W v.  Where its largest entry is not the prediction, or the rescaled
    similarity is below 1, the row counts as out-of-distribution and has similarity 0.

    Parameters
    ----------
    activations : tuple of C sorted arrays
        Of calibration rows of each class, the activation of that class.
    weight : (C, C) array of float64
        W.
    """

    activations: tuple[Array, ...]
    weight: Array

    def quantiles(self, rows: Evidence) -> Array:
        """The v of each row and class.  -> (n, C) float64."""
        p = sdm_activation(rows.logits, rows.similarity, rows.quantile)
        v = np.zeros_like(p)
        for c, known in enumerate(self.activations):
            if len(known):
                smaller = np.searchsorted(known, p[:, c], side="left") / len(known)
                v[:, c] = np.where(p[:, c] >= known[-1], 1.0, smaller)
        return v

    def judge(self, rows: Evidence, shift: Array | None = None) -> Judged:
        """Judge rows; shifts move the prediction's quantile, and the others' the other way."""
        v = self.quantiles(rows)
        every = np.arange(len(v))
        if shift is not None:
            moved = v - shift
            moved[every, rows.predictions] += 2.0 * shift[every, rows.predictions]
            v = np.clip(moved, 0.0, 1.0)
        rescaled = v[every, rows.predictions] * np.log(2.0 + rows.similarity)
        z = v @ self.weight.T
        probabilities = sdm_activation(z, rescaled, np.ones(len(z)))
        own = probabilities[every, rows.predictions]
        upheld = (probabilities.argmax(axis=1) == rows.predictions) & (rescaled >= 1.0)
        with np.errstate(divide="ignore"):
            rivals = (1.0 - own) / own
        return Judged(probabilities, rivals, np.where(upheld, rescaled, 0.0))


def class_activations(rows: Evidence, labels: Array, classes: int) -> tuple[Array, ...]:
    """Sorted activations of their own class, of the calibration rows of each class."""
    p = sdm_activation(rows.logits, rows.similarity, rows.quantile)
    return tuple(np.sort(p[labels == c, c]) for c in range(classes))


def verification_weight(rows: Evidence, labels: Array, classes: int) -> Array:
    """Fit W of the verification variant.

    As many steps of gradient descent, from the identity, on the mean loss to the base 2 plus
    the rescaled similarity, as the authors take passes over the rows; the loss is convex in W,
    and the step the longest that is sure to lower it.

    Parameters
    ----------
    rows : Evidence
        Of the calibration rows.
    labels : (n,) array of int
        True classes.
    classes : int
        How many there are.

    Returns
    -------
    (C, C) array of float64
        One row a class.
    """
    weight = np.eye(classes)
    v = Verification(class_activations(rows, labels, classes), weight).quantiles(rows)
    every = np.arange(len(labels))
    scale = np.log(2.0 + v[every, rows.predictions] * np.log(2.0 + rows.similarity))
    curvature = 0.5 * float((scale * (v * v).sum(axis=1)).mean())
    for _ in range(STEPS):
        z = v @ weight.T * scale[:, np.newaxis]
        slope = np.exp(z - z.max(axis=1, keepdims=True))
        slope /= slope.sum(axis=1, keepdims=True)
        slope[every, labels] -= 1.0
        weight = weight - slope.T @ v / len(v) / max(curvature, 1.0)
    return weight
