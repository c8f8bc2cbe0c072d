"""The formats, by suffix, and the one door through which a file is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import Limits, check_names, readable_file
from ood_toolkit.io.hdf5 import open_hdf5
from ood_toolkit.io.jsonl import json_arrays, open_jsonl
from ood_toolkit.io.magic import check_magic, looks_like
from ood_toolkit.io.npy import open_npy
from ood_toolkit.io.npz import open_npz
from ood_toolkit.io.parquet import open_parquet
from ood_toolkit.io.safetensors_file import open_safetensors
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.io.text import open_csv, open_tsv, table_arrays, text_source
from ood_toolkit.io.torch_file import open_torch
from ood_toolkit.io.zarr_folder import is_zarr, open_zarr

__all__ = ["FORMATS", "Format", "format_of", "open_arrays", "suffix_format"]


class Format(NamedTuple):
    """A file format: its name and what opens it."""

    name: str
    open: Callable[[str, Limits], dict[str, StoredArray]]


_NPY = Format("npy", open_npy)
_NPZ = Format("npz", open_npz)
_SAFETENSORS = Format("safetensors", open_safetensors)
_TORCH = Format("torch", open_torch)
_PARQUET = Format("parquet", open_parquet)
_HDF5 = Format("hdf5", open_hdf5)
_ZARR = Format("zarr", open_zarr)
_CSV = Format("csv", open_csv)
_TSV = Format("tsv", open_tsv)
_JSONL = Format("jsonl", open_jsonl)

FORMATS: dict[str, Format] = {
    ".npy": _NPY,
    ".npz": _NPZ,
    ".safetensors": _SAFETENSORS,
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".parquet": _PARQUET,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".zarr": _ZARR,
    ".csv": _CSV,
    ".tsv": _TSV,
    ".jsonl": _JSONL,
}
"""Suffix -> format."""


def _open_stream(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Text from a pipe: JSON lines begin with a brace, anything else is CSV."""
    content = text_source(path, limits)
    if isinstance(content, bytes) and content.lstrip().startswith(b"{"):
        return json_arrays(path, content, limits)
    return table_arrays(path, content, ",", limits)


_STREAM = Format("text stream", _open_stream)


def suffix_format(path: str) -> Format | None:
    """The format that a name's suffix stands for; None where it stands for none."""
    return FORMATS.get(os.path.splitext(path)[1].lower())


def format_of(path: str) -> Format:
    """The format of a file, by its suffix; a pipe without one carries text.

    Raises
    ------
    DataError
        If the suffix is not one of the list, with a hint from the file's first bytes.
    """
    if path == "-":
        return _STREAM
    if os.path.isdir(path) and is_zarr(path):
        return _ZARR
    found = suffix_format(path)
    if found is not None:
        return found
    if _is_pipe(path):
        return _STREAM
    size = readable_file(path).st_size
    with open(path, "rb") as file:
        guess = looks_like(file.read(512), size)
    suffix = os.path.splitext(path)[1]
    hint = f"; the file looks like {guess[1]}" if guess else ""
    named = f"suffix {suffix!r} is not one of" if suffix else "without a suffix, expected one of"
    raise DataError(path, "", f"{named} {' '.join(FORMATS)}{hint}")


def open_arrays(path: str, limits: Limits) -> tuple[Format, dict[str, StoredArray]]:
    """The format of one file and every array in it, none of them read."""
    file_format = format_of(path)
    text_in_a_pipe = file_format in (_STREAM, _CSV, _TSV, _JSONL) and _is_pipe(path)
    if file_format is not _ZARR and not text_in_a_pipe:
        readable_file(path)
        check_magic(path, file_format.name)
    arrays = file_format.open(path, limits)
    check_names(path, arrays)
    return file_format, arrays


def _is_pipe(path: str) -> bool:
    """Whether a path is standard input or a pipe, which can be read only once."""
    try:
        return path == "-" or stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
