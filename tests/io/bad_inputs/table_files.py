"""Rows 37-41: Parquet, shards, Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.io.bad_inputs.registry import (
    LABELS,
    Z,
    npy_bytes,
    parquet,
    refused,
    works,
    written,
)


@refused(37, "row 1 is null")
def null_row(folder: Path) -> Path:
    import pyarrow as pa

    kind = pa.list_(pa.float32(), 2)
    return parquet(folder, logits=pa.array([[1, 2], None, [3, 4]], kind))


@refused(37, "row 2 holds a null")
def null_in_a_row(folder: Path) -> Path:
    import pyarrow as pa

    kind = pa.list_(pa.float32(), 2)
    return parquet(folder, logits=pa.array([[1, 2], [5, 6], [3, None]], kind))


@refused(37, "logits_1: row 1 is null")
def null_in_a_class_column(folder: Path) -> Path:
    return parquet(folder, logits_0=[1.0, 2.0], logits_1=[1.0, None])


@refused(38, "row 1 has 3 numbers, expected 2")
def ragged_lists(folder: Path) -> Path:
    return parquet(folder, logits=[[1.0, 2.0], [1.0, 2.0, 3.0]])


@works(39)
def no_rows(folder: Path) -> Any:
    import pyarrow as pa

    path = parquet(folder, logits=pa.array([], pa.list_(pa.float32(), 3)))
    return path, np.zeros((0, 3), np.float32)


@works(39)
def no_rows_npy(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:0])), Z[:0]


@works(39)
def unequal_row_groups(folder: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = np.arange(22, dtype=np.float32).reshape(11, 2)
    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 2)})
    with pq.ParquetWriter(folder / "x.parquet", table.schema) as writer:
        for start, stop in ((0, 1), (1, 8), (8, 8), (8, 11)):
            writer.write_table(table.slice(start, stop - start))
    return folder / "x.parquet", rows


def _shards(folder: Path, **last: Any) -> Path:
    np.savez(folder / "part-0.npz", logits=Z, labels=LABELS)
    np.savez(folder / "part-1.npz", **last)
    return folder


@refused(40, "part-1.npz", "truncated")
def bad_shard(folder: Path) -> Path:
    _shards(folder, logits=Z)
    raw = (folder / "part-1.npz").read_bytes()
    written(folder, "part-1.npz", raw[:-30])
    return folder


@refused(40, "part-1.npz: logits", "shape (4, 2)", "part-0.npz")
def shard_of_another_width(folder: Path) -> Path:
    return _shards(folder, logits=Z[:, :2], labels=LABELS)


@refused(40, "part-1.npz: logits", "float64")
def shard_of_another_type(folder: Path) -> Path:
    return _shards(folder, logits=Z.astype(np.float64), labels=LABELS)


@refused(40, "part-1.npz: labels", "missing")
def shard_without_labels(folder: Path) -> Path:
    return _shards(folder, logits=Z)


@refused(40, "one format", "part-0.npz", "other.npy")
def shards_of_two_formats(folder: Path) -> Path:
    np.save(folder / "other.npy", Z)
    return _shards(folder, logits=Z, labels=LABELS)


@refused(41, "load_from_disk", "to_parquet")
def arrow_stream_folder(folder: Path) -> Path:
    import pyarrow as pa

    table = pa.table({"logits": [[1.0, 2.0]]})
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    written(folder, "state.json", "{}")
    written(folder, "dataset_info.json", "{}")
    return folder


@refused(41, "Arrow", "convert it to .parquet")
def arrow_stream(folder: Path) -> Path:
    arrow_stream_folder(folder)
    return folder / "data-00000-of-00001.arrow"
