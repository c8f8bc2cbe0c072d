"""Affine maps of logits or log-probabilities: matrix scaling, Dirichlet calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_rows
from ood_toolkit.calibration.folds import stratified_folds
from ood_toolkit.calibration.likelihood import LEAST_LOG, log_softmax, row_nll
from ood_toolkit.calibration.odir import parts_of, solved
from ood_toolkit.calibration.registry import calibration_method
from ood_toolkit.calibration.temperature import best_temperature
from ood_toolkit.chunks import located
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = [
    "DirichletCalibration",
    "FittedMatrix",
    "MatrixScaling",
]

STRENGTHS = (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3)
"""Regularisation strengths that "auto" chooses from."""
FOLDS = 5
"""Parts of the validation rows that "auto" leaves out in turn."""


@calibration_method("matrix", keeps_prediction=False, reference="Guo et al., ICML 2017")
@dataclass(frozen=True)
class MatrixScaling:
    """Any affine map of the logits, with off-diagonal and intercept regularisation (ODIR).

    p = softmax(W z + b), least mean NLL + r / (C (C - 1)) sum of W_ij^2 off the diagonal
    + s / C sum of b_j^2.

    Parameters
    ----------
    off_diagonal : float or "auto"
        r, at least 0; "auto" takes the one of 10^-3 ... 10^3 with the least cross-validated
        NLL.
    intercept : float or "same"
        s, at least 0; "same" as r.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017;
    regularisation of Kull et al., "Beyond temperature scaling", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import MatrixScaling, Outputs
    >>> z = np.array([[2.0, 0.0]] * 4 + [[0.0, 2.0]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 1, 0])
    >>> fitted = MatrixScaling(off_diagonal=1.0).fit(validation)
    >>> fitted.weight.round(3)
    array([[0.549, 0.   ],
           [0.   , 0.549]])
    """

    off_diagonal: float | Literal["auto"] = "auto"
    intercept: float | Literal["same"] = "same"

    def __post_init__(self) -> None:
        _check_strengths("matrix", self.off_diagonal, self.intercept)

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedMatrix:
        """Find the map.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used or has a masked class, or
            a class has no row.
        """
        z, labels = validation_rows("matrix", validation, every_class=True)
        _refuse_masked(validation, z)
        inverse = 1.0 / best_temperature(validation, labels)[0]
        return _fitted(self, z, labels, inverse * np.eye(z.shape[1]))


@calibration_method("dirichlet", keeps_prediction=False, reference="Kull et al., NeurIPS 2019")
@dataclass(frozen=True)
class DirichletCalibration:
    """Any affine map of the log-probabilities, with the regularisation ODIR.

    p = softmax(W ln softmax(z) + b), least mean NLL + r / (C (C - 1)) sum of W_ij^2 off the
    diagonal + s / C sum of b_j^2.  Probabilities below 1e-300 count as that.

    Parameters
    ----------
    off_diagonal : float or "auto"
        r, at least 0; "auto" takes the one of 10^-3 ... 10^3 with the least cross-validated
        NLL.
    intercept : float or "same"
        s, at least 0; "same" as r.

    References
    ----------
    Kull, Perello-Nieto, Kangsepp, Silva Filho, Song & Flach, "Beyond temperature scaling:
    Obtaining well-calibrated multiclass probabilities with Dirichlet calibration", NeurIPS
    2019.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import DirichletCalibration, Outputs
    >>> z = np.array([[2.0, 0.0]] * 4 + [[0.0, 2.0]] * 4)
    >>> validation = Outputs(logits=z, labels=[0, 0, 0, 1, 1, 1, 1, 0])
    >>> fitted = DirichletCalibration(off_diagonal=0.1).fit(validation)
    >>> np.diff(fitted.apply(validation).logits)[[0, 4]].round(3)
    array([[-1.099],
           [ 1.099]])
    """

    off_diagonal: float | Literal["auto"] = "auto"
    intercept: float | Literal["same"] = "same"

    def __post_init__(self) -> None:
        _check_strengths("dirichlet", self.off_diagonal, self.intercept)

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedMatrix:
        """Find the map.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, or a class has no row.
        """
        z, labels = validation_rows("dirichlet", validation, every_class=True)
        return _fitted(self, _logs(z), labels, np.eye(z.shape[1]))


@dataclass(frozen=True)
class FittedMatrix(FittedCalibrator):
    """Fitted `MatrixScaling` or `DirichletCalibration`.

    Attributes
    ----------
    weight : (C, C) array of float64
        Row i makes logit i.
    shift : (C,) array of float64
        Added to each logit.
    strength : float
        Regularisation of the off-diagonal weights that was used.
    """

    weight: Array
    shift: Array
    strength: float

    shapes = {"weight": "C C", "shift": "C"}

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        if isinstance(self.calibrator, DirichletCalibration):
            mapped = _logs(z) @ self.weight.T + self.shift
            return np.where(np.isfinite(z), mapped, -np.inf)
        _refuse_masked(x, z, part.start)
        return np.asarray(z @ self.weight.T + self.shift)

    def report(self) -> Mapping[str, Any]:
        """The regularisation in use and the largest off-diagonal weight."""
        off = self.weight - np.diag(np.diag(self.weight))
        return {"off_diagonal": self.strength, "largest_off_diagonal": float(np.abs(off).max())}


def _check_strengths(name: str, off_diagonal: Any, intercept: Any) -> None:
    for key, value, word in (
        ("off_diagonal", off_diagonal, "auto"),
        ("intercept", intercept, "same"),
    ):
        require(value == word or value >= 0.0, f"{name}.{key} must be >= 0, got {value}")


def _logs(z: Array) -> Array:
    """Log-probabilities, cut off where they say no more."""
    return np.maximum(log_softmax(z), LEAST_LOG)


def _refuse_masked(x: Outputs, z: Array, start: int = 0) -> None:
    masked = ~np.isfinite(z).all(axis=1)
    if masked.any():
        raise InputError(
            located(
                x,
                f"logits: row {start + int(np.argmax(masked))} has a masked class (-inf), which "
                "matrix cannot mix with others; use vector or dirichlet",
            )
        )


def _fitted(calibrator: Any, inputs: Array, labels: Array, start: Array) -> FittedMatrix:
    classes = inputs.shape[1]
    strength = calibrator.off_diagonal
    if strength == "auto":
        strength = _best_strength(calibrator, inputs, labels, start)
    theta = solved(calibrator, inputs, labels, _flat(start), strength)
    weight, shift = parts_of(theta, classes)
    return FittedMatrix(calibrator, classes, 0, weight.copy(), shift.copy(), float(strength))


def _flat(start: Array) -> Array:
    return np.concatenate([start.ravel(), np.zeros(len(start))])


def _best_strength(calibrator: Any, inputs: Array, labels: Array, start: Array) -> float:
    """The strength with the least cross-validated NLL; the strongest of equals."""
    classes = inputs.shape[1]
    total = np.zeros(len(STRENGTHS))
    for left_out in stratified_folds(labels, FOLDS):
        kept = ~left_out
        theta = _flat(start)
        for i, strength in enumerate(STRENGTHS):
            # each solution is where the search for the next, weaker one begins
            theta = solved(calibrator, inputs[kept], labels[kept], theta, strength, 1e-6)
            weight, shift = parts_of(theta, classes)
            total[i] += row_nll(inputs[left_out] @ weight.T + shift, labels[left_out]).sum()
    return STRENGTHS[int(np.argmin(total))]
