"""Benchmarks from saved outputs alone: found by name, missing ones named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.datasets import benchmark_record, load_benchmark
from ood_toolkit.datasets.saved import find_outputs
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import save_outputs
from ood_toolkit.outputs import Head, Outputs

HEAD = Head(weight=np.eye(3, 4, dtype=np.float32), bias=np.zeros(3, np.float32))


def made(rows: int, seed: int, *, classes: int = 3, labels: bool = True) -> Outputs:
    rng = np.random.default_rng(seed)
    return Outputs(
        logits=rng.normal(size=(rows, classes)).astype(np.float32),
        labels=rng.integers(0, classes, rows) if labels else None,
    )


def put(folder: Path, *names: str, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        save_outputs(made(6 + number, seed + number), folder / name)


def test_a_folder_by_the_names_of_its_files(tmp_path: Path) -> None:
    put(tmp_path, "id_test.npz", "train.safetensors", "near_a.npz", "far_b.csv", "ood_c.npz",
        "csid_d.npz", "synthetic_e.npz", ".near_hidden.npz", "notes.npz")  # fmt: skip
    data = load_benchmark(str(tmp_path))
    assert dict(data.groups) == {"a": "near", "b": "far", "c": "far", "e": "synthetic"}
    assert list(data.csid) == ["d"]
    assert data.csid["d"].labels is not None
    assert all(x.labels is None for x in data.ood.values())
    assert (len(data.id), len(data.train or ()), data.id_val) == (6, 7, None)
    assert (data.name, data.id_name) == (tmp_path.name, tmp_path.name)
    assert data.class_names == ("0", "1", "2")


def test_a_known_benchmark_by_the_names_of_its_sets(tmp_path: Path) -> None:
    names = ["id_test.npz", "kmnist.npz", "far_fashionmnist.safetensors"]
    record = benchmark_record("mnist-family")
    for number, name in enumerate(names):
        save_outputs(made(5, number, classes=10), tmp_path / name)
    data = load_benchmark("mnist-family", outputs=tmp_path)
    assert dict(data.groups) == {"kmnist": "near", "fashionmnist": "far"}
    assert (data.id_name, data.title) == ("mnist", record.title)


def test_missing_sets_are_all_named(tmp_path: Path) -> None:
    put(tmp_path, "id_test.npz", "svhn.npz")
    with pytest.raises(DataError) as caught:
        load_benchmark("cifar10", outputs=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: has no outputs for cifar100, tin, mnist, texture, places365; name each file "
        "so, with the suffix of its format (cifar100.npz, say)"
    )
    (tmp_path / "id_test.npz").unlink()
    with pytest.raises(DataError, match="has no outputs for id_test, cifar100"):
        load_benchmark("cifar10", outputs=tmp_path)


def test_what_may_be_absent(tmp_path: Path) -> None:
    record = benchmark_record("cifar10")
    put(tmp_path, "id_test.npz", *(f"{n}.npz" for g in ("near", "far") for n in record.members(g)))
    found = find_outputs(record, str(tmp_path))
    assert set(found) == {"id_test", *record.members("near"), *record.members("far")}


def test_two_files_for_one_set(tmp_path: Path) -> None:
    put(tmp_path, "id_test.npz", "id_test.csv", "near_a.npz")
    with pytest.raises(DataError, match=r"id_test: both id_test\.npz and id_test\.csv are there"):
        load_benchmark(str(tmp_path))


def test_shards_and_a_record_in_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "test", "part-0.npz", "part-1.npz")
    put(tmp_path, "strange.npz")
    (tmp_path / "benchmark.toml").write_text(
        'name = "mine"\nid_test = "test"\nfar = { street = "strange.npz" }\n'
    )
    data = load_benchmark(str(tmp_path))
    assert (len(data.id), data.name, list(data.ood)) == (13, "mine", ["street"])


def test_files_of_a_toml_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "inner", "test.npz", "other.npz")
    (tmp_path / "inner" / "mine.toml").write_text(
        'id_test = "test.npz"\nnear = { other = "other.npz" }\n'
    )
    monkeypatch.chdir(tmp_path)
    assert len(load_benchmark("inner/mine.toml").id) == 6
    monkeypatch.chdir(tmp_path / "inner")
    assert len(load_benchmark("mine.toml").id) == 6


def test_one_file_gives_the_head_to_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 4)).astype(np.float32)
    save_outputs(Outputs(features=features, head=HEAD), tmp_path / "train.npz")
    for name in ("id_test", "near_a"):
        np.savez(tmp_path / f"{name}.npz", features=features)
    data = load_benchmark(str(tmp_path))
    for x in (data.id, data.ood["a"]):
        np.testing.assert_allclose(x.logits, features[:, :3])
    (tmp_path / "train.npz").unlink()
    np.savez(tmp_path / "head.npz", W=HEAD.weight, b=HEAD.bias)
    assert load_benchmark(str(tmp_path)).id.head is not None


def test_sets_of_another_classifier(tmp_path: Path) -> None:
    put(tmp_path, "id_test.npz")
    save_outputs(made(5, 1, classes=4), tmp_path / "near_a.npz")
    with pytest.raises(InputError, match=r"near_a\.npz: 4 classes, but the in-distribution rows"):
        load_benchmark(str(tmp_path))
    record = replace(benchmark_record(str(tmp_path)), classes=7)
    from ood_toolkit.datasets.saved import load_outputs

    save_outputs(made(5, 1), tmp_path / "near_a.npz")
    with pytest.raises(InputError, match=r"id_test\.npz: 3 classes, but .* has 7"):
        load_outputs(record, str(tmp_path))


def test_a_benchmark_that_does_not_ship_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="cifar10 does not ship: give the outputs of your"):
        load_benchmark("cifar10")


def test_two_files_of_one_set_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "id_test.npz", "near_a.npz", "far_a.npz")
    with pytest.raises(DataError, match="a: both far_a and near_a are there; rename one"):
        load_benchmark(str(tmp_path))
