"""CLINC150: queries and intents from `data_full.json`, out-of-scope queries among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ood_toolkit.errors import DataError
from ood_toolkit.io.gate import readable_file, refusing, size_text
from ood_toolkit.outputs import Array

__all__ = ["Queries", "read_clinc"]

_LARGEST = 256 << 20
_SPLITS = ("train", "val", "test", "oos_train", "oos_val", "oos_test")


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """Texts and the classes they belong to.

    Parameters
    ----------
    class_names : tuple of str
        The intents of the training split, in alphabetical order.
    texts : mapping of str to tuple of str
        By split: ``"train"``, ``"val"``, ``"test"``, and ``"oos_..."`` for out-of-scope ones.
    labels : mapping of str to (N,) array of int64
        Numbers of the intents; -1 out of scope.
    """

    class_names: tuple[str, ...]
    texts: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, Array]


def read_clinc(path: str) -> Queries:
    """Read the JSON of Larson et al., EMNLP 2019.

    Parameters
    ----------
    path : str
        `data_full.json` or another file of that repository.

    Returns
    -------
    Queries
        To embed with a model of your own; save what it says as outputs.

    Raises
    ------
    DataError
        If the file has another form; names the split and the first bad row.

    Examples
    --------
    >>> import json, os, tempfile
    >>> splits = {"train": [["hi", "greeting"], ["bye", "parting"]], "oos_test": [["?", "oos"]]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "data_full.json")
    ...     with open(path, "w") as file:
    ...         json.dump(splits, file)
    ...     queries = read_clinc(path)
    >>> queries.class_names, queries.labels["train"].tolist(), queries.labels["oos_test"].tolist()
    (('greeting', 'parting'), [0, 1], [-1])
    """
    if (size := readable_file(path).st_size) > _LARGEST:
        raise DataError(path, "", f"{size_text(size)} are more than this data set has")
    with refusing(path), open(path, encoding="utf-8") as file:
        held = json.load(file)
    if not isinstance(held, dict) or "train" not in held:
        raise DataError(path, "train", "is missing; expected a JSON object of splits")
    splits = {name: _rows(path, name, held[name]) for name in _SPLITS if name in held}
    names = tuple(sorted({intent for _, intent in splits["train"]}))
    number = {name: n for n, name in enumerate(names)}
    labels = {}
    for split, rows in splits.items():
        outside = split.startswith("oos")
        for row, (_, intent) in enumerate(rows):
            if not outside and intent not in number:
                raise DataError(path, split, f"row {row} has intent {intent!r}, not in train")
        found = [-1 if outside else number[intent] for _, intent in rows]
        labels[split] = np.array(found, np.int64)
    return Queries(
        names, {s: tuple(text for text, _ in rows) for s, rows in splits.items()}, labels
    )


def _rows(path: str, split: str, rows: object) -> list[tuple[str, str]]:
    if not isinstance(rows, list):
        raise DataError(path, split, "is no list")
    for number, row in enumerate(rows):
        pair = isinstance(row, list) and len(row) == 2
        if not pair or not all(isinstance(word, str) for word in row):
            raise DataError(path, split, f"row {number} is not [text, intent]")
    return [(text, intent) for text, intent in rows]
