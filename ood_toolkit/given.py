"""What callers hand over in place of `Outputs`: said in one line, with what to do instead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar

from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Outputs

__all__ = ["as_outputs", "each_once", "expect_outputs", "expect_records", "expect_sets"]
__all__ += ["fits_outputs", "head_hint"]

Registered = TypeVar("Registered", bound=type)
Named = TypeVar("Named")


def expect_outputs(x: object, role: str = "", *, optional: bool = False) -> None:
    """Refuse what is no record.

    Parameters
    ----------
    x : object
        What was given.
    role : str
        The argument's name, for the message.
    optional : bool
        Whether None will do.

    Raises
    ------
    InputError
        Saying what was given, and how to make a record of it.

    Examples
    --------
    >>> try:
    ...     expect_outputs("test.npz", "id")
    ... except InputError as error:
    ...     print(error)
    id: expected Outputs, got 'test.npz'; read the file: ood.load('test.npz')
    """
    if isinstance(x, Outputs) or (optional and x is None):
        return
    place = f"{role}: " if role else ""
    raise InputError(f"{place}expected Outputs, got {_said(x)}{_remedy(x)}")


def expect_sets(**arguments: object) -> None:
    """Refuse what is no mapping of names to records, by the arguments' names.

    Raises
    ------
    InputError
        As `expect_outputs`, naming the set.
    """
    for role, sets in arguments.items():
        if not isinstance(sets, Mapping):
            raise InputError(
                f"{role}: expected a mapping of names to Outputs, got {_said(sets)}; give each "
                f"set a name: {role}={{'NAME': ...}}"
            )
        for name, x in sets.items():
            expect_outputs(x, f"{role}[{name!r}]")


def as_outputs(x: Any) -> Outputs:
    """The record that was given, or one of the array, tensor or rows of logits that were.

    Raises
    ------
    InputError
        As `expect_outputs`, and as the record itself where the array is none of logits.
    """
    if isinstance(x, Outputs):
        return x
    if x is None or isinstance(x, (str, bytes, os.PathLike, Mapping)):
        raise InputError(f"expected Outputs or an array of logits, got {_said(x)}{_remedy(x)}")
    return Outputs(logits=x)


def expect_records(**records: object) -> None:
    """Refuse what is neither a record nor None, by the arguments' names.

    Raises
    ------
    InputError
        As `expect_outputs`.
    """
    for role, x in records.items():
        expect_outputs(x, role, optional=True)


def head_hint(x: Outputs, missing: Iterable[str]) -> str:
    """What to do where a record has features, and nothing but the last layer is missing.

    Examples
    --------
    >>> import numpy as np
    >>> head_hint(Outputs(features=np.zeros((3, 2))), ["logits"])
    '; name the file of the last layer, --head FILE (head=)'
    """
    only = set(missing) <= {"logits", "head"} and x.features is not None and x.head is None
    return "; name the file of the last layer, --head FILE (head=)" if only else ""


def fits_outputs(cls: Registered) -> Registered:
    """Class decorator: `fit` takes records, or None, and says so of anything else."""
    fit: Callable[..., Any] = cls.fit  # type: ignore[attr-defined]

    @wraps(fit)
    def checked(self: Any, *records: Any) -> Any:
        for x in records:
            expect_outputs(x, optional=True)
        return fit(self, *records)

    cls.fit = checked  # type: ignore[attr-defined]
    return cls


def _said(x: object) -> str:
    """What was given, in a few words."""
    if x is None or isinstance(x, (str, os.PathLike)):
        return repr(x if x is None else os.fspath(x))
    shape = getattr(x, "shape", None)
    shaped = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
    return f"{type(x).__name__}{shaped}"


def _remedy(x: object) -> str:
    if isinstance(x, (str, os.PathLike)):
        return f"; read the file: ood.load({os.fspath(x)!r})"
    if isinstance(x, Mapping):
        return "; unpack it: ood.Outputs(**...)"
    if hasattr(x, "__array__") or isinstance(x, (list, tuple)):
        return "; wrap it: ood.Outputs(logits=...), or features=..."
    return ""


def each_once(named: Iterable[tuple[str, Named]]) -> dict[str, Named]:
    """Methods by name; two of one name are refused, as only one could be listed under it.

    Raises
    ------
    InputError
        If a name comes twice.
    """
    found: dict[str, Named] = {}
    for name, method in named:
        if name in found:
            raise InputError(
                f"{name} is there twice, and results go by a method's name; ask for one setting "
                "of it after the other"
            )
        found[name] = method
    return found
