"""What every fitted calibrator shares, and the checks of the rows it is fitted on."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ood_toolkit.calibration.registry import CALIBRATOR_KINDS, method_of_calibrator
from ood_toolkit.chunks import located, logit_chunks, warn_of_probabilities
from ood_toolkit.errors import InputError
from ood_toolkit.given import expect_outputs, head_hint
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import check_axes
from ood_toolkit.streamed import refuse_all_rows

__all__ = ["FittedCalibrator", "stacked_logits", "validation_labels", "validation_rows"]


@dataclass(frozen=True)
class FittedCalibrator(ABC):
    """A fitted calibrator: new logits from old ones.

    Attributes
    ----------
    calibrator : object
        The hyper-parameters it was fitted with.
    classes, dims : int
        Classes and feature columns it was fitted on; 0 where any number will do.
    """

    calibrator: Any
    classes: int
    dims: int

    shapes: ClassVar[Mapping[str, str]] = {}
    """Axes of each array field; C and D are `classes` and `dims`, other letters bind."""
    infinite: ClassVar[frozenset[str]] = frozenset()
    """Array fields that may hold infinity."""

    def __init_subclass__(cls) -> None:
        CALIBRATOR_KINDS[cls.__name__] = cls

    def __post_init__(self) -> None:
        check_axes(self, self.name)

    @property
    def name(self) -> str:
        """The calibrator's name in the list."""
        return method_of_calibrator(self.calibrator).name

    @property
    def keeps_prediction(self) -> bool:
        """Whether the class with the largest probability always stays the same."""
        return method_of_calibrator(self.calibrator).keeps_prediction

    def apply(self, x: Outputs, /) -> Outputs:
        """Replace the logits by calibrated ones.

        Parameters
        ----------
        x : Outputs
            A record with the parts that the calibrator needs.

        Returns
        -------
        Outputs
            The record with new (N, C) float64 logits, whose softmax are the calibrated
            probabilities; -inf where one of them is zero.  The head is left out, since it
            does not make these logits; members keep what they said.

        Raises
        ------
        InputError
            If a part is missing, a dimension differs from the fit's, or a row holds NaN
            or infinity where it may not.
        """
        self.check(x)
        keeps = self.keeps_prediction
        calibrated = np.empty((len(x), x.classes))
        for part, chunk in logit_chunks(x):
            calibrated[part] = self._calibrated(chunk, x, part)
            if keeps:
                _keep_predictions(calibrated[part], chunk.argmax(axis=1))
        return replace(x, logits=calibrated, head=None)

    def check(self, x: Outputs) -> None:
        """Raise `InputError` unless `x` has the parts and dimensions that are needed."""
        expect_outputs(x)
        missing = method_of_calibrator(self.calibrator).missing(x.has())
        if missing:
            needs = f"{self.name} needs {' and '.join(missing)}"
            raise InputError(located(x, needs + head_hint(x, missing)))
        if self.classes and x.classes != self.classes:
            raise InputError(
                located(
                    x, f"{x.classes} classes, but {self.name} was fitted on {self.classes} classes"
                )
            )
        if self.dims and x.features is not None and x.features.shape[1] != self.dims:
            raise InputError(
                located(
                    x,
                    f"features have {x.features.shape[1]} columns, but {self.name} was "
                    f"fitted on {self.dims}",
                )
            )

    @abstractmethod
    def _calibrated(self, z: Array, x: Outputs, part: slice) -> Array:
        """(n, C) float64 logits of the rows `part` of `x` -> their calibrated logits."""

    def report(self) -> Mapping[str, Any]:
        """What the fit found that a user should know, such as the temperature."""
        return {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibrator to a `.safetensors` file that `load_calibrator` reads back."""
        from ood_toolkit.calibration.saving import save_calibrator

        save_calibrator(self, path)


def _keep_predictions(new: Array, predicted: Array) -> None:
    """Lift the predicted class just above what rounding, or a plateau, has tied it with."""
    lost = np.flatnonzero(new.argmax(axis=1) != predicted)
    others = new[lost]
    others[np.arange(len(lost)), predicted[lost]] = -np.inf
    new[lost, predicted[lost]] = np.nextafter(others.max(axis=1), np.inf)


def validation_labels(name: str, validation: Outputs | None, *, every_class: bool = False) -> Array:
    """Labels to fit on, all known and none of a masked class.

    Raises
    ------
    InputError
        If logits or labels are missing, there are no rows, a label is unknown, the logit of
        a label's class is -inf, or, with `every_class`, a class has no row.

    Warns
    -----
    ToolkitWarning
        If the logits look like probabilities.
    """
    if validation is None:
        raise InputError(f"{name} needs validation outputs with logits and labels")
    if validation.logits is None:
        needs = f"{name} needs logits to be fitted{head_hint(validation, ['logits'])}"
        raise InputError(located(validation, needs))
    if validation.labels is None:
        raise InputError(located(validation, f"{name} needs labels to be fitted"))
    labels = validation.labels
    if len(labels) == 0:
        raise InputError(located(validation, f"{name} cannot be fitted on zero rows"))
    if (labels < 0).any():
        row = int(np.argmax(labels < 0))
        raise InputError(
            located(
                validation,
                f"labels: row {row} is {labels[row]} (unknown); fit on labelled rows",
            )
        )
    masked = np.take_along_axis(validation.logits, labels[:, None], axis=1)[:, 0] == -np.inf
    if masked.any():
        row = int(np.argmax(masked))
        raise InputError(
            located(
                validation,
                f"labels: row {row} is class {labels[row]}, whose logit there is -inf (masked)",
            )
        )
    if every_class:
        present = np.bincount(labels, minlength=validation.classes)
        if not present.all():
            raise InputError(
                located(
                    validation,
                    f"class {int(np.argmin(present))} has no row, and {name} needs every class",
                )
            )
    warn_of_probabilities(validation)
    return labels


def stacked_logits(x: Outputs) -> Array:
    """(N, C) float64 logits, checked.

    Raises
    ------
    InputError
        Naming the first row with NaN, +inf or nothing but -inf.
    """
    refuse_all_rows(x.logits, 4)
    logits = np.empty((len(x), x.classes))
    for part, chunk in logit_chunks(x):
        logits[part] = chunk
    return logits


def validation_rows(
    name: str, validation: Outputs | None, *, every_class: bool = False
) -> tuple[Array, Array]:
    """Checked logits in float64, and labels, of the rows to fit on."""
    labels = validation_labels(name, validation, every_class=every_class)
    assert validation is not None
    return stacked_logits(validation), labels
