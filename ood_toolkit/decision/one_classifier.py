"""Do the parts of a policy belong together?  Each was fitted on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ood_toolkit.decision.per_class import ClassThresholds
from ood_toolkit.errors import DataError, InputError

__all__ = ["Part", "parts_of_policy", "refuse_other_classifiers"]


class Part(NamedTuple):
    """A part of a policy: what it is called, the file it is from if any, and its sizes.

    A size of 0 says that any number will do.
    """

    name: str
    path: str
    classes: int
    dims: int


def parts_of_policy(
    checks: Iterable[tuple[str, Any, Any, str]], calibrator: Any, path: str = ""
) -> list[Part]:
    """The sizes of all parts.

    Parameters
    ----------
    checks : iterable of (name, scorer, rule, path)
        Detectors by name, each with what it accepts and the file it is from, or "".
    calibrator : Transform or None
        As a policy has it.
    path : str
        The file it is from.
    """
    found = []
    for name, scorer, rule, origin in checks:
        found.append(_part(name, scorer, origin))
        if isinstance(rule, ClassThresholds):
            found.append(Part(f"the rule by class of {name}", origin, len(rule.thresholds), 0))
    if calibrator is not None:
        found.append(_part(getattr(calibrator, "name", "the calibrator"), calibrator, path))
    return found


def refuse_other_classifiers(parts: Iterable[Part]) -> None:
    """Refuse parts that no row could satisfy together.

    Raises
    ------
    InputError
        Naming two parts that differ in classes, or in feature columns, and both numbers.

    Examples
    --------
    >>> knn = Part("knn", "", 8, 64)
    >>> refuse_other_classifiers([knn, Part("temperature", "", 8, 0)])
    >>> try:
    ...     refuse_other_classifiers([knn, Part("temperature", "", 4, 0)])
    ... except InputError as error:
    ...     print(str(error).partition(";")[0])
    temperature is for 4 classes, but knn for 8
    """
    listed = list(parts)
    for axis, what in (("classes", "classes"), ("dims", "feature columns")):
        sized = [(part, getattr(part, axis)) for part in listed if getattr(part, axis)]
        for part, number in sized[1:]:
            first, expected = sized[0]
            if number != expected:
                of = f" ({first.path})" if first.path else ""
                reason = (
                    f"{part.name} is for {number} {what}, but {first.name}{of} for {expected}; "
                    "fit every part of a policy on outputs of one classifier"
                )
                raise DataError(part.path, "", reason) if part.path else InputError(reason)


def _part(name: str, fitted: Any, path: str) -> Part:
    """A scorer or transform; one that is none of the toolkit's need not say its sizes."""
    return Part(name, path, getattr(fitted, "classes", 0), getattr(fitted, "dims", 0))
