"""Hyper-parameters read off a dataclass, and text turned into their values."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ood_toolkit.errors import BadParameter, InputError, UnknownName

__all__ = [
    "Parameter",
    "check_axes",
    "checked",
    "checked_values",
    "parameters_of",
    "refuses_bad_numbers",
    "require",
    "require_percentile",
    "seed_of_32_bits",
]


Registered = TypeVar("Registered", bound=type)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyper-parameter: its name, the types and words it takes, and its default."""

    name: str
    types: tuple[type, ...]
    choices: tuple[Any, ...]
    default: Any

    @property
    def kind(self) -> str:
        """What it takes, in words a person reads: ``int or "auto"``."""
        words = [{"tuple": "matrix"}.get(t.__name__, t.__name__) for t in self.types]
        words += [json.dumps(choice) for choice in self.choices]
        return " or ".join(words)


@cache
def parameters_of(detector: type) -> tuple[Parameter, ...]:
    """The parameters of a detector class, in the order of its fields."""
    hints = get_type_hints(detector)
    return tuple(
        Parameter(f.name, *_alternatives(hints[f.name]), f.default)
        for f in dataclasses.fields(detector)
    )


def _alternatives(hint: Any) -> tuple[tuple[type, ...], tuple[Any, ...]]:
    """Split an annotation into plain types and literal words."""
    if get_origin(hint) is Literal:
        return (), get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_alternatives(part) for part in get_args(hint)]
        return sum((p[0] for p in parts), ()), sum((p[1] for p in parts), ())
    if get_origin(hint) is Sequence:
        return (list,), ()
    return (get_origin(hint) or hint,), ()


def checked(method: str, parameter: Parameter, value: Any) -> Any:
    """The value in the parameter's own type; text is read as JSON where that fits.

    Raises
    ------
    BadParameter
        If no reading of the value is one the parameter takes.
    """
    readings = [value]
    if isinstance(value, str):
        try:
            readings.insert(0, json.loads(value))
        except ValueError:
            if value in ("inf", "infinity"):
                readings.insert(0, math.inf)
    for reading in readings:
        if isinstance(reading, str | int | float) and reading in parameter.choices:
            return reading
        for kind in parameter.types:
            if kind is float and isinstance(reading, int | float) and type(reading) is not bool:
                return float(reading)
            if kind in (tuple, list) and isinstance(reading, list | tuple):
                return _frozen(reading)
            if type(reading) is kind:
                return reading
    raise BadParameter(f"{method}.{parameter.name} takes {parameter.kind}, got {value!r}")


def checked_values(
    method: str, known: Iterable[Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given values in the types of the known parameters.

    Raises
    ------
    UnknownName
        If there is no such parameter; the message suggests the nearest.
    BadParameter
        If no reading of a value is one its parameter takes.
    """
    by_name = {parameter.name: parameter for parameter in known}
    values = {}
    for key, value in given.items():
        if key not in by_name:
            near = difflib.get_close_matches(key, by_name, n=1, cutoff=0.5)
            listed = ", ".join(by_name) or "none"
            hint = f"did you mean {near[0]}?" if near else f"it takes: {listed}"
            raise UnknownName(f"{method} has no parameter {key!r}; {hint}")
        values[key] = checked(method, by_name[key], value)
    return values


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


def require(condition: bool, message: str) -> None:
    """Raise `BadParameter` with `message` unless the condition holds."""
    if not condition:
        raise BadParameter(message)


def refuses_bad_numbers(kind: Registered, name: str, infinite: tuple[str, ...]) -> Registered:
    """Make a dataclass refuse NaN, infinity and seeds below 0, however an object is made.

    Parameters
    ----------
    kind : type
        Of detectors or calibrators.  What it requires itself is judged first.
    name : str
        What messages call it.
    infinite : tuple of str
        Parameters of which infinity is a value.

    Returns
    -------
    type
        The same class.
    """
    made: Callable[..., None] = kind.__init__  # type: ignore[misc]
    fields = tuple(f.name for f in dataclasses.fields(kind))

    @wraps(made)
    def checked_init(self: Any, *values: Any, **named: Any) -> None:
        made(self, *values, **named)
        for field in fields:
            value = getattr(self, field)
            if field == "seed" and isinstance(value, Integral):
                require(int(value) >= 0, f"{name}.seed must be at least 0, got {value}")
            elif not isinstance(value, Real) or isinstance(value, Integral):
                continue  # whole numbers, of any size, are finite
            elif field not in infinite or math.isnan(value):
                require(math.isfinite(value), f"{name}.{field} must be finite, got {value}")

    kind.__init__ = checked_init  # type: ignore[misc]
    return kind


def require_percentile(name: str, value: float) -> None:
    """Raise `BadParameter` unless `value` is a percentile."""
    require(0.0 <= value <= 100.0, f"{name} must lie in [0, 100], got {value}")


def seed_of_32_bits(seed: int) -> int:
    """A seed as scikit-learn takes it: below 2**32 itself, above a number made of all its bits.

    Parameters
    ----------
    seed : int
        At least 0, of any size.

    Returns
    -------
    int
        In [0, 2**32).

    Examples
    --------
    >>> seed_of_32_bits(7), seed_of_32_bits(2**32 + 7)
    (7, 369571992)
    """
    if seed < 1 << 32:
        return seed
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def check_axes(fitted: Any, name: str) -> None:
    """Hold each array field of a fitted thing to the axes that its class declares.

    Parameters
    ----------
    fitted : object
        Its `shapes` names the axes of fields by letters: C and D are `classes` and `dims`, and
        any other letter is bound by the first field that has it.
    name : str
        What the message calls it.

    Raises
    ------
    InputError
        If an array has other axes.
    """
    sizes = {"C": fitted.classes, "D": fitted.dims}
    for part, axes in fitted.shapes.items():
        shape, letters = getattr(fitted, part).shape, axes.split()
        expected = tuple(sizes.setdefault(a, n) for a, n in zip(letters, shape))  # noqa: B905
        if expected != shape or len(letters) != len(shape):
            raise InputError(f"{name}: {part} must be ({axes}), got shape {shape}")
