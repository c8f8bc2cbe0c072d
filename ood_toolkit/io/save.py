"""Records to files, in any of the formats, each written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from ood_toolkit.errors import DataError, InputError, MissingDependency
from ood_toolkit.io.atomic import atomic_folder, atomic_path, atomic_write
from ood_toolkit.io.gate import one_line
from ood_toolkit.io.npz import write_npz
from ood_toolkit.outputs import Array, Outputs

__all__ = ["SAVED_AS", "save_outputs"]

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_ROWS = 4096
_CHUNK_BYTES = 8 << 20


def save_outputs(outputs: Outputs, path: str | Path) -> None:
    """Write a record to a file that `load` reads back to the same arrays.

    Parameters
    ----------
    outputs : Outputs
        What to write.
    path : str or Path
        The suffix says the format: ``.npz``, ``.h5`` and ``.hdf5`` hold everything but
        bfloat16; ``.safetensors`` and ``.pt`` everything but text; ``.zarr`` neither;
        ``.parquet`` logits, features, layers, labels and text; ``.csv`` logits and labels,
        which come back as float64 of the same values; ``.npy`` logits alone.

    Raises
    ------
    InputError
        If the format cannot hold a part of the record; nothing is left out silently.
    DataError
        If the file cannot be written; what was there before is then intact.
    MissingDependency
        If the format's library is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from ood_toolkit.io import load
    >>> x = Outputs(logits=np.eye(2, dtype=np.float16), labels=[0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.safetensors")
    ...     save_outputs(x, path)
    ...     load(path).logits.dtype
    dtype('float16')
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _WRITERS:
        raise DataError(
            name, "", f"suffix {suffix!r} cannot be written; use one of {' '.join(_WRITERS)}"
        )
    arrays = _arrays(outputs)
    if not arrays:
        raise InputError("this record holds no arrays to write")
    holds, bfloat16, write = _WRITERS[suffix]
    for key, array in arrays.items():
        if not holds(key):
            raise InputError(f"{suffix} files cannot hold {key}; use .npz, or leave it out")
        if array.dtype == _BFLOAT16 and not bfloat16:
            raise InputError(
                f"{key}: {suffix} files cannot hold bfloat16; use .safetensors or .pt, or "
                "convert to float32"
            )
    try:
        write(arrays, name)
    except RuntimeError as reason:  # how torch reports a full disk
        raise DataError(name, "", f"cannot be written: {one_line(reason)}") from reason


def _arrays(outputs: Outputs) -> dict[str, Array]:
    """Canonical key -> contiguous array in native byte order."""
    named = {
        name: getattr(outputs, name)
        for name in ("logits", "features", "labels", "members", "token_logits")
    }
    named |= {f"layers/{name}": layer for name, layer in outputs.layers.items()}
    if outputs.head is not None:
        named |= {"head_weight": outputs.head.weight, "head_bias": outputs.head.bias}
    for name in ("token_mask", "token_ids", "thumbnails", "text"):
        named[name] = getattr(outputs, name)
    found = {}
    for key, array in named.items():
        if array is None:
            continue
        if key == "text":
            array = np.asarray(array, dtype=np.str_)  # object arrays would be pickled
        # safetensors writes the memory of an array that is not contiguous as if it were.
        found[key] = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return found


def _npz(arrays: Mapping[str, Array], name: str) -> None:
    with atomic_write(name) as file:
        write_npz(arrays, file)


def _npy(arrays: Mapping[str, Array], name: str) -> None:
    with atomic_write(name) as file:
        np.save(file, arrays["logits"], allow_pickle=False)


def _safetensors(arrays: Mapping[str, Array], name: str) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with atomic_path(name) as temporary:
        try:
            save_file(dict(arrays), temporary)
        except SafetensorError as reason:
            raise DataError(name, "", f"cannot be written: {one_line(reason)}") from reason


def _torch(arrays: Mapping[str, Array], name: str) -> None:
    try:
        import torch
    except ImportError as reason:
        raise MissingDependency("torch", "torch", f"writing {name}") from reason
    tensors = {}
    for key, array in arrays.items():
        if array.dtype == _BFLOAT16:
            tensors[key] = torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        else:
            tensors[key] = torch.from_numpy(array.copy())
    with atomic_write(name) as file:
        torch.save(tensors, file)


def _hdf5(arrays: Mapping[str, Array], name: str) -> None:
    try:
        import h5py
    except ImportError as reason:
        raise MissingDependency("h5py", "hdf5", f"writing {name}") from reason
    with atomic_write(name) as stream, h5py.File(stream, "w") as file:
        for key, array in arrays.items():
            if array.dtype.kind == "U":
                encoded = np.char.encode(array, "utf-8")
                kind = h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize))
                file.create_dataset(key, data=encoded.astype(kind))
            else:
                file.create_dataset(key, data=array)


def _zarr(arrays: Mapping[str, Array], name: str) -> None:
    try:
        import zarr
    except ImportError as reason:
        raise MissingDependency("zarr", "zarr", f"writing {name}") from reason
    with atomic_folder(name) as temporary:
        group = zarr.open_group(store=temporary, mode="w")
        for key, array in arrays.items():
            rows = max(1, min(len(array), _CHUNK_BYTES * len(array) // max(1, array.nbytes)))
            stored = group.create_array(
                key,
                shape=array.shape,
                dtype=array.dtype,
                chunks=(rows, *(max(1, n) for n in array.shape[1:])),
                # Left out, a chunk of zeros could not be told from a lost one.
                config={"write_empty_chunks": True},
            )
            # One chunk a call: none is still on its way to the disk when another one fails.
            for start in range(0, len(array), rows):
                stored[start : start + rows] = array[start : start + rows]


def _parquet(arrays: Mapping[str, Array], name: str) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as reason:
        raise MissingDependency("pyarrow", "parquet", f"writing {name}") from reason
    columns = {}
    for key, array in arrays.items():
        if array.ndim == 2:
            flat = pa.array(array.reshape(-1))
            columns[key] = pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
        else:
            text = array.dtype.kind == "U"  # no rows would not say so themselves
            columns[key] = pa.array(array.tolist(), pa.string()) if text else pa.array(array)
    with atomic_write(name) as file:
        parquet.write_table(pa.table(columns), file)


def _csv(arrays: Mapping[str, Array], name: str) -> None:
    logits, labels = arrays["logits"], arrays.get("labels")
    header = [f"logits_{column}" for column in range(logits.shape[1])]
    with atomic_write(name) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header + ["label"] * (labels is not None))
        for start in range(0, len(logits), _ROWS):
            # A float64 prints so that it reads back to the same bits; so do narrower floats.
            block = logits[start : start + _ROWS].astype(np.float64).tolist()
            if labels is not None:
                stop = start + len(block)
                for row, label in zip(block, labels[start:stop].tolist(), strict=True):
                    row.append(label)
            writer.writerows(block)
        text.flush()
        text.detach()


def _is_row_array(key: str) -> bool:
    return key in ("logits", "features", "labels", "text") or key.startswith("layers/")


_WRITERS: dict[
    str, tuple[Callable[[str], bool], bool, Callable[[Mapping[str, Array], str], None]]
] = {
    ".npz": (lambda key: True, False, _npz),
    ".safetensors": (lambda key: key != "text", True, _safetensors),
    ".npy": (lambda key: key == "logits", False, _npy),
    ".parquet": (_is_row_array, False, _parquet),
    ".h5": (lambda key: True, False, _hdf5),
    ".hdf5": (lambda key: True, False, _hdf5),
    ".zarr": (lambda key: key != "text", False, _zarr),
    ".pt": (lambda key: key != "text", True, _torch),
    ".pth": (lambda key: key != "text", True, _torch),
    ".csv": (lambda key: key in ("logits", "labels"), True, _csv),
}
"""Suffix -> (which keys it holds, whether it holds bfloat16, its writer)."""
SAVED_AS = tuple(_WRITERS)
"""Suffixes of the formats that are written."""
