"""Writing fitted calibrators to `.safetensors` files; `persistence` reads them back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from ood_toolkit.calibration.registry import (
    CALIBRATOR_KINDS,
    make_calibrator,
    method_of_calibrator,
    values_of,
)
from ood_toolkit.io.fitted import FittedKind, write_fitted

__all__ = ["CALIBRATOR_FILE", "Fitted", "save_calibrator"]


class Fitted(Protocol):
    """What a file says of a fitted calibrator, beside its arrays."""

    @property
    def name(self) -> str:
        """The method's name."""

    @property
    def calibrator(self) -> Any:
        """The hyper-parameters it was fitted with."""

    @property
    def classes(self) -> int:
        """Classes it was fitted on; 0 where any number will do."""

    @property
    def dims(self) -> int:
        """Feature columns it was fitted on; 0 where any number will do."""


CALIBRATOR_FILE = FittedKind(
    noun="calibrator",
    root="calibrator",
    made_by="ood-toolkit calibrate",
    types=lambda: CALIBRATOR_KINDS,
    describe=lambda value: (method_of_calibrator(value).name, values_of(value)),
    make=make_calibrator,
)
"""What calibrator files hold and how messages name them."""


def save_calibrator(
    calibrator: Fitted,
    path: str | os.PathLike[str],
    *,
    fitted_on: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted calibrator, replacing the file at once or not at all.

    Parameters
    ----------
    calibrator : FittedCalibrator
        What to save.
    path : path-like
        Must end in `.safetensors`.
    fitted_on : mapping, optional
        JSON-ready facts about the validation data.

    Raises
    ------
    DataError
        If the name has another suffix or the folder cannot be written.
    """
    metadata = {
        "method": calibrator.name,
        "parameters": values_of(calibrator.calibrator),
        "classes": calibrator.classes,
        "dims": calibrator.dims,
        "threshold": None,
        "fitted_on": dict(fitted_on or {}),
    }
    write_fitted(path, calibrator, CALIBRATOR_FILE, metadata)
