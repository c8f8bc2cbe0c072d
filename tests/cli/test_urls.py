"""Outputs files in a store: every command reads them as it reads those of a disk."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.errors import DataError
from ood_toolkit.io import describe, file_digest, file_stamp, load_head, refuse_same_file
from ood_toolkit.io import object_files as objects
from ood_toolkit.streamed import as_streamed
from tests.cli.running import save, tool

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(files: Path) -> Iterator[str]:
    """The files in fsspec's store in the memory of this process."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for path in files.glob("*.npz"):
        fs.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    yield "memory://bucket"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_fit_and_threshold(files: Path, bucket: str, tmp_path: Path) -> None:
    found = {}
    for folder in (os.fspath(files), bucket, f"file://{files}"):
        detector = tmp_path / "d.safetensors"
        run = tool("fit", f"{folder}/train.npz", "-m", "mahalanobis", "-o", detector, "--id-val",
                   f"{folder}/val.npz", "--tpr", "0.9", "--json")  # fmt: skip
        assert run.status == 0, run.err
        document = run.document
        assert document["fitted_on"].pop("file") == f"{folder}/train.npz"
        found[folder] = document
        run = tool("threshold", "--detector", detector, "--id-val", f"{folder}/train.npz")
        assert "the detector was fitted on these rows" in run.err
    first, *others = found.values()
    assert others == [first, first]


def test_evaluate(files: Path, bucket: str, tmp_path: Path) -> None:
    found = []
    for folder in (os.fspath(files), bucket):
        run = tool("evaluate", "--id", f"{folder}/test.npz", "--ood", f"far={folder}/far.npz",
                   "--train", f"{folder}/train.npz", "-m", "energy,vim", "--bootstrap", "0",
                   "--csv", tmp_path / "r.csv", "--json")  # fmt: skip
        assert run.status == 0, run.err
        document = run.document
        shown = "" if folder == os.fspath(files) else f"{folder}/"  # no folder of this machine
        assert {i["file"] for i in document["run"]["inputs"]} == {
            f"{shown}{name}.npz" for name in ("test", "far", "train")
        }
        digests = [i["sha256"] for i in document["run"]["inputs"]]
        found.append((document["id"], document["means"], digests))
    assert found[0] == found[1]


def test_other_files_of_score(files: Path, bucket: str, tmp_path: Path) -> None:
    plain = tool("score", files / "test.npz", "-m", "vim", "--train", files / "train.npz").out
    run = tool("score", files / "test.npz", "-m", "vim", "--train", f"{bucket}/train.npz")
    assert (run.status, run.out) == (0, plain)
    x = ood.load(files / "test.npz")
    bare = save(tmp_path / "bare.npz", features=x.features)
    run = tool("score", bare, "-m", "msp", "--head", f"{bucket}/train.npz")
    assert run.out == tool("score", bare, "-m", "msp", "--head", files / "train.npz").out
    assert run.status == 0


def test_info(files: Path, bucket: str, tmp_path: Path) -> None:
    here, there = (tool("info", f"{f}/test.npz", "--json").document for f in (files, bucket))
    assert there.pop("file") == f"{bucket}/test.npz"
    assert here.pop("file") == f"{files}/test.npz"
    assert here == there
    tool("fit", files / "train.npz", "-m", "knn", "-o", tmp_path / "d.safetensors")
    data = (tmp_path / "d.safetensors").read_bytes()
    fsspec.filesystem("memory").pipe_file("/bucket/d.safetensors", data)
    run = tool("info", f"{bucket}/d.safetensors", "--json")
    assert (run.document["file"], run.document["kind"]) == (f"{bucket}/d.safetensors", "detector")
    chained = f"dir://d.safetensors::file://{tmp_path}"
    assert tool("info", chained, "--json").document["method"] == "knn"
    run = tool("score", files / "test.npz", "--detector", f"{bucket}/d.safetensors")
    assert run.status == 3
    assert f"{bucket}/d.safetensors: " in run.error


def test_a_pattern_is_one_record(files: Path, bucket: str, tmp_path: Path) -> None:
    x = ood.load(files / "test.npz")
    assert x.logits is not None
    fs = fsspec.filesystem("memory")
    for number, part in enumerate((slice(0, 50), slice(50, None))):
        path = save(tmp_path / f"p{number}.npz", logits=x.logits[part])
        fs.pipe_file(f"/bucket/parts/p{number}.npz", path.read_bytes())
    url, pattern = f"{bucket}/parts/*.npz", f"{tmp_path}/*.npz"
    joined = ood.load(url)
    np.testing.assert_array_equal(joined.logits, x.logits)
    assert joined.source == url
    assert describe(url).parts == tuple(f"{bucket}/parts/p{n}.npz" for n in (0, 1))
    assert file_digest(url) == file_digest(pattern)
    assert file_stamp(url)["bytes"] == file_stamp(pattern)["bytes"]
    before = file_stamp(url)["key"]
    fs.pipe_file("/bucket/parts/p1.npz", path.read_bytes())
    assert file_stamp(url)["key"] != before
    with pytest.raises(DataError, match=r"/parts/\*\.npz: stands for several files; name the one"):
        load_head(url)


def test_rows_stay_in_the_copy(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = importlib.import_module("ood_toolkit.io.load")
    monkeypatch.setattr(loading, "streamed_from", lambda memory: 0)
    x = np.random.default_rng(0).normal(size=(4_000, 20))
    np.save(tmp_path / "big.npy", x)
    data = (tmp_path / "big.npy").read_bytes()
    fsspec.filesystem("memory").pipe_file("/bucket/big.npy", data)
    record = ood.load(f"{bucket}/big.npy", memory=4 << 30)
    assert as_streamed(record.logits) is not None
    for name in ("test", "val", "near", "far"):  # what is read meanwhile does not take it away
        ood.load(f"{bucket}/{name}.npz", labels=False)
    assert record.logits is not None
    np.testing.assert_array_equal(np.asarray(record.logits[3_990:]), x[3_990:])


def test_errors_name_the_object(bucket: str, files: Path, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    whole = (files / "test.npz").read_bytes()
    fs.pipe_file("/bucket/cut.npz", whole[:-100])
    x = ood.load(files / "test.npz")
    wild = save(tmp_path / "wild.npz", logits=x.logits, labels=np.full(len(x), 99))
    fs.pipe_file("/bucket/wild.npz", wild.read_bytes())
    out = tmp_path / "d.safetensors"
    for name in ("cut", "wild", "absent"):
        run = tool("fit", f"{bucket}/{name}.npz", "-m", "mahalanobis", "-o", out)
        assert run.status == 3
        assert run.error.startswith(f"{bucket}/{name}.npz: ")
    run = tool("fit", f"{bucket}/test.npz", "-m", "msp", "-o", out, "--max-bytes", "100")
    assert "more than --max-bytes" in run.error
    run = tool("score", files / "test.npz", "-m", "msp", "--head", f"{bucket}/far.npz")
    assert run.error.startswith(f"{bucket}/far.npz: holds no head")
    refuse_same_file(tmp_path / "x.npz", [f"{bucket}/x.npz", f"{bucket}/*.npz"])


def test_a_file_of_this_machine_wins_over_a_url_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a::b.npz", logits=np.eye(3))
    assert len(ood.load("a::b.npz")) == 3
    assert not objects.is_object("a::b.npz")
    assert json.loads(json.dumps(file_stamp("a::b.npz")))["file"] == "a::b.npz"


@pytest.mark.xdist_group("dask")
def test_workers_fit_on_an_object(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    url = f"dir://train.npz::file://{files}"
    reports: list[Any] = []
    for train, more in ((files / "train.npz", ()), (url, ("--dask", "local:1"))):
        out = tmp_path / "d.safetensors"
        run = tool("fit", train, "-m", "mahalanobis", "-o", out, "--json", *more)
        assert run.status == 0, run.err
        reports.append((run.document["report"], file_digest(out)))
    assert reports[0][0] == reports[1][0]
