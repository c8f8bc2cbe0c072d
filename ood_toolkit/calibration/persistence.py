"""Calibrator files, in the format of detector files, read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ood_toolkit.calibration.base import FittedCalibrator
from ood_toolkit.calibration.saving import CALIBRATOR_FILE
from ood_toolkit.errors import DataError
from ood_toolkit.io.fitted import read_fitted, refusing_damage

__all__ = ["SavedCalibrator", "load_calibrator", "read_calibrator"]


@dataclass(frozen=True, slots=True)
class SavedCalibrator:
    """What a calibrator file holds.

    Attributes
    ----------
    calibrator : FittedCalibrator
        Ready to apply.
    fitted_on : mapping
        Origin, number of rows and sha256 of the validation file, as far as known.
    toolkit : str
        Version of the toolkit that wrote the file.
    """

    calibrator: FittedCalibrator
    fitted_on: Mapping[str, Any]
    toolkit: str


def load_calibrator(path: str | os.PathLike[str]) -> FittedCalibrator:
    """Read a saved calibrator; its results are bit-identical to those of the one that was saved.

    Parameters
    ----------
    path : path-like
        A calibrator file, as `save` and `ood-toolkit calibrate` write it.

    Returns
    -------
    FittedCalibrator
        Ready to apply.

    Raises
    ------
    DataError
        If the file is not a calibrator file of this toolkit, of a later format, or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> from ood_toolkit import Sparsemax
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "sparsemax.safetensors")
    ...     Sparsemax().fit().save(path)
    ...     load_calibrator(path).calibrator
    Sparsemax()
    """
    return read_calibrator(path).calibrator


def read_calibrator(path: str | os.PathLike[str]) -> SavedCalibrator:
    """Read a calibrator file with its provenance.

    Raises
    ------
    DataError
        If the file is not a calibrator file of this toolkit, of a later format, or damaged.
    """
    name = os.fspath(path)
    stored = read_fitted(name, CALIBRATOR_FILE)
    fitted, text = stored.fitted, stored.text
    with refusing_damage(name, CALIBRATOR_FILE):
        if not isinstance(fitted, FittedCalibrator):
            raise DataError(name, "calibrator", "is not a calibrator")
        if fitted.name != text["method"]:
            raise DataError(
                name, "method", f"says {text['method']} but the arrays are of {fitted.name}"
            )
        return SavedCalibrator(fitted, json.loads(text["fitted_on"]), text["toolkit"])
