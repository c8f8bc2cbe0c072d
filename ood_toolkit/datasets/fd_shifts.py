"""Outputs as FD-Shifts stores them: `raw_logits.npz` and what lies beside it.

One array without a name, a row an input: C logits, the label, and the number of the data set;
`encoded_output.npz` holds features and that number, `last_layer.npz` the last layer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import atomic_write
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.npz import open_npz, write_npz
from ood_toolkit.outputs import Array, Head, Outputs

__all__ = ["read_fd_shifts", "write_fd_shifts"]

LOGITS, FEATURES, LAST_LAYER = "raw_logits.npz", "encoded_output.npz", "last_layer.npz"
KEY = "arr_0"


def read_fd_shifts(path: str | Path) -> dict[int, Outputs]:
    """Outputs by the number of their data set.

    Parameters
    ----------
    path : str or Path
        A `raw_logits.npz`, or the folder that holds it; features and last layer are taken
        from beside it, where they are.

    Returns
    -------
    dict of int to Outputs
        In the order of the numbers; labels that are no class of the logits are -1.

    Raises
    ------
    DataError
        If a file has another form, or the files disagree on the rows.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = np.array([[2.0, 0.5, 0, 0], [0.1, 0.3, 1, 0], [0.2, 0.2, 7, 1]])
    ...     np.savez(os.path.join(folder, "raw_logits.npz"), rows)
    ...     sets = read_fd_shifts(folder)
    >>> {number: (x.logits.tolist(), x.labels.tolist()) for number, x in sets.items()}
    {0: ([[2.0, 0.5], [0.1, 0.3]], [0, 1]), 1: ([[0.2, 0.2]], [-1])}
    """
    folder = os.fspath(path)
    name = os.path.join(folder, LOGITS) if os.path.isdir(folder) else folder
    rows = _table(name, 4)
    logits, classes = rows[:, :-2], rows.shape[1] - 2
    labels, numbers = _whole(name, "label", rows[:, -2]), _whole(name, "data set", rows[:, -1])
    labels = np.where((labels >= 0) & (labels < classes), labels, -1)
    beside = os.path.dirname(name)
    features = _features(os.path.join(beside, FEATURES), numbers)
    head = _head(os.path.join(beside, LAST_LAYER))
    found = {}
    for number in np.unique(numbers).tolist():
        own = numbers == number
        try:
            found[int(number)] = Outputs(
                logits=np.ascontiguousarray(logits[own]),
                features=None if features is None else np.ascontiguousarray(features[own]),
                labels=labels[own],
                head=head,
                source=name,
            )
        except InputError as reason:
            raise DataError(name, f"data set {number}", str(reason)) from None
    return found


def _table(name: str, columns: int) -> Array:
    arrays = open_npz(name, Limits())
    if list(arrays) != [KEY]:
        held = ", ".join(arrays) or "nothing"
        raise DataError(name, "", f"holds {held}; expected one array without a name ({KEY})")
    arrays[KEY].admit()
    rows: Array = arrays[KEY].load()
    if rows.ndim != 2 or rows.shape[1] < columns or rows.dtype.kind != "f":
        shape = f"{rows.dtype} {rows.shape}"
        raise DataError(name, KEY, f"is {shape}; expected floats (N, {columns} or more)")
    return rows


def _whole(name: str, what: str, values: Array) -> Array:
    wide = values.astype(np.float64)
    bad = ~np.isfinite(wide) | (wide != np.rint(wide))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(name, KEY, f"row {row}: {what} {wide[row]} is no whole number")
    return wide.astype(np.int64)


def _features(name: str, numbers: Array) -> Array | None:
    if not os.path.exists(name):
        return None
    rows = _table(name, 2)
    if len(rows) != len(numbers) or (_whole(name, "data set", rows[:, -1]) != numbers).any():
        raise DataError(name, KEY, f"its rows are not those of {LOGITS}")
    return rows[:, :-1]


def _head(name: str) -> Head | None:
    if not os.path.exists(name):
        return None
    arrays = open_npz(name, Limits())
    for key in ("w", "b"):
        if key not in arrays:
            raise DataError(name, key, "is missing")
        arrays[key].admit()
    try:
        return Head(weight=arrays["w"].load(), bias=arrays["b"].load())
    except InputError as reason:
        raise DataError(name, "", str(reason)) from None


def write_fd_shifts(folder: str | Path, sets: Sequence[Outputs]) -> list[str]:
    """Write outputs as FD-Shifts stores them, the sets numbered from 0.

    Parameters
    ----------
    folder : str or Path
        Made if need be; `raw_logits.npz`, and `encoded_output.npz` and `last_layer.npz`
        where every set has features and a head, are replaced.
    sets : sequence of Outputs
        Of one classifier, the in-distribution rows first.

    Returns
    -------
    list of str
        The files written.

    Raises
    ------
    InputError
        If there is no set, a set has no logits, or the sets differ in their classes.
    DataError
        If the folder holds features or a last layer of other outputs, and these have none.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> x = Outputs(logits=np.eye(2), labels=[0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_fd_shifts(folder, [x])
    ...     bool((read_fd_shifts(folder)[0].logits == x.logits).all())
    True
    """
    if not sets:
        raise InputError("there are no outputs to write")
    for x in sets:
        if x.logits is None:
            raise InputError(f"{x.source or 'a set'}: has no logits, which FD-Shifts needs")
        if x.classes != sets[0].classes:
            raise InputError(f"{x.source}: {x.classes} classes, the first set {sets[0].classes}")
    numbers = [np.full((len(x), 1), float(number)) for number, x in enumerate(sets)]
    labels = [np.full(len(x), -1) if x.labels is None else x.labels for x in sets]
    os.makedirs(folder, exist_ok=True)
    logits = [
        np.hstack([np.asarray(x.logits, np.float64), label[:, None], number])
        for x, label, number in zip(sets, labels, numbers, strict=True)
    ]
    files = {LOGITS: {KEY: np.concatenate(logits)}}
    if all(x.features is not None for x in sets):
        features = [
            np.hstack([np.asarray(x.features, np.float64), number])
            for x, number in zip(sets, numbers, strict=True)
        ]
        files[FEATURES] = {KEY: np.concatenate(features)}
    if all(x.head is not None for x in sets) and (head := sets[0].head) is not None:
        files[LAST_LAYER] = {"w": np.asarray(head.weight), "b": np.asarray(head.bias)}
    for name in (FEATURES, LAST_LAYER):
        if name not in files and os.path.exists(path := os.path.join(folder, name)):
            # read with the new logits, its rows would be taken for theirs
            raise DataError(path, "", "is of other outputs, and these have none; remove it")
    written = []
    for name, arrays in files.items():
        path = os.path.join(folder, name)
        with atomic_write(path) as out:
            write_npz(arrays, out)
        written.append(path)
    return written
