"""The gate: what a file claims is held against its size before any memory is set aside."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ood_toolkit.errors import DataError, ToolkitError, ToolkitWarning
from ood_toolkit.streamed import resident_bytes

__all__ = [
    "EXPANSION",
    "MAP_FROM",
    "Limits",
    "available_memory",
    "check_allocation",
    "check_expansion",
    "check_names",
    "default_memory",
    "no_such_file",
    "one_line",
    "printable",
    "readable_file",
    "refusing",
    "size_text",
]

MAP_FROM = 64 << 20
"""Arrays of more bytes are mapped where the format allows; smaller ones are copied, so that
a file changed or cut later cannot change or kill what was read from it."""

EXPANSION = 200
"""Bytes that one stored byte may become.  Real outputs stay below 20; deflate can reach
1,032, so a bound near that would let nearly every bomb pass."""

_LEAST_ROOM = 256 << 20


class Tally:
    """What arrays that were let in claim, and the bytes that hold them: many make a bomb too.

    Attributes
    ----------
    arrays : dict
        By file and array: bytes that it claims, and bytes of the file that hold it.
    claims, held, largest : int
        Sums of both, no more of a file than it has; the largest claim.
    """

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, str], tuple[int, int]] = {}
        self.claims = self.held = self.largest = 0
        self._of_file: dict[str, int] = {}
        self._size: dict[str, float] = {}

    def count(self, path: str, key: str, claims: int, stored: int) -> None:
        """Let an array in; one that is let in again counts once."""
        before = self.arrays.get((path, key), (0, 0))
        self.arrays[path, key] = claims, stored
        self.claims += claims - before[0]
        self.largest = max(self.largest, claims)
        if path not in self._size:
            self._of_file[path] = 0
            status = os.stat(path)
            self._size[path] = status.st_size if stat.S_ISREG(status.st_mode) else math.inf
        held, size = self._of_file[path], self._size[path]
        self._of_file[path] = held + stored - before[1]
        self.held += int(min(self._of_file[path], size)) - int(min(held, size))


@dataclass(frozen=True)
class Limits:
    """What the user allows a file to cost.

    Parameters
    ----------
    max_bytes : int, optional
        Most bytes one array may take once read.  Given, it replaces the expansion rule.

    Attributes
    ----------
    counted : Tally
        Arrays that were let in under the expansion rule.
    """

    max_bytes: int | None = None
    counted: Tally = field(default_factory=Tally, init=False, repr=False, compare=False)


def one_line(reason: object, longest: int = 200) -> str:
    """A library's message as one short line."""
    text = " ".join(str(reason).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: str) -> str:
    r"""A text that UTF-8 can hold: bytes of a file name that are not UTF-8 become hex escapes.

    Those that are UTF-8, and which a locale of ASCII has left as bytes, become letters.

    >>> print(printable(b"caf\xe9.npz".decode("utf-8", "surrogateescape")))
    caf\xe9.npz
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        pairs = (f"\\u{ord(c):04x}" if _stands_for_no_byte(c) else c for c in text)
        return "".join(pairs).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text


def _stands_for_no_byte(letter: str) -> bool:
    """Whether it is a surrogate that no name of a file holds; JSON can."""
    return "\ud800" <= letter <= "\udfff" and not "\udc80" <= letter <= "\udcff"


def size_text(count: int) -> str:
    """A byte count for people.

    >>> size_text(2_000_000_000)
    '1.9 GiB'
    """
    if count < 1024:
        return f"{count} bytes"
    power = min(int(math.log(count, 1024)), 5)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB', 'PiB')[power - 1]}"


@contextmanager
def refusing(path: str, key: str = "") -> Iterator[None]:
    """Turn whatever a reading library raises into one DataError that names the file.

    Libraries raise many types on damaged files (numpy lets `tokenize.TokenError` out,
    torch `UnicodeDecodeError`, ...), so the one way to promise a single type is to take
    them all here and nowhere else; the cause stays attached.
    """
    try:
        yield
    except (ToolkitError, ToolkitWarning):
        raise
    except Exception as reason:
        said = one_line(reason) or type(reason).__name__
        if isinstance(reason, MemoryError):
            said = "it claims more memory than there is"
        said = f"cannot be read, it may be damaged: {said}"
        if isinstance(reason, OSError) and reason.errno in (errno.EACCES, errno.EPERM):
            said = _cannot_open(path, reason)
        raise DataError(path, key, said) from reason


def readable_file(path: str) -> os.stat_result:
    """The status of a regular, non-empty file that may be read.

    Raises
    ------
    DataError
        For anything else; a pipe, a folder and a loop of links are each named.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(path, "", f"is {_kind(status.st_mode)}, not a regular file")
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as reason:
        if isinstance(reason, DataError):
            raise
        raise DataError(path, "", _cannot_open(path, reason)) from reason
    if status.st_size == 0:
        raise DataError(path, "", "the file is empty")
    return status


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe (only .csv, .tsv and .jsonl can be read from one)"
    return "a device or a socket"


def no_such_file(path: str) -> str:
    """What is said of a path where nothing lies.

    Examples
    --------
    >>> no_such_file("missing/outputs.npz")
    'no such file'
    """
    if os.path.islink(path):
        return "is a link to a file that does not exist"
    if "://" in path:
        return "no such file; of URLs only outputs files are read: copy it to this machine first"
    return "no such file"


def _cannot_open(path: str, reason: Exception) -> str:
    number = getattr(reason, "errno", None)
    if number == errno.ENOENT:
        return no_such_file(path)
    if number == errno.ELOOP:
        return "symbolic links form a loop"
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied; make the file readable"
    return f"cannot be opened: {one_line(reason)}"


def check_names(path: str, names: Iterable[str]) -> None:
    """Refuse names that would break a message into lines, or not print at all."""
    for name in names:
        if not name.isprintable():
            raise DataError(path, "", f"an array is named {name!r}; use names that can be printed")


def available_memory() -> int:
    """Bytes this process could still take without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: half of what the machine has is the best guess there is
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def default_memory() -> int:
    """Bytes this process may take where nobody says: a quarter of what is free, and what it has."""
    return resident_bytes() + max(_LEAST_ROOM, available_memory() // 4)


def check_allocation(path: str, key: str, count: int) -> None:
    """Refuse an array that does not fit into memory."""
    if count > MAP_FROM and count > (free := available_memory()):
        raise DataError(
            path,
            key,
            f"needs {size_text(count)} of memory and {size_text(free)} is available; "
            "store it as .npy, which is mapped, or split it",
        )


def check_expansion(
    path: str, key: str, shape: tuple[int, ...], declared: int, stored: int, limits: Limits
) -> None:
    """Refuse an array that is far larger than the bytes it is made from.

    The arrays that were let in before under the same limits count with it: together, too, they
    must not be far larger than the files that they are from.

    Parameters
    ----------
    shape : tuple of int
        What the file declares.
    declared : int
        Bytes that reading it takes, chunks at the edges counted whole.
    stored : int
        Bytes of the file that hold the array.
    """
    if limits.max_bytes is not None:
        return  # the user drew the line; StoredArray.admit holds it
    if declared > MAP_FROM and declared > EXPANSION * stored:
        raise DataError(
            path,
            key,
            f"{size_text(stored)} in the file claim to be {size_text(declared)} of shape "
            f"{shape}; if you trust it, allow that with --max-bytes (max_bytes=) {declared}",
        )
    found = limits.counted
    found.count(path, key, declared, stored)
    if found.claims > MAP_FROM and found.claims > EXPANSION * found.held:
        raise DataError(
            path,
            key,
            f"this and {len(found.arrays) - 1} arrays before it claim to be "
            f"{size_text(found.claims)} of {size_text(found.held)}; if you trust them, allow "
            f"that with --max-bytes (max_bytes=) {found.largest}",
        )
