"""Score files of OpenOOD: `scores/<dataset>.npz` with `pred`, `conf` and `label`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ood_toolkit.datasets.records import BenchmarkRecord
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import atomic_write
from ood_toolkit.io.gate import Limits, refusing
from ood_toolkit.io.npz import open_npz, write_npz
from ood_toolkit.outputs import Array

__all__ = ["ScoreFile", "ScoreFolder", "read_openood_scores", "write_openood_scores"]

KEYS = ("pred", "conf", "label")
OUTSIDE = -1
"""The label that marks a row as out-of-distribution in OpenOOD's files."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreFile:
    """One set of scored rows.

    Parameters
    ----------
    prediction : (N,) array of int64
        The class each row is taken for.
    score : (N,) array of float64
        OpenOOD's `conf`; larger = more in-distribution.
    label : (N,) array of int64
        The class, or -1 out of distribution.
    """

    prediction: Array
    score: Array
    label: Array

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreFolder:
    """The score files of one method.

    Parameters
    ----------
    id_name : str
        What the in-distribution file is called.
    id : ScoreFile
        In-distribution test rows.
    csid, ood : mapping of str to ScoreFile
        Rows of the known classes under a shift; rows that belong to none.
    """

    id_name: str
    id: ScoreFile
    csid: Mapping[str, ScoreFile]
    ood: Mapping[str, ScoreFile]


def read_openood_scores(
    folder: str | Path, record: BenchmarkRecord | None = None, id_name: str = ""
) -> ScoreFolder:
    """Read the score files that OpenOOD writes with `recorder.save_scores`.

    Parameters
    ----------
    folder : str or Path
        Of `.npz` files, one a data set.
    record : BenchmarkRecord, optional
        Says which file holds the in-distribution rows and which the shifted ones.
    id_name : str
        The in-distribution file's name, where several hold rows of known classes.

    Returns
    -------
    ScoreFolder
        Files of rows with label -1 are out-of-distribution.

    Raises
    ------
    DataError
        If a file is none of OpenOOD's, or no file or several could be the in-distribution one.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, label in (("digits", [0, 1]), ("street", [-1, -1])):
    ...         path = os.path.join(folder, f"{name}.npz")
    ...         np.savez(path, pred=[0, 1], conf=[0.9, 0.4], label=label)
    ...     scores = read_openood_scores(folder)
    >>> scores.id_name, list(scores.ood), scores.id.score.tolist()
    ('digits', ['street'], [0.9, 0.4])
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(str(folder), "", "is no folder of score files")
    files = {path.stem: _file(str(path)) for path in sorted(place.glob("*.npz"))}
    ood = {name: file for name, file in files.items() if (file.label == OUTSIDE).all()}
    inside = [name for name in files if name not in ood]
    expected = id_name or (record.id if record and record.id in inside else "")
    if not expected and len(inside) == 1:
        expected = inside[0]
    if expected not in inside:
        what = f"{', '.join(inside)} hold known classes" if inside else "no file has known classes"
        raise DataError(
            str(folder), "", f"{what}; name the in-distribution file with --id-name (id_name=)"
        )
    shifted = {name: files[name] for name in inside if name != expected}
    if record is not None:
        for name in [*ood, *shifted]:
            if name not in record.groups:
                raise DataError(
                    str(folder),
                    name,
                    f"is no set of {record.name}, which has {', '.join(record.groups)}",
                )
        ood = {name: ood[name] for name in record.groups if name in ood}
    return ScoreFolder(expected, files[expected], MappingProxyType(shifted), MappingProxyType(ood))


def _file(path: str) -> ScoreFile:
    arrays = open_npz(path, Limits())
    columns = {}
    for key in KEYS:
        if key not in arrays:
            held = ", ".join(arrays) or "nothing"
            raise DataError(path, key, f"is missing; OpenOOD's score files hold pred, conf and "
                                       f"label, this one {held}")  # fmt: skip
        arrays[key].admit()
        values = arrays[key].load()
        if values.ndim != 1:
            raise DataError(path, key, f"has shape {values.shape}, expected (N,)")
        columns[key] = values
    rows = {key: len(values) for key, values in columns.items()}
    if len(set(rows.values())) > 1 or not rows["conf"]:
        raise DataError(path, "", f"has {rows} rows; expected as many of each, and one or more")
    if columns["conf"].dtype.kind not in "fiu":
        raise DataError(path, "conf", f"is {columns['conf'].dtype}, not numbers")
    score = columns["conf"].astype(np.float64)
    if (bad := np.isnan(score)).any():
        raise DataError(path, "conf", f"row {int(np.argmax(bad))} is NaN")
    for key in ("pred", "label"):
        if columns[key].dtype.kind not in "iu":
            raise DataError(path, key, f"is {columns[key].dtype}, not whole numbers")
    label = columns["label"].astype(np.int64)
    outside = label == OUTSIDE
    if outside.any() and not outside.all():
        row = int(np.argmax(outside != outside[0]))
        raise DataError(path, "label", f"row {row} is {label[row]}: a file holds either known "
                                       "classes or -1 throughout")  # fmt: skip
    return ScoreFile(columns["pred"].astype(np.int64), score, label)


def write_openood_scores(folder: str | Path, files: Mapping[str, ScoreFile]) -> list[str]:
    """Write score files as OpenOOD has them.

    Parameters
    ----------
    folder : str or Path
        Made if need be; files of the same names are replaced.
    files : mapping of str to ScoreFile
        By data set; out-of-distribution rows are those with label -1.

    Returns
    -------
    list of str
        The files written.

    Raises
    ------
    InputError
        If there is nothing to write, or a name is no name of a file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> one = ScoreFile(np.array([1, 0]), np.array([0.5, 0.25]), np.array([-1, -1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_openood_scores(folder, {"street": one})
    >>> [path.rsplit("/")[-1] for path in written]
    ['street.npz']
    """
    if not files:
        raise InputError("there are no scores to write")
    with refusing(str(folder)):
        os.makedirs(folder, exist_ok=True)
    written = []
    for name, file in files.items():
        if not name or os.path.basename(name) != name:
            raise InputError(f"{name!r} cannot name a score file")
        path = os.path.join(folder, f"{name}.npz")
        columns: dict[str, Any] = {
            "pred": file.prediction.astype(np.int64),
            "conf": file.score,
            "label": file.label.astype(np.int64),
        }
        with atomic_write(path) as out:
            write_npz(columns, out)
        written.append(path)
    return written
