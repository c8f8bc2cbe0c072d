"""Scores of an evaluation beside its results: a folder from which runs are compared row by row."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.evaluation.kept_scores import KeptScores
from ood_toolkit.evaluation.records import Evaluation
from ood_toolkit.evaluation.results_file import results_document
from ood_toolkit.io import atomic_write, load_scores
from ood_toolkit.io.gate import one_line, printable
from ood_toolkit.outputs import Array

__all__ = ["RESULTS", "read_scores", "save_scores"]

RESULTS = "results.json"
"""The results document in a folder of scores."""

_COLUMNS = ("index", "label")


def save_scores(result: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write the scores of an evaluation, a file a set, and its results beside them.

    Parameters
    ----------
    result : Evaluation
        Of `evaluate` with `keep_scores=True`.
    folder : path-like
        Made where it is missing.  Files are in the form that `ood-toolkit score` writes: `index`,
        `label` where it is known, and a column a method.

    Raises
    ------
    InputError
        If the evaluation kept no scores.
    DataError
        If the folder cannot be written.
    """
    if result.scores is None:
        raise InputError("the evaluation kept no scores; evaluate with keep_scores=True")
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise DataError(str(folder), "", f"cannot be made: {one_line(reason)}") from reason
    names: dict[str, dict[str, str]] = {"id": {}, "ood": {}}
    taken: set[str] = {RESULTS}
    for role, sets in (("id", result.scores.inside), ("ood", result.scores.ood)):
        for key, scores in sets.items():
            name = names[role][printable(key)] = _file_name(key or "id", taken)
            columns: dict[str, Any] = {"index": np.arange(len(next(iter(scores.values()))))}
            if role == "id" and key in result.scores.labels:
                columns["label"] = result.scores.labels[key]
            with atomic_write(place / name) as file:
                np.savez(file, **(columns | dict(scores)))
    document = {k: v for k, v in result.to_json().items() if k != "pictures"}
    with atomic_write(place / RESULTS) as file:
        text = json.dumps({**document, "scores": names}, indent=1, allow_nan=False)
        file.write((text + "\n").encode())


def _file_name(key: str, taken: set[str]) -> str:
    """A name of its own: what users call their sets may be no file name."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in key).lstrip(".") or "_"
    name, number = f"{plain}.npz", 1
    while name.lower() in taken:
        number += 1
        name = f"{plain}-{number}.npz"
    taken.add(name.lower())
    return name


def read_scores(folder: str | os.PathLike[str]) -> KeptScores:
    """The scores that `save_scores` wrote.

    Raises
    ------
    DataError
        If the folder holds none, or a file is damaged.
    """
    path = os.path.join(os.fspath(folder), RESULTS)
    names = results_document(path).get("scores")
    if not isinstance(names, dict) or not all(
        isinstance(names.get(r), dict) for r in ("id", "ood")
    ):
        raise DataError(path, "scores", "are not named; write the folder with --scores-out")
    found: dict[str, dict[str, dict[str, Array]]] = {"id": {}, "ood": {}}
    labels = {}
    for role, sets in found.items():
        for key, name in names[role].items():
            columns = _columns(folder, name)
            if "label" in columns:
                labels[key] = columns["label"]
            sets[key] = {k: v for k, v in columns.items() if k not in _COLUMNS}
    methods = {tuple(sets) for role in found.values() for sets in role.values()}
    if len(methods) != 1 or not all(found.values()):
        raise DataError(path, "scores", "of the sets are of different methods; evaluate again")
    return KeptScores(found["id"], found["ood"], labels)


def _columns(folder: str | os.PathLike[str], name: Any) -> dict[str, Array]:
    """The columns of one set's file, all of one length and without NaN."""
    if not isinstance(name, str) or os.path.basename(name) != name:
        raise DataError(os.fspath(folder), "scores", f"{name!r} is no file of this folder")
    path = os.path.join(os.fspath(folder), name)
    columns = load_scores(path)
    if {array.shape for array in columns.values()} != {(len(columns.get("index", ())),)}:
        raise DataError(path, "", "its columns differ in length; write it again")
    for key, array in columns.items():
        kind = "iu" if key in _COLUMNS else "f"
        if array.dtype.kind not in kind or (kind == "f" and np.isnan(array).any()):
            raise DataError(path, key, "holds no scores, or NaN; write it again")
    return columns
