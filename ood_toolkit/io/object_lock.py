"""One driver at a time where no operating system keeps a lock: an object that names its holder.

A store that can create an object only where there is none refuses the second driver at once.
One that cannot lets two begin; the first whose name is no longer in the lock stops before it
writes a manifest.  No lock ends with its holder here: that of a dead process of this machine is
taken over, that of another machine is removed by hand.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError, ToolkitWarning
from ood_toolkit.io.manifest import MANIFEST
from ood_toolkit.io.object_store import UrlStore, file_system, saying_which
from ood_toolkit.io.part_folder import LOCK

__all__ = ["LockedStore", "object_lock"]


@dataclass(frozen=True, slots=True)
class LockedStore(UrlStore):
    """A store whose manifest is written only while the lock names this run.

    Parameters
    ----------
    url, folder : str
        As for `UrlStore`.
    run : str
        What the lock calls this run.
    """

    run: str

    def write(self, name: str, data: bytes) -> None:
        """As of `UrlStore`; a manifest only while the lock is held."""
        if name == MANIFEST and _holder(self).get("run") != self.run:
            raise DataError(
                self.shown(LOCK), "", "names another run, which took this one over; it goes on"
            )
        UrlStore.write(self, name, data)


@contextmanager
def object_lock(store: UrlStore, name: str) -> Iterator[LockedStore]:
    """The store, for one driver alone.

    Parameters
    ----------
    store : UrlStore
        Where the parts lie.
    name : str
        What is being written, as the user named it.

    Raises
    ------
    DataError
        If another driver is at work, or the store cannot be written.
    """
    mine = {
        "run": secrets.token_hex(8),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
    }
    found = _holder(store)
    if found and not _is_dead(found):
        _refuse(name, found, store)
    if found:
        store.remove(LOCK)
    if not _create(store, mine):
        _refuse(name, _holder(store), store)
    if _create(store, mine):
        warnings.warn(
            f"{name}: this store cannot refuse a second driver at once; start one only",
            ToolkitWarning,
            stacklevel=3,
        )
    try:
        yield LockedStore(store.url, store.folder, str(mine["run"]))
    finally:
        if _holder(store).get("run") == mine["run"]:
            store.remove(LOCK)
            store.remove_if_empty()


def _refuse(name: str, found: Mapping[str, Any], store: UrlStore) -> None:
    raise DataError(
        name,
        "",
        f"is being written by process {found.get('process')} on {found.get('host')}; wait for "
        f"it, or remove {store.shown(LOCK)} if that process is dead",
    )


def _holder(store: UrlStore) -> dict[str, Any]:
    """What the lock says; empty where there is none."""
    try:
        found = json.loads(store.read(LOCK))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"process": "unknown", "host": "an unknown machine"}
    return found if isinstance(found, dict) else {"process": "unknown"}


def _create(store: UrlStore, holder: Mapping[str, Any]) -> bool:
    """Whether the lock could be made; stores that know no condition always can."""
    fs, _ = file_system(store.url)
    path, data = store.path(LOCK), json.dumps(holder).encode()
    with saying_which(store.shown(LOCK), "written"):
        fs.makedirs(store.path(), exist_ok=True)
        try:
            fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (TypeError, ValueError, NotImplementedError):
            fs.pipe_file(path, data)
        except OSError:  # what a store answers to an unmet condition differs
            if _holder(store):
                return False
            raise
    return True


def _is_dead(holder: Mapping[str, Any]) -> bool:
    """Whether a holder was a process of this machine and is no more."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("process"), int):
        return False
    return _started(holder["process"]) != holder.get("started")


def _started(process: int) -> str:
    """What tells a running process from a later one of the same number; empty if none runs."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {text.rpartition(')')[2].split()[19]}"
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return ""
    try:  # no /proc: the number alone has to do
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
