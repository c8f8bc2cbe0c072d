"""Folders and patterns of shards are read as one file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.errors import DataError
from ood_toolkit.io import describe, load, open_source, save_outputs
from ood_toolkit.outputs import Head, Outputs

ROWS = (3, 0, 5, 1)
TOTAL = sum(ROWS)
RANDOM = np.random.default_rng(5)
Z = RANDOM.normal(size=(TOTAL, 4)).astype(np.float32)
F = RANDOM.normal(size=(TOTAL, 2)).astype(np.float16)
LABELS = RANDOM.integers(0, 4, TOTAL)
MEMBERS = RANDOM.normal(size=(2, TOTAL, 4))
HEAD = Head(RANDOM.normal(size=(4, 2)).astype(np.float32))
SUFFIXES = [".npz", ".safetensors", ".h5", ".zarr", ".pt", ".parquet"]


def whole(suffix: str) -> Outputs:
    rows: dict[str, Any] = {"logits": Z, "features": F, "labels": LABELS}
    rows["layers"] = {"a": F * 2}
    if suffix != ".parquet":
        rows |= {"members": MEMBERS, "head": HEAD}
    return Outputs(**rows)


def write_shards(folder: Path, suffix: str) -> Outputs:
    x = whole(suffix)
    start = 0
    for number, rows in enumerate(ROWS):
        save_outputs(x.rows(slice(start, start + rows)), folder / f"part-{number}{suffix}")
        start += rows
    return x


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shards_are_joined_in_the_order_of_their_names(suffix: str, tmp_path: Path) -> None:
    x = write_shards(tmp_path, suffix)
    (tmp_path / "README.md").write_text("ignored")
    (tmp_path / "_SUCCESS.npz").write_text("ignored")
    (tmp_path / ".part-1.npz").write_text("ignored")
    for path in (tmp_path, tmp_path / f"part-*{suffix}", str(tmp_path) + "/"):
        back = load(path)
        assert back.source == str(path)
        for name in ("logits", "features", "labels", "members"):
            np.testing.assert_array_equal(getattr(back, name), getattr(x, name))
        assert back.features is not None
        assert back.features.dtype == np.float16
        np.testing.assert_array_equal(back.layers["a"], x.layers["a"])
        if x.head is not None:
            assert back.head is not None
            np.testing.assert_array_equal(back.head.weight, x.head.weight)


def test_blocks_of_rows_cross_shards(tmp_path: Path) -> None:
    x = write_shards(tmp_path, ".npz")
    arrays = open_source(tmp_path).arrays
    for start in range(TOTAL + 1):
        for stop in (start, start + 1, start + 4, TOTAL, None):
            np.testing.assert_array_equal(arrays["logits"].read(start, stop), Z[start:stop])
    np.testing.assert_array_equal(arrays["members"].read(1, 2), MEMBERS[1:2])
    assert x.logits is not None


def test_names_are_sorted_plainly(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        np.save(tmp_path / f"{number}.npy", np.full((1, 2), number, np.float32))
    logits = load(tmp_path).logits
    assert logits is not None
    assert logits[:, 0].tolist() == [1, 10, 2]


def test_shards_of_text_may_differ_in_width(tmp_path: Path) -> None:
    for number, text in enumerate(["a", "longer", ""]):
        x = Outputs(logits=np.ones((1, 2)), text=np.array([text]))
        save_outputs(x, tmp_path / f"{number}.npz")
    text = load(tmp_path).text
    assert text is not None
    assert text.tolist() == ["a", "longer", ""]


def test_labels_that_are_left_unread_may_differ(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", logits=Z, labels=LABELS)
    np.savez(tmp_path / "1.npz", logits=Z)
    with pytest.raises(DataError, match="labels: is missing"):
        load(tmp_path)
    assert len(load(tmp_path, labels=False)) == 2 * TOTAL


def test_shards_of_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,logits_0,logits_1\n1,0.5,1.5\n")
    (tmp_path / "b.csv").write_text("logits_1,logits_0,label\n3.5,2.5,0\n")
    x = load(tmp_path)
    np.testing.assert_array_equal(x.logits, [[0.5, 1.5], [2.5, 3.5]])
    assert x.labels is not None
    assert x.labels.tolist() == [1, 0]


def test_a_head_that_differs_between_shards_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", features=np.ones((2, 2)), W=np.eye(2) * (1 + number))
    with pytest.raises(DataError, match=r"1\.npz: W: differs from the head in 0\.npz"):
        load(tmp_path)


def test_describe_joins_shards(tmp_path: Path) -> None:
    write_shards(tmp_path, ".npz")
    described = describe(tmp_path)
    assert described.format == "npz"
    assert [Path(part).name for part in described.parts] == [f"part-{i}.npz" for i in range(4)]
    shapes = {a.name: a.shape for a in described.arrays}
    assert shapes["logits"] == (TOTAL, 4)
    assert shapes["members"] == (2, TOTAL, 4)
    assert shapes["head_weight"] == (4, 2)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    np.save(tmp_path / "x[1].npy", np.ones((1, 2)))
    np.save(tmp_path / "x1.npy", np.zeros((1, 2)))
    logits = load(tmp_path / "x[1].npy").logits
    assert logits is not None
    assert logits.tolist() == [[1, 1]]


def test_stacks_of_members_are_joined_one_part_at_a_time(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).normal(size=(3, 40_000, 10))
    for number in range(4):
        part = stack[:, 10_000 * number : 10_000 * (number + 1)]
        np.savez(tmp_path / f"{number}.npz", members=part)
    stored = open_source(tmp_path).arrays["members"]
    tracemalloc.start()
    found = stored.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, stack)
    assert peak < 1.5 * stack.nbytes  # the stack and a part, not every part beside it
