"""How a bad input is written down: a builder of the file, and what must come of it."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = [
    "LABELS",
    "REFUSED",
    "WORKS",
    "Z",
    "hdf5",
    "npy_bytes",
    "npy_header",
    "npz",
    "parquet",
    "refused",
    "safetensors",
    "torch_file",
    "works",
    "written",
]

Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
LABELS = np.array([0, 1, 2, -1])

REFUSED: list[Any] = []
WORKS: list[Any] = []


def refused(row: int, *words: str, **options: Any) -> Callable[[Any], Any]:
    """A case whose builder returns the path that must be refused in these words."""

    def register(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
        REFUSED.append(pytest.param(build, words, options, id=f"{row}-{build.__name__}"))
        return build

    return register


def works(row: int, warning: str = "", **options: Any) -> Callable[[Any], Any]:
    """A case whose builder returns a path and the logits that must come out of it."""

    def register(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
        WORKS.append(pytest.param(build, warning, options, id=f"{row}-{build.__name__}"))
        return build

    return register


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npy_bytes(array: Any, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version=version)
    return stream.getvalue()


def npy_header(text: str) -> bytes:
    body = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return path


def safetensors(folder: Path, header: str | bytes, data: bytes = b"") -> Path:
    raw = header.encode() if isinstance(header, str) else header
    return written(folder, "x.safetensors", struct.pack("<Q", len(raw)) + raw + data)


def hdf5(folder: Path) -> Any:
    import h5py

    return h5py.File(folder / "x.h5", "w")


def torch_file(folder: Path, content: Any, **options: Any) -> Path:
    import torch

    path = folder / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **options)
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = folder / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path
