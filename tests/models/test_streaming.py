"""Outputs of a loader: to memory, to files of unknown length, to shards that can be resumed."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import load
from ood_toolkit.models import WrappedClassifier, wrap
from ood_toolkit.models.shards import NOTES
from ood_toolkit.outputs import Outputs
from tests.models.networks import TorchvisionStyle, images, made


def batches(rows: int = 47, size: int = 10, fails_after: int | None = None) -> Iterator[Any]:
    """Pairs of unequal length, from a generator that has no length."""
    whole = images(rows)
    for start in range(0, rows, size):
        if fails_after is not None and start >= fails_after:
            raise KeyboardInterrupt
        yield whole[start : start + size], torch.arange(start, min(rows, start + size)) % 8


@pytest.fixture(scope="module")
def clf() -> WrappedClassifier:
    return wrap(made(TorchvisionStyle), layers=["layer1"])


def same(x: Outputs, y: Outputs) -> None:
    assert x.has() == y.has()
    for name in ("logits", "features", "labels"):
        np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
    np.testing.assert_array_equal(x.layers["layer1"], y.layers["layer1"])
    assert x.head is not None
    assert y.head is not None
    np.testing.assert_array_equal(x.head.weight, y.head.weight)
    np.testing.assert_array_equal(x.head.bias, y.head.bias)


@pytest.mark.parametrize(
    "to", ["x.safetensors", "x.zarr", "x.npz", "x.pt", "x.h5", "shards", "deep/er", "s/*.npz"]
)
def test_every_place_gives_the_same_record(clf: WrappedClassifier, to: str, tmp_path: Path) -> None:
    expected = clf.outputs(batches())
    assert len(expected) == 47
    x = clf.outputs(batches(), to=tmp_path / to, shard_rows=20)
    same(x, expected)
    same(load(tmp_path / to.split("/*")[0]), expected)
    left = [p for p in tmp_path.rglob("*") if ".partial" in p.name]
    assert left == []


def test_bare_logits_as_npy_shards(clf: WrappedClassifier, tmp_path: Path) -> None:
    x = clf.outputs(batches(), to=tmp_path / "*.npy", keep=["logits"], shard_rows=20)
    np.testing.assert_array_equal(x.logits, clf.outputs(batches()).logits)
    shards = sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".npy")
    assert shards == ["000000.npy", "000001.npy", "000002.npy"]


@pytest.mark.parametrize("to", ["x.safetensors", "x.zarr", "x.npz"])
def test_an_interrupted_file_leaves_what_was_there(
    clf: WrappedClassifier, to: str, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        clf.outputs(batches(fails_after=30), to=tmp_path / to)
    assert list(tmp_path.iterdir()) == []
    before = clf.outputs(batches(20), to=tmp_path / to)
    with pytest.raises(KeyboardInterrupt):
        clf.outputs(batches(fails_after=30), to=tmp_path / to)
    same(load(tmp_path / to), before)
    assert [p.name for p in tmp_path.iterdir()] == [to]


class Counting(nn.Module):
    """Counts the rows that go through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.rows = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.network(x)


@pytest.mark.parametrize("fails_after", [10, 20, 30, 40])
def test_shards_are_continued(fails_after: int, tmp_path: Path) -> None:
    model = Counting(made(TorchvisionStyle))
    clf = wrap(model, layers=["network.layer1"])
    expected = clf.outputs(batches())
    with pytest.raises(KeyboardInterrupt):
        clf.outputs(batches(fails_after=fails_after), to=tmp_path / "s", shard_rows=15)
    there = len(list((tmp_path / "s").glob("*.safetensors")))
    assert there == fails_after // 15
    model.rows = 0
    x = clf.outputs(batches(), to=tmp_path / "s", shard_rows=15)
    np.testing.assert_array_equal(x.logits, expected.logits)
    np.testing.assert_array_equal(x.labels, expected.labels)
    whole_batches_skipped = there * 15 // 10 * 10
    assert model.rows == 47 - whole_batches_skipped
    model.rows = 0
    again = clf.outputs(batches(), to=tmp_path / "s", shard_rows=15)
    assert model.rows == 0
    np.testing.assert_array_equal(again.logits, expected.logits)


def test_shards_of_another_run_are_refused(clf: WrappedClassifier, tmp_path: Path) -> None:
    clf.outputs(batches(), to=tmp_path / "s", shard_rows=20)
    other = wrap(made(lambda: TorchvisionStyle(width=4)), layers=["layer1"])
    with pytest.raises(DataError, match="shards made with another model"):
        other.outputs(batches(), to=tmp_path / "s", shard_rows=20)
    with pytest.raises(DataError, match="shards made with another shard_rows"):
        clf.outputs(batches(), to=tmp_path / "s", shard_rows=10)
    with pytest.raises(DataError, match="shards made with another first batch"):
        clf.outputs((b for b in list(batches())[1:]), to=tmp_path / "s", shard_rows=20)
    (tmp_path / "s" / "000001.safetensors").unlink()
    with pytest.raises(DataError, match="missing in between"):
        clf.outputs(batches(), to=tmp_path / "s", shard_rows=20)
    (tmp_path / "s" / NOTES).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        clf.outputs(batches(), to=tmp_path / "s", shard_rows=20)
    (tmp_path / "s" / NOTES).unlink()
    with pytest.raises(DataError, match="which no extraction wrote"):
        clf.outputs(batches(), to=tmp_path / "s", shard_rows=20)


def test_notes_are_json(clf: WrappedClassifier, tmp_path: Path) -> None:
    clf.outputs(batches(), to=tmp_path / "s", shard_rows=20)
    notes = json.loads((tmp_path / "s" / NOTES).read_text())
    assert notes["complete"]
    assert notes["made_of"]["head"] == "fc"


def test_refusals(clf: WrappedClassifier, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gave no batch"):
        clf.outputs([])
    with pytest.raises(BadParameter, match="keep takes logits, features"):
        clf.outputs(batches(), keep=["logit"])
    with pytest.raises(BadParameter, match="dtype must be one of"):
        clf.outputs(batches(), dtype="int8")
    with pytest.raises(BadParameter, match="shard_rows"):
        clf.outputs(batches(), to=tmp_path / "s", shard_rows=0)
    with pytest.raises(InputError, match="expected a loader"):
        clf.outputs("loader")
    with pytest.raises(InputError, match="a batch has no labels, unlike"):
        clf.outputs([(images(4), torch.zeros(4).long()), images(4)])
    with pytest.raises(DataError, match="there is no folder"):
        clf.outputs(batches(), to=tmp_path / "no" / "x.safetensors")
    with pytest.raises(InputError, match="cannot hold features"):
        clf.outputs(batches(), to=tmp_path / "x.npy")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress(clf: WrappedClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int | None]] = []
    clf.outputs(batches(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, None), (20, None), (30, None), (40, None), (47, None)]
    seen.clear()
    loader = torch.utils.data.DataLoader(images(25), batch_size=10)
    clf.outputs(loader, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 25), (20, 25), (25, 25)]
    monkeypatch.setattr("ood_toolkit.models.progress._EVERY", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    clf.outputs(loader)
    assert "20 of 25 rows" in terminal.getvalue()
    assert "a second, 0:0" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    clf.outputs(loader, progress=False)
    assert terminal.getvalue() == ""


def test_a_file_larger_than_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zarr chunks fill across batches."""
    monkeypatch.setattr("ood_toolkit.io.growing_zarr._CHUNK_BYTES", 3 * 4 * 8)
    model = made(TorchvisionStyle)
    x = wrap(model).outputs(batches(), to=tmp_path / "x.zarr")
    np.testing.assert_array_equal(x.logits, wrap(model).outputs(batches()).logits)
    assert len(os.listdir(tmp_path)) == 1
