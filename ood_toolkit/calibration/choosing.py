"""The calibrator with the least cross-validated loss, or the simplest that is as good."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.calibration.base import FittedCalibrator, validation_labels
from ood_toolkit.calibration.folds import stratified_folds
from ood_toolkit.calibration.likelihood import row_nll
from ood_toolkit.calibration.registry import (
    calibration_method,
    make_calibrator,
)
from ood_toolkit.chunks import located
from ood_toolkit.errors import InputError, ToolkitWarning
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["SIMPLEST_FIRST", "AutoCalibration", "FittedAuto"]

SIMPLEST_FIRST = (
    "temperature",
    "ets",
    "tempered_per_sample",
    "spline",
    "vector",
    "beta",
    "histogram",
    "isotonic",
    "bbq",
    "dirichlet",
    "matrix",
)
"""Calibrators that can be chosen among, from the one with the fewest numbers to fit."""


@calibration_method(
    "auto", keeps_prediction=False, reference="one-standard-error rule: Breiman et al., 1984"
)
@dataclass(frozen=True)
class AutoCalibration:
    """Take the simplest calibrator whose cross-validated loss is as good as the best one's.

    As good: its NLL on rows left out exceeds the least one by no more than one standard
    error of the difference, row by row.  The one chosen is fitted on all rows.

    Parameters
    ----------
    candidates : tuple
        Names to choose among; simplicity is in the order temperature, ets,
        tempered_per_sample, spline, vector, beta, histogram, isotonic, bbq, dirichlet,
        matrix.
    folds : int
        Parts that are left out in turn, at least 2.

    References
    ----------
    Breiman, Friedman, Olshen & Stone, "Classification and Regression Trees", 1984, for the
    rule of one standard error.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import AutoCalibration, Outputs
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(400, 3))
    >>> p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    >>> labels = np.array([rng.choice(3, p=row) for row in p])
    >>> AutoCalibration().fit(Outputs(logits=5 * z, labels=labels)).chosen.name
    'temperature'
    """

    candidates: tuple[str, ...] = (
        "temperature",
        "ets",
        "spline",
        "vector",
        "beta",
        "histogram",
        "isotonic",
    )
    folds: int = 5

    def __post_init__(self) -> None:
        require(len(self.candidates) > 0, "auto.candidates is empty")
        for name in self.candidates:
            require(
                name in SIMPLEST_FIRST,
                f"auto.candidates: {name!r} is none of {', '.join(SIMPLEST_FIRST)}",
            )
        require(self.folds >= 2, f"auto.folds must be at least 2, got {self.folds}")

    def fit(self, validation: Outputs, train: Outputs | None = None, /) -> FittedAuto:
        """Cross-validate the candidates and fit the one chosen.

        Raises
        ------
        InputError
            If logits or labels are missing, a row cannot be used, there are fewer rows than
            folds, or no candidate can be fitted.

        Warns
        -----
        ToolkitWarning
            For each candidate that cannot be fitted, such as on a class with one row.
        """
        labels = validation_labels("auto", validation)
        if len(labels) < self.folds:
            raise InputError(
                located(
                    validation,
                    f"auto needs as many rows as folds ({self.folds}), got {len(labels)}",
                )
            )
        names = [name for name in SIMPLEST_FIRST if name in self.candidates]
        losses: dict[str, Array] = {}
        for name in names:
            try:
                losses[name] = self._left_out(name, validation, labels)
            except InputError as reason:
                warnings.warn(f"auto leaves out {name}: {reason}", ToolkitWarning, stacklevel=3)
        if not losses:
            raise InputError(located(validation, "auto: no candidate could be fitted"))
        best = min(losses, key=lambda name: float(losses[name].mean()))
        chosen = next(name for name in losses if _as_good(losses[name], losses[best]))
        fitted: Any = make_calibrator(chosen).fit(validation)
        table = tuple((name, float(loss.mean())) for name, loss in losses.items())
        return FittedAuto(self, validation.classes, 0, fitted, table)

    def _left_out(self, name: str, validation: Outputs, labels: Array) -> Array:
        """NLL of each row under a calibrator fitted without it."""
        loss = np.empty(len(labels))
        for left_out in stratified_folds(labels, self.folds):
            with warnings.catch_warnings():
                # the chosen one is fitted again on all rows, and then warns
                warnings.simplefilter("ignore", ToolkitWarning)
                fitted = make_calibrator(name).fit(validation.rows(~left_out))
            held_out = fitted.apply(validation.rows(left_out)).logits
            assert held_out is not None
            loss[left_out] = row_nll(held_out, labels[left_out])
        return loss


@dataclass(frozen=True)
class FittedAuto(FittedCalibrator):
    """Fitted `AutoCalibration`.

    Attributes
    ----------
    chosen : FittedCalibrator
        What is applied.
    losses : tuple of (str, float)
        Cross-validated NLL of each candidate, the simplest first.
    """

    chosen: FittedCalibrator
    losses: tuple[tuple[str, float], ...]

    @property
    def keeps_prediction(self) -> bool:
        """Whether the one that was chosen does."""
        return self.chosen.keeps_prediction

    def apply(self, x: Outputs, /) -> Outputs:
        """Apply the calibrator that was chosen.

        Raises
        ------
        InputError
            As the chosen calibrator's `apply`.
        """
        self.check(x)
        return self.chosen.apply(x)

    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        return self.chosen._calibrated(z, x, part)

    def report(self) -> Mapping[str, Any]:
        """The choice, the candidates' losses, and what the chosen one reports."""
        return {
            "chosen": self.chosen.name,
            "keeps_prediction": self.keeps_prediction,
            "cross_validated_nll": dict(self.losses),
            **self.chosen.report(),
        }


def _as_good(loss: Array, least: Array) -> bool:
    """Whether the mean exceeds the least one by at most one standard error."""
    if not np.isfinite(loss).all():
        return False
    excess = loss - least
    return bool(excess.mean() <= excess.std(ddof=1) / np.sqrt(len(excess)))
