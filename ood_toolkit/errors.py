"""What can go wrong, and the exit status the command line gives it."""

from __future__ import annotations

import os

__all__ = [
    "BadParameter",
    "DataError",
    "InputError",
    "MissingDependency",
    "ToolkitError",
    "ToolkitWarning",
    "UnknownName",
    "in_one_line",
]


class ToolkitError(Exception):
    """Base of every error the toolkit raises on purpose; its text is one line."""

    exit_status = 3


class InputError(ToolkitError, ValueError):
    """An array, a parameter or a request cannot be used; the message says why and what to do."""


class BadParameter(InputError):
    """A parameter's type or value is not one the method takes."""

    exit_status = 2


class DataError(InputError):
    """A file, or one array in it, cannot be read.

    Parameters
    ----------
    path : str
        The file, as the user named it.
    key : str
        The array in the file; empty where the whole file is meant.
    reason : str
        What is wrong and what to do, on one line.
    """

    def __init__(self, path: str, key: str, reason: str) -> None:
        self.path, self.key, self.reason = str(path), key, reason
        # a line break in a file's name must not break the line
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in self.path)
        super().__init__(": ".join(part for part in (shown, key, reason) if part))

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str, str]]:
        return DataError, (self.path, self.key, self.reason)


class UnknownName(ToolkitError, LookupError):
    """A method, parameter or rule does not exist; the message suggests the nearest one."""

    exit_status = 2


class MissingDependency(ToolkitError, ImportError):
    """An optional library is not installed; the text holds the exact pip command."""

    exit_status = 5

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library, self.extra, self.purpose = library, extra, purpose
        super().__init__(
            f"{purpose} needs {library}: pip install 'ood_toolkit[{extra}]'", name=library
        )

    def __reduce__(self) -> tuple[type[MissingDependency], tuple[str, str, str]]:
        return MissingDependency, (self.library, self.extra, self.purpose)


class ToolkitWarning(UserWarning):
    """Something works, but not as the user may expect; the text says what was done."""


def in_one_line(error: BaseException) -> str:
    """What went wrong, on one line; of an error that nobody raised on purpose also its kind."""
    text = " ".join(str(error).split())
    if isinstance(error, ToolkitError):
        return text
    if isinstance(error, MemoryError):
        return f"not enough memory ({text or 'no size given'})"
    if isinstance(error, OSError):
        place = error.filename
        shown = os.fsdecode(place) if isinstance(place, bytes) else str(place or "")
        return ": ".join(part for part in (shown, error.strerror or text) if part)
    return f"unexpected {type(error).__name__}: {text}; please report it"
