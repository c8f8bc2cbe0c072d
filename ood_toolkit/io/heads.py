"""The last layer of a classifier, read from a file: `load_head`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io.convert import floats
from ood_toolkit.io.formats import open_arrays
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.keys import choose_head
from ood_toolkit.io.object_files import files_of, is_object, saying_whose
from ood_toolkit.io.source import file_name
from ood_toolkit.io.stored import StoredArray
from ood_toolkit.outputs import Head

__all__ = ["load_head", "stored_head"]


def load_head(
    path: str | Path, *, keys: Mapping[str, str] | None = None, max_bytes: int | None = None
) -> Head:
    """Read a classifier's last layer from a file.

    Parameters
    ----------
    path : str or Path
        A file of any format that `load` takes, or the URL of one.
    keys : mapping of str to str, optional
        ``"head_weight"`` and ``"head_bias"`` -> the file's keys.
    max_bytes : int, optional
        Most bytes one array may take.

    Returns
    -------
    Head
        weight (C, D); bias (C,), zeros where the file has none.

    Raises
    ------
    DataError
        If the file cannot be read or holds no head.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "head.npz")
    ...     np.savez(path, W=np.ones((2, 5)), b=np.zeros(2))
    ...     load_head(path).weight.shape
    (2, 5)
    """
    name = file_name(path)
    places = files_of(name, max_bytes) if is_object(name) else {name: name}
    if len(places) > 1:
        raise DataError(name, "", "stands for several files; name the one that holds the head")
    (place,) = places.values()
    with saying_whose(places):
        _, arrays = open_arrays(place, Limits(max_bytes))
        wanted = {k: v for k, v in (keys or {}).items() if k in ("head_weight", "head_bias")}
        for canonical, key in wanted.items():
            if key not in arrays:
                raise DataError(name, key, f"no such array for the {canonical}")
        chosen = {canonical: arrays[key] for canonical, key in wanted.items()}
        if "head_weight" not in chosen:
            chosen = choose_head(arrays) | chosen
        if "head_weight" not in chosen:
            if len(arrays) != 1:
                raise DataError(
                    name,
                    "",
                    f"holds no head; expected head_weight and head_bias (or W and b, fc.weight and "
                    f"fc.bias) among {', '.join(map(repr, list(arrays)[:12]))}",
                )
            chosen["head_weight"] = next(iter(arrays.values()))
        return stored_head(chosen["head_weight"], chosen.get("head_bias"))


def stored_head(weight: StoredArray, bias: StoredArray | None) -> Head:
    """The head in two arrays of a file; `DataError` where they do not fit."""
    try:
        return Head(
            floats(weight, "head_weight", None),
            None if bias is None else floats(bias, "head_bias", None),
        )
    except DataError:
        raise
    except InputError as reason:
        raise DataError(weight.path, "", str(reason)) from reason
