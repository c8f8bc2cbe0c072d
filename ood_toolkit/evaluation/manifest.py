"""What a results file says of the run that made it, so that it can be made again."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

from ood_toolkit.io.object_store import plain_path
from ood_toolkit.kernels.threads import thread_count

__all__ = ["Input", "run_record"]

_LIBRARIES = ("ood_toolkit", "numpy", "numba", "llvmlite", "scipy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a run.

    Parameters
    ----------
    role : str
        "id", "ood", "train", "id_val" and the like.
    name : str
        What the run calls it; "" where the role says it.
    rows : int or None
    file : str
        As it was named; of an absolute path only the last part is recorded.
    sha256 : str or None
        Of the file; None for arrays that came from no file.
    """

    role: str
    name: str
    rows: int | None
    file: str = ""
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types; no absolute path."""
        return {
            "role": self.role,
            "name": self.name,
            "file": as_given(self.file),
            "sha256": self.sha256 or None,
            "rows": self.rows,
        }


def run_record(
    inputs: Sequence[Input], command: Sequence[str] = (), choices: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The `run` part of a results document.

    Parameters
    ----------
    inputs : sequence of Input
    command : sequence of str
        The command line; empty from Python.
    choices : mapping, optional
        What else decides the figures, such as the seed of the bootstrap.

    Returns
    -------
    dict
        `versions`, `command`, `inputs`, `machine` and the choices; plain types.  Neither a user
        nor a host is named, and no folder above the ones that the command names.

    Examples
    --------
    >>> record = run_record([Input("id", "", 3)], ["ood-toolkit", "evaluate", "/a/b/id.npz"])
    >>> record["command"], record["inputs"][0]["rows"]
    ('ood-toolkit evaluate id.npz', 3)
    """
    return {
        "command": " ".join(_word(as_given(word)) for word in command) or None,
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": thread_count(),
            "memory_bytes": _memory(),
        },
        "inputs": [given.to_json() for given in inputs],
        **(choices or {}),
    }


def as_given(word: str) -> str:
    """A word of a command line, of whose absolute paths only the last part is left.

    >>> as_given("--train=/a/b/x.npz"), as_given("dir://x.npz::file:///a/b")
    ('--train=x.npz', 'dir://x.npz::b')
    """
    before, equals, path = word.rpartition("=")
    links = [plain_path(link) for link in path.split("::")]  # as chained URLs have several
    if any(PurePath(link).is_absolute() for link in links):
        names = (PurePath(k).name if PurePath(k).is_absolute() else k for k in links)
        return f"{before}{equals}{'::'.join(names)}"
    return word


def _word(text: str) -> str:
    return text if text and not set(text) & set(" '\"$`\\;&|<>()*?[]#~") else repr(text)


def _versions() -> dict[str, str]:
    """Of the libraries that decide figures, as far as they are installed."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
