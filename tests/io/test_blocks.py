"""Rows are read a block at a time, and large arrays are mapped: the numbers stay the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import DataError
from ood_toolkit.io import describe, load, open_source, save_outputs
from ood_toolkit.io import gate as gate_module
from ood_toolkit.outputs import Outputs
from tests.io.test_formats import HOLDS, C, assert_same, record


def write_compressed(x: Outputs, path: Path) -> None:
    np.savez_compressed(path, logits=x.logits, labels=x.labels)


def write_fortran(x: Outputs, path: Path) -> None:
    np.savez(path, logits=np.asfortranarray(x.logits), labels=x.labels)


def write_fortran_compressed(x: Outputs, path: Path) -> None:
    np.savez_compressed(path, logits=np.asfortranarray(x.logits), labels=x.labels)


def write_chunked_hdf5(x: Outputs, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        options = {"chunks": (5, 3), "compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("logits", data=x.logits, **options)
        file["labels"] = x.labels


def write_zarr_2(x: Outputs, path: Path) -> None:
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("logits", data=x.logits, chunks=(5, 3))
    group.create_array("labels", data=x.labels)


def write_sharded_zarr(x: Outputs, path: Path) -> None:
    import zarr

    group = zarr.open_group(path, mode="w")
    group.create_array("logits", data=x.logits, chunks=(5, 4), shards=(10, 4))
    group.create_array("labels", data=x.labels)


def parquet_table(x: Outputs, path: Path, columns: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    assert x.logits is not None
    assert x.labels is not None
    table = pa.table(columns(pa, x.logits) | {"labels": x.labels})
    pq.write_table(table, path, row_group_size=7, data_page_size=64)


def write_parquet_lists(x: Outputs, path: Path) -> None:
    parquet_table(x, path, lambda pa, z: {"logits": pa.array(z.tolist(), pa.list_(pa.float32()))})


def write_parquet_columns(x: Outputs, path: Path) -> None:
    order = [2, 0, 3, 1]
    parquet_table(x, path, lambda pa, z: {f"logits_{i}": z[:, i] for i in order})


def write_parquet_numbers(x: Outputs, path: Path) -> None:
    parquet_table(x, path, lambda pa, z: {str(i): z[:, i] for i in range(C)})


def write_jsonl(x: Outputs, path: Path) -> None:
    assert x.logits is not None
    assert x.labels is not None
    with open(path, "w", encoding="utf-8") as file:
        for row, label in zip(x.logits.tolist(), x.labels.tolist(), strict=True):
            file.write(json.dumps({"logits": row, "label": label}) + "\n")


def write_tsv(x: Outputs, path: Path) -> None:
    save_outputs(x, path.with_suffix(".csv"))
    path.write_text(path.with_suffix(".csv").read_text().replace(",", "\t"))


WRITERS: list[Any] = [
    *((save_outputs, suffix) for suffix in sorted(HOLDS.keys() - {".npy", ".pth", ".hdf5"})),
    (write_compressed, ".npz"),
    (write_fortran, ".npz"),
    (write_fortran_compressed, ".npz"),
    (write_chunked_hdf5, ".h5"),
    (write_zarr_2, ".zarr"),
    (write_sharded_zarr, ".zarr"),
    (write_parquet_lists, ".parquet"),
    (write_parquet_columns, ".parquet"),
    (write_parquet_numbers, ".parquet"),
    (write_jsonl, ".jsonl"),
    (write_tsv, ".tsv"),
]


@pytest.mark.parametrize(("write", "suffix"), WRITERS, ids=[f"{w.__name__}{s}" for w, s in WRITERS])
def test_blocks_of_rows_are_slices_of_the_whole(
    write: Callable[[Outputs, Path], None], suffix: str, tmp_path: Path
) -> None:
    x = record(parts={"logits", "labels"})
    path = tmp_path / f"x{suffix}"
    write(x, path)
    assert_same(x, load(path), types=suffix not in (".csv", ".tsv", ".jsonl"))
    arrays = open_source(path).arrays
    for name, whole in (("logits", x.logits), ("labels", x.labels)):
        stored = arrays[name]
        stored.admit()
        # forwards, backwards, beyond the end, empty
        for start, stop in ((0, 5), (5, 17), (17, 99), (3, 4), (0, None), (6, 6), (20, 2)):
            np.testing.assert_array_equal(stored.read(start, stop), whole[start:stop])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pt"])
def test_large_arrays_are_maps_and_small_ones_copies(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    x = record(parts={"logits"})
    save_outputs(x, path)
    small = load(path).logits
    for module in ("flat", "torch_file"):
        monkeypatch.setattr(f"ood_toolkit.io.{module}.MAP_FROM", 8)
    large = load(path).logits
    assert small is not None
    assert large is not None
    assert small.flags.writeable
    assert not large.flags.writeable
    assert large.flags.aligned
    np.testing.assert_array_equal(large, small)


def test_a_map_keeps_fortran_order_and_converts_byte_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ood_toolkit.io.flat.MAP_FROM", 8)
    z = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "f.npy", np.asfortranarray(z))
    np.save(tmp_path / "b.npy", z.astype(">f8"))
    for name in ("f.npy", "b.npy"):
        logits = load(tmp_path / name).logits
        assert logits is not None
        assert logits.dtype == np.float64
        assert logits.dtype.isnative
        np.testing.assert_array_equal(logits, z)
        np.testing.assert_array_equal(
            open_source(tmp_path / name).arrays["logits"].read(1, 3), z[1:3]
        )


def test_an_unaligned_member_is_copied_not_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ood_toolkit.io.flat.MAP_FROM", 8)
    z = np.arange(12.0).reshape(4, 3)
    for name in ("a", "ab", "abc", "abcd"):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr(f"{name}", "shifts what follows")
            with archive.open("logits.npy", "w") as stream:
                np.lib.format.write_array(stream, z)
        logits = load(tmp_path / "x.npz").logits
        assert logits is not None
        assert logits.flags.aligned
        np.testing.assert_array_equal(logits, z)


def test_members_of_written_npz_can_be_mapped(tmp_path: Path) -> None:
    save_outputs(record("float64"), tmp_path / "x.npz")
    for stored in open_source(tmp_path / "x.npz").arrays.values():
        assert stored.offset % 64 == 0  # type: ignore[attr-defined]
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["logits"], record("float64").logits)


def test_what_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, logits=np.random.default_rng(0).normal(size=(20, 3)))
    monkeypatch.setattr(gate_module, "MAP_FROM", 8)
    monkeypatch.setattr(gate_module, "available_memory", lambda: 100)
    with pytest.raises(DataError, match="needs 480 bytes of memory and 100 bytes is available"):
        load(path)


def test_describe_reads_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 3), np.float32))
    raw = path.read_bytes()
    with open(path, "wb") as file:  # 300 GB of nothing, at no cost
        header = raw[:128].replace(b"(4, 3), }        ", b"(25000000000, 3)}")
        file.write(header)
        file.truncate(128 + 25_000_000_000 * 12)
    assert describe(path).arrays[0].shape == (25_000_000_000, 3)
    logits = load(path).logits
    assert logits is not None
    assert logits[24_999_999_999].tolist() == [0, 0, 0]


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """As numpy does of an array in memory, and not counted from the front again."""
    z = np.random.default_rng(0).normal(size=(300_000, 20))
    np.save(tmp_path / "x.npy", z)
    rows = load(tmp_path / "x.npy", memory=1 << 34).logits
    assert rows is not None
    np.testing.assert_array_equal(rows[[5, -1, -300_000]], z[[5, -1, 0]])
    np.testing.assert_array_equal(rows[np.arange(300_000) == 7], z[[7]])
    assert rows[[]].shape == (0, 20)
    for index in ([300_000], [0, -300_001], np.ones(299_999, bool)):
        with pytest.raises(IndexError):
            rows[index]
