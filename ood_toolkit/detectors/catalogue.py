"""One row a method; everything that lists methods is derived from these rows."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from ood_toolkit.detectors.places import PLACES
from ood_toolkit.errors import BadParameter, UnknownName
from ood_toolkit.given import fits_outputs
from ood_toolkit.parameters import Parameter, checked_values, parameters_of, refuses_bad_numbers
from ood_toolkit.protocols import Detector

__all__ = [
    "AUTO_RULES",
    "LIKELIHOOD",
    "PSEUDO_OUTLIERS",
    "PUBLISHED",
    "SCORER_KINDS",
    "Method",
    "find_method",
    "make_detector",
    "method",
    "method_of",
    "parameter_values",
    "registered",
]

DetectorClass = TypeVar("DetectorClass", bound=type)

PUBLISHED = "published default"
"""The authors' setting, or the toolkit's where they left none, whatever the data."""
LIKELIHOOD = "ID log-likelihood"
"""The fit itself takes what makes training rows that it has not seen most likely."""
PSEUDO_OUTLIERS = "pseudo-outliers"
"""The setting of the grid that best tells held-out rows from midpoints between classes."""
AUTO_RULES = ("nothing to choose", PUBLISHED, LIKELIHOOD, PSEUDO_OUTLIERS)
"""How a method's setting is chosen without out-of-distribution rows."""

SCORER_KINDS: dict[str, type] = {}
"""Every class of fitted scorers by name, for writing and reading files."""

_ROWS: dict[str, Method] = {}
_OF_CLASS: dict[type, Method] = {}
_FAMILIES = ("logits", "members", "sequences", "features", "features + head")


@dataclass(frozen=True, slots=True)
class Method:
    """What the catalogue knows of one method.

    Attributes
    ----------
    name : str
        What `-m` and `ood_toolkit.detector` accept.
    family : str
        "logits", "members", "sequences", "features" or "features + head".
    needs : tuple of str
        Parts of `Outputs` that a scored record must hold.
    train : tuple of str
        Parts that the training record must hold; empty where nothing is fitted.
    validation : tuple of str
        Parts that a held-out in-distribution record must hold, where one is needed.
    reference : str
        Authors, venue and year of the method.
    laws : frozenset of str
        Invariances that the tests hold the method to.
    detector : type
        The frozen dataclass of its hyper-parameters.
    composed_of : tuple of Parameter
        Of a composition, the parameters of its parts.
    grid : mapping of str to tuple
        Settings of each hyper-parameter that tuning compares, every combination of them.
    chosen_by : str
        How `auto` says it; "" for what follows from the parameters.
    """

    name: str
    family: str
    needs: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    reference: str
    laws: frozenset[str]
    detector: type
    composed_of: tuple[Parameter, ...] = ()
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    chosen_by: str = ""

    @property
    def auto(self) -> str:
        """One of `AUTO_RULES`: how the setting is chosen from in-distribution rows alone."""
        return self.chosen_by or (PUBLISHED if self.parameters else AUTO_RULES[0])

    @property
    def fits(self) -> bool:
        """Whether the method learns anything from training outputs."""
        return bool(self.train or self.validation)

    @property
    def summary(self) -> str:
        """The first sentence of the detector's docstring."""
        return (self.detector.__doc__ or "").strip().splitlines()[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Name, type, default and choices of each hyper-parameter."""
        return self.composed_of or parameters_of(self.detector)

    def missing(self, has: frozenset[str]) -> tuple[str, ...]:
        """The needs that a record holding `has` does not meet."""
        return tuple(part for part in self.needs if part not in has)


def method(
    name: str,
    *,
    family: str,
    needs: str,
    train: str = "",
    validation: str = "",
    reference: str,
    laws: str = "",
    grid: Mapping[str, tuple[Any, ...]] | None = None,
    auto: str = "",
    infinite: str = "",
) -> Callable[[DetectorClass], DetectorClass]:
    """Class decorator that adds a detector to the catalogue; lists are blank-separated.

    Numbers must be finite, but for the parameters that `infinite` names.
    """

    def register(cls: DetectorClass) -> DetectorClass:
        if name in _ROWS:
            raise ValueError(f"two methods are called {name}")
        _ROWS[name] = _OF_CLASS[cls] = Method(
            name,
            family,
            tuple(needs.split()),
            tuple(train.split()),
            tuple(validation.split()),
            reference,
            frozenset(laws.split()),
            cls,
            grid=dict(grid or {}),
            chosen_by=auto,
        )
        return refuses_bad_numbers(fits_outputs(cls), name, tuple(infinite.split()))

    return register


def registered() -> tuple[Method, ...]:
    """Every method: those from logits first, then from features, then from both and the head."""
    for module in dict.fromkeys(PLACES.values()):
        importlib.import_module(module)
    return tuple(sorted(_ROWS.values(), key=lambda row: (_FAMILIES.index(row.family), row.name)))


def _row(name: str) -> Method | None:
    """The row of a method, whose module is loaded if that has not been done; or None."""
    if name not in _ROWS and name in PLACES:
        importlib.import_module(PLACES[name])
    return _ROWS.get(name)


def method_of(detector: object) -> Method:
    """The catalogue row of a detector object; of a composition, the row it would have."""
    if hasattr(detector, "as_method"):
        return cast(Method, detector.as_method())
    row = _OF_CLASS.get(type(detector))
    if row is None:
        raise UnknownName(f"{type(detector).__name__} is not in the catalogue of methods")
    return row


def find_method(name: str) -> Method:
    """The catalogue row called `name`; "SHAPING+METHOD" names a composition.

    Raises
    ------
    UnknownName
        If there is none; the message suggests the nearest names.
    """
    row = _row(name)
    if row is not None:
        return row
    if "+" in name:
        return method_of(make_detector(name))
    near = difflib.get_close_matches(name.lower(), [r.name for r in registered()], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`ood-toolkit methods` lists them"
    raise UnknownName(f"unknown method {name!r}; {hint}")


def make_detector(name: str, parameters: Mapping[str, Any] | None = None) -> Detector:
    """A detector by name, its parameters checked against the dataclass.

    Text values are read as the parameter's type, so that a command line can pass them on.

    Raises
    ------
    UnknownName
        If the method or a parameter does not exist.
    BadParameter
        If a value has the wrong type or lies outside what the method takes.
    """
    if "+" in name and _row(name) is None:
        return _composed(name, parameters or {})
    row = find_method(name)
    values = checked_values(name, row.parameters, parameters or {})
    return cast(Detector, row.detector(**values))


def _composed(name: str, parameters: Mapping[str, Any]) -> Detector:
    """The detector called "SHAPING+METHOD"; each parameter goes to whom it belongs."""
    first, _, second = name.partition("+")
    shaping = find_method(first)
    if not hasattr(shaping.detector, "before"):
        shapings = [row.name for row in registered() if hasattr(row.detector, "before")]
        raise UnknownName(f"{first} is no shaping; before a + stands one of {', '.join(shapings)}")
    own = {p.name for p in shaping.parameters}
    before = {key: value for key, value in parameters.items() if key in own}
    after = {key: value for key, value in parameters.items() if key not in own}
    made: Any = make_detector(first, before)
    return cast(Detector, made.before(make_detector(second, after)))


def parameter_values(detector: object) -> dict[str, Any]:
    """The hyper-parameters of a detector as a plain dict."""
    if hasattr(detector, "parameter_values"):
        return cast(dict[str, Any], detector.parameter_values())
    if not dataclasses.is_dataclass(detector) or isinstance(detector, type):
        raise BadParameter(f"{detector!r} is not a detector")
    return {f.name: getattr(detector, f.name) for f in dataclasses.fields(detector)}
