"""Data sets that Hugging Face's `save_to_disk` wrote: Arrow streams beside a `state.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.gate import refusing

__all__ = ["saved_dataset"]


def saved_dataset(path: str, split: str) -> Any:
    """The table of a saved data set, mapped, not read.

    Parameters
    ----------
    path : str
        A folder with `state.json`, or one with a folder for each split.
    split : str
        Which, where there are several.

    Returns
    -------
    pyarrow.Table
        Its columns as they were saved.

    Raises
    ------
    DataError
        If the folder holds no data set, or a file of it cannot be read.
    MissingDependency
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as reason:
        raise MissingDependency("pyarrow", "parquet", f"reading {path}") from reason
    root = Path(path)
    if not (root / "state.json").is_file() and (root / split / "state.json").is_file():
        root = root / split
    if not (root / "state.json").is_file():
        raise DataError(path, "", "holds no state.json; expected a folder of save_to_disk")
    tables = []
    with refusing(path):
        for entry in json.loads((root / "state.json").read_text(encoding="utf-8"))["_data_files"]:
            # a name alone: no path of a damaged file leads out of the folder
            with pa.memory_map(str(root / Path(entry["filename"]).name)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        return pa.concat_tables(tables)
