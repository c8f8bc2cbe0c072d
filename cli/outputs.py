"""The files that a command is to write, looked at before any work begins."""

from __future__ import annotations

import os
from collections.abc import Mapping

import rich_click as click

__all__ = ["check_file", "check_outputs", "check_place"]

_SUFFIXES = {
    "--json-out": (".json",),
    "--csv": (".csv", ".txt"),
    "--openood-csv": (".csv", ".txt"),
    "--markdown": (".md", ".markdown", ".txt"),
    "--latex": (".tex", ".txt"),
    "--html": (".html", ".htm"),
    "--png": (".png",),
    "--svg": (".svg",),
}
"""What files of an option may end in."""
_OTHERS = (".gif", ".h5", ".jpeg", ".jpg", ".jsonl", ".npy", ".npz", ".parquet", ".pdf", ".pt",
           ".safetensors", ".tsv", ".zarr")  # fmt: skip
_KNOWN = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes} | set(_OTHERS)
"""Suffixes that say what a file holds; any other one is a part of the name."""


def check_outputs(named: Mapping[str, str | None]) -> None:
    """Refuse standard output, suffixes of something else, and one file for two options.

    Parameters
    ----------
    named : mapping of str to str or None
        Files and folders by option, as the user named them.

    Raises
    ------
    UsageError
        Of click, which leaves with status 2.
    """
    given = {option: path for option, path in named.items() if path is not None}
    for option, path in given.items():
        _check_name(option, path)
    places: dict[str, str] = {}
    for option, path in given.items():
        place = os.path.realpath(path)
        for other, earlier in places.items():
            if place == earlier or _same(place, earlier):
                raise click.UsageError(
                    f"{other} and {option} would both write {path}; give each a file of its own"
                )
        places[option] = place
    for path in (path for option, path in given.items() if option in _SUFFIXES):
        check_place(path)


def check_file(path: str, *suffixes: str) -> None:
    """Refuse, before any work, what `-o` cannot write: no file, another format, no folder.

    Parameters
    ----------
    path : str
        As the user named it.
    *suffixes : str
        What its name may end in.

    Raises
    ------
    UsageError
        Of click, which leaves with status 2.
    DataError
        If there is no such folder, or it cannot be written.
    """
    if path == "-":
        raise click.UsageError("-o takes the name of a file, not -")
    if os.path.splitext(path)[1].lower() not in suffixes:
        raise click.UsageError(f"-o {path}: what is written must end in {' '.join(suffixes)}")
    check_place(path)


def check_place(path: str) -> None:
    """Refuse, before any work, a file whose folder is missing or cannot be written."""
    from ood_toolkit.io.atomic import refuse_unwritable

    refuse_unwritable(path)


def _check_name(option: str, path: str) -> None:
    if path == "-":
        hint = "; --json prints the document on stdout" if option == "--json-out" else ""
        raise click.UsageError(f"{option} takes the name of a file, not -{hint}")
    expected = _SUFFIXES.get(option, ())
    suffix = os.path.splitext(path)[1].lower()
    if expected and suffix in _KNOWN and suffix not in expected:
        what = "a page" if option == "--html" else f"what {option} writes"
        raise click.UsageError(f"{option} {path}: {what} ends in {expected[0]}")


def _same(place: str, other: str) -> bool:
    """Whether two names are one file, by a hard link or on a disk that ignores case."""
    return os.path.exists(place) and os.path.exists(other) and os.path.samefile(place, other)
