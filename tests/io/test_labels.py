"""Labels: every type they come in, and the three ways to take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import BadParameter, DataError, ToolkitWarning
from ood_toolkit.io import load

Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
F = np.arange(8, dtype=np.float32).reshape(4, 2) / 3


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("key", ["labels", "label", "targets", "y", "label_list"])
def test_names_of_labels(key: str, tmp_path: Path) -> None:
    x = load(npz(tmp_path, **{"logits": Z, key: [0, 1, 2, -1]}))
    assert x.labels is not None
    assert x.labels.dtype == np.int64
    assert x.labels.tolist() == [0, 1, 2, -1]


def test_labels_are_dropped_unread(tmp_path: Path) -> None:
    path = npz(tmp_path, logits=Z, labels=["cat", "dog", "cat", "dog"])
    assert load(path, labels=False).labels is None
    path = npz(tmp_path, logits=Z.T, label=np.zeros(3, bool), y=[object()] * 3)
    assert load(path, labels=False).labels is None
    with pytest.raises(BadParameter, match="labels must be True, False or 'lenient'"):
        load(path, labels="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u8", ">i4", "f2", "f4", "f8"])
def test_labels_of_any_number_type(kind: str, tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, labels=np.array([2, 0, 1, 1], kind)))
    assert x.labels is not None
    assert x.labels.dtype == np.int64
    assert x.labels.tolist() == [2, 0, 1, 1]


def test_labels_in_one_column(tmp_path: Path) -> None:
    x = load(npz(tmp_path, logits=Z, labels=np.array([[2], [0], [1], [1]])))
    assert x.labels is not None
    assert x.labels.tolist() == [2, 0, 1, 1]


def test_lenient_labels_keep_what_is_inside(tmp_path: Path) -> None:
    path = npz(tmp_path, logits=Z, labels=np.array([255, 0, 7, 2], np.uint8))
    with pytest.warns(ToolkitWarning, match="2 labels outside -1 … 2, the first in row 0"):
        x = load(path, labels="lenient")
    assert x.labels is not None
    assert x.labels.tolist() == [-1, 0, -1, 2]


def test_lenient_labels_are_still_whole_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1 is 0.5"):
        load(npz(tmp_path, logits=Z, labels=[0, 0.5, 1, 2]), labels="lenient")


def test_labels_without_logits_have_no_upper_end(tmp_path: Path) -> None:
    x = load(npz(tmp_path, features=F, labels=[0, 900, 1, 1]))
    assert x.labels is not None
    assert x.labels.max() == 900
