"""Data sets that Hugging Face's `save_to_disk` wrote: Arrow streams beside a `state.json`."""

from __future__ import annotations

import json
import struct
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
            file = str(root / Path(entry["filename"]).name)
            with pa.memory_map(file) as source:
                _refuse_compressed(file, pa.ipc.MessageReader.open_stream(source))
                source.seek(0)
                tables.append(pa.ipc.open_stream(source).read_all())
        return pa.concat_tables(tables)


def _refuse_compressed(file: str, messages: Any) -> None:
    """Rows that `save_to_disk` wrote are mapped; compressed ones may unpack to any size."""
    for message in messages:
        if message.type in ("record batch", "dictionary") and _is_compressed(message):
            raise DataError(file, "", "is compressed, as save_to_disk never does; save it again")


def _is_compressed(message: Any) -> bool:
    """Whether the batch in a message says how its buffers are compressed.

    Its description is a FlatBuffer: a table begins with the distance to a list of where its
    fields lie, 0 for those that are left out.
    """
    raw = message.metadata.to_pybytes()

    def field(table: int, number: int) -> int:
        places = table - struct.unpack_from("<i", raw, table)[0]
        (length,) = struct.unpack_from("<H", raw, places)
        at = 4 + 2 * number
        return int(struct.unpack_from("<H", raw, places + at)[0]) if at < length else 0

    def inside(table: int, number: int) -> int:
        at = table + field(table, number)
        return at + int(struct.unpack_from("<I", raw, at)[0])

    (root,) = struct.unpack_from("<I", raw)
    batch = inside(root, 2)
    if message.type == "dictionary":
        batch = inside(batch, 1)
    return field(batch, 3) > 0
