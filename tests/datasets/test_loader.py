"""`load_benchmark`: what it gives, and what it says when a folder is not sound."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.datasets import benchmark_names, load_benchmark
from ood_toolkit.errors import DataError, InputError, UnknownName


@pytest.fixture
def folder(shipped: Path, tmp_path: Path) -> Path:
    """A copy of the digits benchmark that a test may damage."""
    shutil.copytree(shipped / "digits", tmp_path / "digits")
    shutil.copy(shipped / "manifest.json", tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_names(shipped: Path) -> None:
    assert benchmark_names(shipped) == ("digits", "fashion")
    assert benchmark_names() == ("digits", "fashion")


def test_what_a_benchmark_holds(shipped: Path, facts: dict[str, Any], name: str) -> None:
    benchmark = load_benchmark(name, shipped)
    assert benchmark.name == name
    assert benchmark.title == facts["title"]
    assert benchmark.class_names == tuple(facts["class_names"])
    assert benchmark.id_val is not None
    known = {"train": benchmark.train, "id_val": benchmark.id_val, "id": benchmark.id}
    entries = {e["role"]: e for e in facts["files"] if e["role"] != "ood"}
    for role, rows in known.items():
        assert len(rows) == entries[role]["rows"]
        assert rows.has() >= {"logits", "features", "labels", "head"}
    assert benchmark.id.thumbnails is not None
    groups = {e["name"]: e["group"] for e in facts["files"] if e["role"] == "ood"}
    assert dict(benchmark.groups) == groups
    assert list(benchmark.ood) == list(groups)
    for rows in benchmark.ood.values():
        assert rows.has() == {"logits", "features", "head", "thumbnails"}
        assert rows.classes == len(benchmark.class_names)
    assert benchmark.train.head is benchmark.id.head


def test_the_arrays_are_those_of_the_file(shipped: Path) -> None:
    benchmark = load_benchmark("digits", shipped)
    with np.load(shipped / "digits" / "id_test.npz") as archive:
        for key in ("logits", "features", "labels", "thumbnails"):
            np.testing.assert_array_equal(getattr(benchmark.id, key), archive[key])


def test_the_mappings_cannot_be_changed(shipped: Path) -> None:
    benchmark = load_benchmark("digits", shipped)
    with pytest.raises(TypeError):
        benchmark.ood["mine"] = benchmark.id  # type: ignore[index]
    with pytest.raises(AttributeError):
        benchmark.title = "mine"  # type: ignore[misc]


def test_read_from_a_zipped_package(
    folder: Path, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "site.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(shipped / "__init__.py", "ood_toolkit_data/__init__.py")
        archive.write(folder / "manifest.json", "ood_toolkit_data/manifest.json")
        for path in (folder / "digits").iterdir():
            archive.write(path, f"ood_toolkit_data/digits/{path.name}")
    monkeypatch.delitem(sys.modules, "ood_toolkit_data", raising=False)
    monkeypatch.syspath_prepend(str(packed))
    zipped = load_benchmark("digits")
    monkeypatch.delitem(sys.modules, "ood_toolkit_data")
    plain = load_benchmark("digits", shipped)
    np.testing.assert_array_equal(zipped.id.logits, plain.id.logits)
    np.testing.assert_array_equal(zipped.train.features, plain.train.features)


def test_shipped_benchmarks_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ood_toolkit_data", None)
    with pytest.raises(InputError, match="not installed; reinstall ood_toolkit, or name"):
        load_benchmark("digits")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("fashoin", "did you mean fashion"), ("cifar", "there are digits, fashion")],
)
def test_unknown_name(shipped: Path, wrong: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown benchmark '{wrong}'; {hint}"):
        load_benchmark(wrong, shipped)


@pytest.mark.parametrize("file", ["train.npz", "id_val.npz", "clothing.npz", "head.safetensors"])
def test_one_changed_bit_is_noticed(folder: Path, file: str) -> None:
    path = folder / "digits" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not the file the manifest describes") as caught:
        load_benchmark("digits", folder)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


def test_a_sound_file_in_the_place_of_another_is_noticed(folder: Path) -> None:
    shutil.copy(folder / "digits" / "id_val.npz", folder / "digits" / "id_test.npz")
    with pytest.raises(DataError, match=r"id_test\.npz: is not the file"):
        load_benchmark("digits", folder)


def test_missing_file(folder: Path) -> None:
    (folder / "digits" / "photographs.npz").unlink()
    with pytest.raises(DataError, match=r"photographs\.npz: the manifest lists this file"):
        load_benchmark("digits", folder)


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read: No such file"):
        load_benchmark("digits", tmp_path)


def without_title(manifest: dict[str, Any]) -> None:
    del manifest["benchmarks"]["digits"]["title"]


def without_train(manifest: dict[str, Any]) -> None:
    files = manifest["benchmarks"]["digits"]["files"]
    files[:] = [entry for entry in files if entry["role"] != "train"]


def with_a_newer_schema(manifest: dict[str, Any]) -> None:
    manifest["schema"] = 2


def with_another_group(manifest: dict[str, Any]) -> None:
    files = manifest["benchmarks"]["digits"]["files"]
    next(entry for entry in files if entry["role"] == "ood")["group"] = "middling"


def with_two_sets_of_one_name(manifest: dict[str, Any]) -> None:
    files = manifest["benchmarks"]["digits"]["files"]
    first, second, *_ = (entry for entry in files if entry["role"] == "ood")
    second["name"] = first["name"]


def with_text_for_a_size(manifest: dict[str, Any]) -> None:
    manifest["benchmarks"]["digits"]["files"][0]["bytes"] = "many"


def with_a_list_for_benchmarks(manifest: dict[str, Any]) -> None:
    manifest["benchmarks"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_title, r"benchmarks\.digits\.title: is missing"),
        (with_two_sets_of_one_name, "two sets have one name; the manifest is damaged"),
        (without_train, "0 files have the role train, expected one"),
        (with_a_newer_schema, "schema: is 2, but this version reads 1"),
        (with_another_group, "has group 'middling'"),
        (with_text_for_a_size, r"files\.0\.bytes: is no int"),
        (with_a_list_for_benchmarks, "benchmarks: is no dict"),
    ],
)
def test_damaged_manifest(
    folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(DataError, match=rf"manifest\.json: .*{message}"):
        load_benchmark("digits", folder)


def test_manifest_that_is_no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json: is not JSON"):
        load_benchmark("digits", folder)


def test_no_validation_rows(folder: Path) -> None:
    def drop(manifest: dict[str, Any]) -> None:
        files = manifest["benchmarks"]["digits"]["files"]
        files[:] = [entry for entry in files if entry["role"] != "id_val"]

    rewrite(folder, drop)
    assert load_benchmark("digits", folder).id_val is None
