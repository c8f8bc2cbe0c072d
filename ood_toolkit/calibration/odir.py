"""Affine maps of least NLL under off-diagonal and intercept regularisation (ODIR)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ood_toolkit.calibration.likelihood import (
    log_softmax,
    minimum,
    newton_minimum,
    softmax_loss,
)
from ood_toolkit.calibration.registry import method_of_calibrator
from ood_toolkit.outputs import Array

__all__ = ["curvature_of", "objective_of", "parts_of", "solved"]

NEWTON_CLASSES = 20
"""Up to so many classes second derivatives are used, a matrix of (C^2 + C, C^2 + C)."""
LEAST_GAIN = 1e-7
"""Share of the loss that a step of the search must gain where there are more classes: the
last digits of tens of thousands of numbers take most of the time, and mean nothing."""


def parts_of(theta: Array, classes: int) -> tuple[Array, Array]:
    """Weight and shift."""
    return theta[: classes**2].reshape(classes, classes), theta[classes**2 :]


def _penalties(calibrator: Any, classes: int, strength: float) -> tuple[Array, float]:
    """What each squared weight and each squared shift costs."""
    on_shift = strength if calibrator.intercept == "same" else calibrator.intercept
    off = strength * (1.0 - np.eye(classes)) / (classes * (classes - 1))
    return off, on_shift / classes


def objective_of(
    calibrator: Any, inputs: Array, labels: Array, strength: float
) -> Callable[[Array], tuple[float, Array]]:
    """The regularised mean NLL and its gradient by weights, row by row, then shifts."""
    classes = inputs.shape[1]
    off, on_shift = _penalties(calibrator, classes, strength)

    def objective(theta: Array) -> tuple[float, Array]:
        weight, shift = parts_of(theta, classes)
        loss, slope = softmax_loss(inputs @ weight.T + shift, labels)
        loss += float((off * weight**2).sum() + on_shift * (shift @ shift))
        by_weight = slope.T @ inputs + 2.0 * off * weight
        by_shift = slope.sum(axis=0) + 2.0 * on_shift * shift
        return loss, np.concatenate([by_weight.ravel(), by_shift])

    return objective


def curvature_of(calibrator: Any, inputs: Array, strength: float) -> Callable[[Array], Array]:
    """Second derivatives of the objective by weights, row by row, then shifts."""
    rows, classes = inputs.shape
    off, on_shift = _penalties(calibrator, classes, strength)
    wide = np.column_stack([inputs, np.ones(rows)])
    penalty = 2.0 * np.concatenate([off.ravel(), np.full(classes, on_shift)])

    def curvature(theta: Array) -> Array:
        weight, shift = parts_of(theta, classes)
        p = np.exp(log_softmax(inputs @ weight.T + shift)) / rows
        blocks = np.empty((classes, classes + 1, classes, classes + 1))
        for i in range(classes):
            for j in range(i, classes):
                share = p[:, i] * ((i == j) - rows * p[:, j])
                blocks[i, :, j] = wide.T @ (wide * share[:, None])
                blocks[j, :, i] = blocks[i, :, j]
        # the last number of each row of blocks belongs to the shift: all of those go last
        order = np.arange(classes * (classes + 1)).reshape(classes, classes + 1)
        order = np.concatenate([order[:, :-1].ravel(), order[:, -1]])
        bend: Array = blocks.reshape(order.size, order.size)[np.ix_(order, order)]
        bend[np.diag_indices_from(bend)] += penalty
        return bend

    return curvature


def solved(
    calibrator: Any, inputs: Array, labels: Array, start: Array, strength: float,
    tolerance: float = 1e-9,
) -> Array:  # fmt: skip
    """Weights and shifts of least objective, from `start` on."""
    name, classes = method_of_calibrator(calibrator).name, inputs.shape[1]
    objective = objective_of(calibrator, inputs, labels, strength)
    if classes > NEWTON_CLASSES:
        return minimum(name, objective, start, tolerance=tolerance, least_gain=LEAST_GAIN)
    if strength == 0.0:  # adding one vector to all rows of the weight then changes nothing
        return minimum(name, objective, start, tolerance=tolerance)

    def logits(theta: Array) -> Array:
        weight, shift = parts_of(theta, classes)
        return np.asarray(inputs @ weight.T + shift)

    curvature = curvature_of(calibrator, inputs, strength)
    return newton_minimum(name, objective, curvature, start, logits, tolerance)
