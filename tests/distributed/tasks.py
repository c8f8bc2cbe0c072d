"""Tasks that misbehave; workers import them from here."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

from ood_toolkit.distributed import tasks
from ood_toolkit.distributed.tasks import Recipe
from ood_toolkit.errors import DataError
from ood_toolkit.io.atomic import saying_why
from ood_toolkit.io.part_folder import FolderStore
from ood_toolkit.io.parts import Part, PartStore, Receipt

POISON = 2
DEATHS = 4
"""After so many of its workers' a task fails."""


def poisoned(
    key: str, recipe: Recipe, part: Part, store: PartStore, format: str
) -> Receipt | DataError:
    """Kills its worker at one part, every time."""
    if part.number == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return tasks.make_part(key, recipe, part, store, format)


class FullDisk(FolderStore):
    """A folder into which nothing more fits."""

    def write(self, name: str, data: bytes) -> None:
        with saying_why(name):
            raise OSError(errno.ENOSPC, "No space left on device")


def out_of_space(
    key: str, recipe: Recipe, part: Part, store: FolderStore, format: str
) -> Receipt | DataError:
    """Cannot write one part."""
    place = FullDisk(store.folder) if part.number == POISON else store
    return tasks.make_part(key, recipe, part, place, format)


def killed_once(
    key: str, recipe: Recipe, part: Part, store: PartStore, format: str
) -> Receipt | DataError:
    """Kills its worker at one part, the first time."""
    mark = Path(recipe.inputs[0].name).parent / "killed"
    if part.number == POISON and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return tasks.make_part(key, recipe, part, store, format)


def killed_in_company(
    key: str, recipe: Recipe, part: Part, store: PartStore, format: str
) -> Receipt | DataError:
    """Kills its worker at one part as often as Dask tries it, and no more."""
    deaths = Path(recipe.inputs[0].name).parent / "deaths"
    if part.number == POISON and (not deaths.exists() or deaths.stat().st_size < DEATHS):
        with deaths.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return tasks.make_part(key, recipe, part, store, format)


def group_killed_once(key: str, name: str, *rest: Any) -> Receipt:
    """Kills its worker at the second group of a fit, the first time."""
    from ood_toolkit.distributed import moments

    part: Part = rest[2]
    mark = Path(name).parent / "killed"
    if part.start and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return moments.moments_of_group(key, name, *rest)
