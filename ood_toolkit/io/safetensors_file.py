"""`.safetensors` files: checked by their library, then mapped."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.flat import FlatArray
from ood_toolkit.io.gate import Limits, check_names, readable_file, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray

__all__ = ["open_safetensors", "safetensors_metadata"]

_LARGEST_HEADER = 4 << 20

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
    "C64": np.dtype("<c8"),
}


def open_safetensors(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every tensor of the file; the library vouches for offsets, holes and overlaps."""
    header, start, size = _checked_header(path)
    with refusing(path):
        return {
            name: _tensor(path, name, entry, start, size, limits)
            for name, entry in header.items()
            if name != "__metadata__"
        }


def safetensors_metadata(path: str | Path) -> dict[str, str]:
    """The texts a `.safetensors` file holds beside its tensors.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of str to str
        Empty where there are none.

    Raises
    ------
    DataError
        If the file is not a sound `.safetensors` file.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.safetensors")
    ...     save_file({"a": np.zeros(2)}, path, metadata={"method": "msp"})
    ...     safetensors_metadata(path)
    {'method': 'msp'}
    """
    header, _, _ = _checked_header(os.fspath(path))
    return dict(header.get("__metadata__", {}))


def _checked_header(path: str) -> tuple[dict[str, Any], int, int]:
    """The header, where the tensors begin, and the size of the file."""
    from safetensors import safe_open

    size = readable_file(path).st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(_LARGEST_HEADER, size - 8):
            raise DataError(path, "", f"the header claims {length} bytes: it is damaged")
        raw = stream.read(length)
    with refusing(path):
        with safe_open(path, framework="numpy"):
            pass
        return _header(path, raw), 8 + length, size


def _header(path: str, raw: bytes) -> dict[str, Any]:
    """The JSON header, every name in it unique."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_names(path, (name for name, _ in pairs))
        found = dict(pairs)
        if len(found) != len(pairs):
            names = Counter(name for name, _ in pairs)
            # The library silently takes the last one.
            raise DataError(path, names.most_common(1)[0][0], "the header names it twice")
        return found

    header: dict[str, Any] = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    return header


def _tensor(
    path: str, name: str, entry: dict[str, Any], start: int, size: int, limits: Limits
) -> StoredArray:
    shape = tuple(entry["shape"])
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        return RefusedArray(
            path=path,
            key=name,
            shape=shape,
            dtype=None,
            foreign=str(entry["dtype"]),
            limits=limits,
            reason=f"{entry['dtype']} numbers cannot be used; save them as bfloat16 or float32",
        )
    begin, end = entry["data_offsets"]
    array = FlatArray(
        path=path,
        key=name,
        shape=shape,
        dtype=dtype,
        limits=limits,
        offset=start + begin,
        file_size=size,
    )
    if array.nbytes != end - begin or start + end > size:
        raise DataError(path, name, f"shape {shape} of {dtype} does not fill its bytes")
    return array
