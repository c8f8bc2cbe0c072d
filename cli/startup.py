"""What makes a small command quick to start and to leave."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_again", "leave_quickly", "loading", "settle_click_version"]

_COLLECTS = gc.isenabled()


def collect_again() -> None:
    """End what `loading` began, before it is left: work begins."""
    if _COLLECTS:
        gc.enable()


@contextmanager
def loading() -> Iterator[None]:
    """Load modules within it: no garbage is looked for, as what loading makes stays.

    Looking takes a tenth of the time of --help and of a small command.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def leave_quickly() -> None:
    """Let the interpreter end without looking for garbage among all that was loaded.

    Memory goes back to the system as a whole.  With compiled kernels loaded that search takes
    a seventh of the time of a small command.
    """
    atexit.register(gc.freeze)


def settle_click_version() -> None:
    """Set `click.__version__` from the name of the folder that pip keeps beside click.

    rich-click asks for it before it draws help, and click then loads `importlib.metadata`,
    which takes a sixth of the time of --help.  Where no one such folder is found click is
    left to answer by itself.
    """
    import click

    site = os.path.dirname(os.path.dirname(click.__file__))
    found = [name for name in os.listdir(site) if name.startswith("click-")]
    versions = [name[6:-10] for name in found if name.endswith(".dist-info")]
    if len(versions) == 1:
        vars(click).setdefault("__version__", versions[0])
