"""Rows 58, 62, 64, 65: values that reading decides on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.io.bad_inputs.registry import (
    LABELS,
    Z,
    npy_bytes,
    npz,
    refused,
    works,
    written,
)


@refused(58, "int8", "--dtype (dtype=) float32")
def int8_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.array([[1, -2], [3, 4]], np.int8)))


@works(58, dtype="float32")
def int8_logits_on_the_users_word(folder: Path) -> Any:
    return int8_logits(folder), np.array([[1, -2], [3, 4]], np.float32)


@refused(62, "two classes, got 1")
def one_class(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z[:, :1]))


@works(62)
def two_classes(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:, :2])), Z[:, :2]


@works(62)
def many_classes(folder: Path) -> Any:
    wide = np.zeros((1, 100_000), np.float32)
    return written(folder, "x.npy", npy_bytes(wide)), wide


@works(62)
def one_row(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:1])), Z[:1]


@refused(62, "logits must be", "(12,)")
def one_axis(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z.ravel()))


@refused(62, "logits must be", "(1, 4, 3)")
def three_axes(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z[None]))


@works(62, "transpose")
def transposed_look(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z.T.copy())), Z.T


@refused(64, "logits 4", "labels 3")
def labels_too_short(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 2])


@works(65)
def unknown_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=LABELS), Z


@refused(65, "labels: row 2 is 3, expected -1 … 2")
def label_beyond_the_classes(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 3, 7])


@refused(65, "labels: row 1 is -2")
def label_below_minus_one(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, -2, 0, 0])


@works(65, labels=False)
def label_beyond_the_classes_in_an_ood_file(folder: Path) -> Any:
    return label_beyond_the_classes(folder), Z


@works(65, "2 labels outside -1 … 2, the first in row 2", labels="lenient")
def label_beyond_the_classes_for_score(folder: Path) -> Any:
    return label_beyond_the_classes(folder), Z


@works(65)
def whole_float_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=LABELS.astype(np.float32)), Z


@refused(65, "labels: row 3 is 1.5, not a whole number")
def fractional_label(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 2, 1.5])


@refused(65, "labels: row 1 is nan")
def nan_label(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, np.nan, 2, 1])


@works(65, "one-hot")
def one_hot_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=np.eye(3)[[0, 1, 2, 0]]), Z


@refused(65, "row 2 is not one-hot")
def soft_labels(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]])


@refused(65, "labels of dtype <U3")
def text_labels(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=["cat", "dog", "cat", "dog"])


@refused(65, "line 2", "'cat' is not a number")
def text_labels_csv(folder: Path) -> Path:
    return written(folder, "x.csv", "logits_0,logits_1,label\n1,2,cat\n")


@refused(65, "labels: row 3 is 255", "wrapped around")
def wrapped_uint8(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=LABELS.astype(np.uint8))


@refused(65, "labels: row 3 is 18446744073709551615", "wrapped around")
def wrapped_uint64(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=LABELS.astype(np.uint64))
