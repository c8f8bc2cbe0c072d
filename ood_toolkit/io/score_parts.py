"""Scores that lie in parts, read back as one table."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Mapping

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import Limits, check_allocation, refusing
from ood_toolkit.io.manifest import MANIFEST
from ood_toolkit.io.npy import open_npy
from ood_toolkit.io.zarr_folder import open_zarr
from ood_toolkit.outputs import Array

__all__ = ["joined_parts", "npy_table", "score_parts", "zarr_table"]


def score_parts(name: str) -> list[str] | None:
    """The parts that `FOLDER/*.suffix` stands for, in the order of the rows; None for a file.

    Raises
    ------
    DataError
        If there are none, or the folder's manifest says that some are missing.
    """
    folder, last = os.path.split(name)
    if not last.startswith("*."):
        return None
    found = sorted(glob.glob(os.path.join(glob.escape(folder or "."), last)))
    if not found:
        raise DataError(name, "", "no file matches this pattern")
    manifest = os.path.join(folder, MANIFEST)
    if os.path.exists(manifest):
        with refusing(manifest), open(manifest, encoding="utf-8") as file:
            finished = json.load(file)["finished"]
        if not finished or finished["parts"] != len(found):
            raise DataError(name, "", "is not whole; finish it with --resume")
    return found


def joined_parts(
    name: str, parts: list[str], read: Callable[[str], Mapping[str, Array]]
) -> dict[str, Array]:
    """The columns of some tables below each other.

    Raises
    ------
    DataError
        If they have different columns.
    """
    tables = [read(part) for part in parts]
    for part, table in zip(parts, tables, strict=True):
        if list(table) != list(tables[0]):
            raise DataError(name, os.path.basename(part), "has other columns than the first part")
    return {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}


def npy_table(name: str) -> dict[str, Array]:
    """The columns of a `.npy` file of one array of named fields."""
    (stored,) = open_npy(name, Limits()).values()  # refuses objects, and a size that is not so
    with refusing(name):
        if stored.dtype is None or stored.dtype.names is None or len(stored.shape) != 1:
            raise DataError(name, "", "is no table of scores: an array of named fields")
        check_allocation(name, "", stored.nbytes)
        fields = np.load(name, allow_pickle=False)
        return {key: np.ascontiguousarray(fields[key]) for key in stored.dtype.names}


def zarr_table(name: str) -> dict[str, Array]:
    """The columns of a `.zarr` folder, in the order of a table of scores."""
    table = {}
    for key, array in open_zarr(name, Limits()).items():
        array.admit()
        table[key] = array.load()
    first = [key for key in ("index", "prediction", "label") if key in table]
    return {key: table[key] for key in (*first, *(k for k in table if k not in first))}
