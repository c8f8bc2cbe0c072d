"""Rows 42-44: HDF5 and Zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.io.bad_inputs.registry import (
    Z,
    hdf5,
    refused,
    written,
)


@refused(42, "logits: is a link to", "links are not followed")
def hdf5_external_link(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "secret.h5", "w") as file:
        file["z"] = Z
    with hdf5(folder) as file:
        file["logits"] = h5py.ExternalLink(str(folder / "secret.h5"), "/z")
    return folder / "x.h5"


@refused(42, "logits: is a link to")
def hdf5_soft_link_through_an_external_one(folder: Path) -> Path:
    import h5py

    path = hdf5_external_link(folder)
    with h5py.File(path, "w") as file:
        file["away"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
        file["logits"] = h5py.SoftLink("/away/z")
    return path


@refused(42, "another file")
def hdf5_external_storage(folder: Path) -> Path:
    secret = written(folder, "secret.bin", bytes(48))
    with hdf5(folder) as file:
        file.create_dataset("logits", (4, 3), "f4", external=[(str(secret), 0, 48)])
    return folder / "x.h5"


@refused(42, "virtual dataset")
def hdf5_virtual_dataset(folder: Path) -> Path:
    import h5py

    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "z", (4, 3))
    with hdf5(folder) as file:
        file.create_virtual_dataset("logits", layout)
    return folder / "x.h5"


@refused(43, "chunks of shape (1000000000, 1000) are missing")
def hdf5_declares_4_tb(folder: Path) -> Path:
    with hdf5(folder) as file:
        file.create_dataset("logits", (10**9, 1000), "f4", chunks=(1000, 1000))
    return folder / "x.h5"


@refused(43, "never written")
def hdf5_declares_4_tb_in_one_piece(folder: Path) -> Path:
    with hdf5(folder) as file:
        file.create_dataset("logits", (10**9, 1000), "f4")
    return folder / "x.h5"


@refused(43, "claim to be")
def hdf5_bomb(folder: Path) -> Path:
    with hdf5(folder) as file:
        made = file.create_dataset(
            "logits", (20_000, 1000), "f4", chunks=(2000, 1000), compression="gzip"
        )
        made[:] = 0
    return folder / "x.h5"


def _zarr(folder: Path, **options: Any) -> Any:
    import zarr

    return zarr.open_group(folder / "x.zarr", mode="w", **options)


@refused(44, "logits: 1 of 2 chunks are missing", "write_empty_chunks")
def zarr_missing_chunk(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder).create_array("logits", data=data, chunks=(2, 2))
    (folder / "x.zarr" / "logits" / "c" / "1" / "0").unlink()
    return folder / "x.zarr"


@refused(44, "chunk 1.0 is missing")
def zarr_2_chunk_under_a_wrong_name(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder, zarr_format=2).create_array("logits", data=data, chunks=(2, 2))
    chunk = folder / "x.zarr" / "logits" / "1.0"
    chunk.rename(chunk.with_name("7.0"))
    return folder / "x.zarr"


@refused(44, "claim to be")
def zarr_declares_40_tb(folder: Path) -> Path:
    _zarr(folder).create_array("logits", shape=(10**10, 1000), dtype="f4", chunks=(10**5, 1000))
    return folder / "x.zarr"


@refused(44, "objects", "never unpickled")
def zarr_of_objects(folder: Path) -> Path:
    _zarr(folder, zarr_format=2)
    (folder / "x.zarr" / "logits").mkdir()
    metadata = {
        "zarr_format": 2,
        "shape": [2],
        "chunks": [2],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    written(folder / "x.zarr" / "logits", ".zarray", json.dumps(metadata))
    return folder / "x.zarr"


@refused(44, "codec 'pickle'")
def zarr_pickle_filter_on_numbers(folder: Path) -> Path:
    path = zarr_of_objects(folder)
    file = path / "logits" / ".zarray"
    file.write_text(file.read_text().replace("|O", "<f4"))
    return path


@refused(44, "symbolic link")
def zarr_chunk_that_leads_out(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder).create_array("logits", data=data, chunks=(4, 2), compressors=None)
    secret = written(folder, "secret", bytes(64))
    chunk = folder / "x.zarr" / "logits" / "c" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(secret)
    return folder / "x.zarr"


@refused(44, "not a Zarr store")
def zarr_folder_without_metadata(folder: Path) -> Path:
    (folder / "x.zarr").mkdir()
    return folder / "x.zarr"
