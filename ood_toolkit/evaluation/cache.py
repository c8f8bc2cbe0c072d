"""Scores and fitted detectors kept between runs, found by what they were computed from."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.persistence import read_scorer
from ood_toolkit.detectors.saving import save_scorer
from ood_toolkit.errors import DataError, ToolkitWarning
from ood_toolkit.io import atomic_write
from ood_toolkit.io.gate import one_line, refusing
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.outputs import Array, Outputs

__all__ = ["LARGEST_FIT", "Cache", "NoCache", "record_digest", "toolkit_digest"]

LARGEST_FIT = 1 << 30
"""Bytes of a fitted detector that are kept at most; a larger one is fitted again."""

_SCORED = ("logits", "features", "members", "token_logits", "token_mask", "token_ids")


class NoCache:
    """Remembers nothing."""

    def key(self, **made_from: Any) -> str:
        """What an entry would be found by."""
        return ""

    def get(self, key: str) -> dict[str, Array] | None:
        """Nothing is ever there."""
        return None

    def put(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Nothing is kept."""

    def get_scorer(self, key: str) -> FittedScorer | None:
        """Nothing is ever there."""
        return None

    def put_scorer(self, key: str, scorer: FittedScorer) -> None:
        """Nothing is kept."""


class Cache(NoCache):
    """A folder of arrays and detectors, each found by a sha256 of all it was computed from.

    Entries are `.npz` and detector files with checksums, written so that a killed run leaves
    whole ones or none; a damaged one is noted and computed again.  Nothing is unpickled.  The
    folder may be deleted at any time, and two runs may share it.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.

    Raises
    ------
    DataError
        If the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Cache(folder)
    ...     key = kept.key(method="energy", set="0123")
    ...     kept.put(key, {"scores": np.arange(3.0)})
    ...     kept.get(key)["scores"].tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise DataError(
                str(folder), "", f"cannot be made: {one_line(reason)}; choose another cache folder"
            ) from reason

    def key(self, **made_from: Any) -> str:
        """64 hexadecimal digits of what an entry is made from, and of the toolkit itself."""
        recipe = {"toolkit": toolkit_digest(), **made_from}
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> dict[str, Array] | None:
        """The arrays of an entry; None where it is missing or, with a note, damaged."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with (
                refusing(path.name),
                path.open("rb") as stream,  # numpy leaves a damaged file open
                np.load(stream, allow_pickle=False) as file,
            ):
                return {name: file[name] for name in file.files}
        except DataError as reason:
            warnings.warn(f"cache: {reason}; it is computed again", ToolkitWarning, stacklevel=3)
            return None

    def put(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays; all of them or, after a crash, none.

        Raises
        ------
        DataError
            If the folder cannot be written, or the disk is full.
        """
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            kept: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
            np.savez(file, **kept)

    def get_scorer(self, key: str) -> FittedScorer | None:
        """The fitted detector of an entry; None where it is missing or, with a note, damaged."""
        path = self._path(key, ".safetensors")
        if not key or not path.exists():
            return None
        try:
            return read_scorer(path).scorer
        except DataError as reason:
            said = f"{path.name}: {reason.reason}"
            warnings.warn(f"cache: {said}; it is fitted again", ToolkitWarning, stacklevel=3)
            return None

    def put_scorer(self, key: str, scorer: FittedScorer) -> None:
        """Keep a fitted detector of at most `LARGEST_FIT` bytes as a detector file.

        Raises
        ------
        DataError
            If the folder cannot be written, or the disk is full.
        """
        if key and _array_bytes(scorer) <= LARGEST_FIT:
            path = self._path(key, ".safetensors")
            path.parent.mkdir(exist_ok=True)
            save_scorer(scorer, path)

    def _path(self, key: str, suffix: str = ".npz") -> Path:
        return self.folder / key[:2] / f"{key}{suffix}"


def _array_bytes(value: Any) -> int:
    """Bytes of the arrays in a fitted thing, and in what it is made of."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(_array_bytes, value))
    if is_dataclass(value):
        return sum(_array_bytes(getattr(value, f.name)) for f in fields(value))
    return 0


def record_digest(x: Outputs | None, *, labels: bool) -> str | None:
    """Sha256 of all that scores or fits can depend on: every array's name, type, shape, bytes.

    Parameters
    ----------
    x : Outputs or None
    labels : bool
        Whether the labels count, as they do for a fit.
    """
    if x is None:
        return None
    named = {name: getattr(x, name) for name in _SCORED}
    named |= {f"layers/{name}": array for name, array in sorted(x.layers.items())}
    if x.head is not None:
        named |= {"head/weight": x.head.weight, "head/bias": x.head.bias}
    if labels:
        named["labels"] = x.labels
    digest = hashlib.sha256()
    for name, array in named.items():
        if array is None:
            continue
        digest.update(f"{name} {array.dtype.str if array.dtype.kind != 'V' else array.dtype} "
                      f"{array.shape}\n".encode())  # fmt: skip
        for part in row_chunks(array.shape[0]):
            digest.update(np.ascontiguousarray(array[part]).view(np.uint8).data)
    return digest.hexdigest()


@cache
def toolkit_digest() -> str:
    """Sha256 of the toolkit's version and modules, and of numpy's version.

    A changed line of code makes every entry a stranger: a cache cannot hold figures of old
    code.
    """
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(f"{version('ood_toolkit')} numpy {np.__version__}".encode())
    digest.update(os.environ.get("OOD_TOOLKIT_KERNELS", "").encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
