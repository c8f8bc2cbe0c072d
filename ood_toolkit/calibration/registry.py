"""One row a calibrator; everything that lists calibrators is derived from these rows."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ood_toolkit.errors import UnknownName
from ood_toolkit.given import fits_outputs
from ood_toolkit.parameters import Parameter, checked_values, parameters_of, refuses_bad_numbers
from ood_toolkit.protocols import Calibrator

__all__ = [
    "CALIBRATOR_KINDS",
    "CalibrationMethod",
    "calibration_method",
    "find_calibrator",
    "make_calibrator",
    "method_of_calibrator",
    "registered_calibrators",
    "values_of",
]

CalibratorClass = TypeVar("CalibratorClass", bound=type)

CALIBRATOR_KINDS: dict[str, type] = {}
"""Every class of fitted calibrators by name, for writing and reading files."""

_ROWS: dict[str, CalibrationMethod] = {}


@dataclass(frozen=True, slots=True)
class CalibrationMethod:
    """What the list of calibrators says of one of them.

    Attributes
    ----------
    name : str
        What `calibrate -m` and `make_calibrator` accept.
    needs : tuple of str
        Parts of `Outputs` that a record must hold to be calibrated.
    validation : tuple of str
        Parts that the validation record must hold; empty where nothing is fitted.
    train : tuple of str
        Parts that a training record must hold, where one is needed besides.
    keeps_prediction : bool
        Whether the class with the largest probability always stays the same.
    reference : str
        Authors, venue and year.
    calibrator : type
        The frozen dataclass of its hyper-parameters.
    """

    name: str
    needs: tuple[str, ...]
    validation: tuple[str, ...]
    train: tuple[str, ...]
    keeps_prediction: bool
    reference: str
    calibrator: type

    @property
    def summary(self) -> str:
        """The first sentence of the calibrator's docstring."""
        return (self.calibrator.__doc__ or "").strip().splitlines()[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Name, type, default and choices of each hyper-parameter."""
        return parameters_of(self.calibrator)

    def missing(self, has: frozenset[str]) -> tuple[str, ...]:
        """The needs that a record holding `has` does not meet."""
        return tuple(part for part in self.needs if part not in has)


def calibration_method(
    name: str,
    *,
    needs: str = "logits",
    validation: str = "logits labels",
    train: str = "",
    keeps_prediction: bool,
    reference: str,
) -> Callable[[CalibratorClass], CalibratorClass]:
    """Class decorator that adds a calibrator to the list; needs are blank-separated."""

    def register(cls: CalibratorClass) -> CalibratorClass:
        if name in _ROWS:
            raise ValueError(f"two calibrators are called {name}")
        _ROWS[name] = CalibrationMethod(
            name,
            tuple(needs.split()),
            tuple(validation.split()),
            tuple(train.split()),
            keeps_prediction,
            reference,
            cls,
        )
        return refuses_bad_numbers(fits_outputs(cls), name, ())

    return register


def registered_calibrators() -> tuple[CalibrationMethod, ...]:
    """Every calibrator, by name."""
    return tuple(_ROWS[name] for name in sorted(_ROWS))


def method_of_calibrator(calibrator: object) -> CalibrationMethod:
    """The row of a calibrator object."""
    for row in _ROWS.values():
        if type(calibrator) is row.calibrator:
            return row
    raise UnknownName(f"{type(calibrator).__name__} is not in the list of calibrators")


def find_calibrator(name: str) -> CalibrationMethod:
    """The row called `name`.

    Raises
    ------
    UnknownName
        If there is none; the message suggests the nearest names.
    """
    if name in _ROWS:
        return _ROWS[name]
    near = difflib.get_close_matches(name.lower(), _ROWS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(_ROWS))}"
    raise UnknownName(f"unknown calibrator {name!r}; {hint}")


def make_calibrator(name: str, parameters: Mapping[str, Any] | None = None) -> Calibrator:
    """A calibrator by name, its parameters checked against the dataclass.

    Text values are read as the parameter's type, so that a command line can pass them on.

    Raises
    ------
    UnknownName
        If the calibrator or a parameter does not exist.
    BadParameter
        If a value has the wrong type or lies outside what the calibrator takes.
    """
    row = find_calibrator(name)
    values = checked_values(name, row.parameters, parameters or {})
    return cast(Calibrator, row.calibrator(**values))


def values_of(calibrator: Any) -> dict[str, Any]:
    """The hyper-parameters of a calibrator as a plain dict."""
    return {f.name: getattr(calibrator, f.name) for f in dataclasses.fields(calibrator)}
