"""Records of benchmarks: those that ship are sound, and wrong ones are one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ood_toolkit.datasets import benchmark_names, benchmark_record, known_benchmarks
from ood_toolkit.datasets.kinds import KINDS
from ood_toolkit.datasets.record_file import read_record
from ood_toolkit.datasets.records import GROUPS, ROLES
from ood_toolkit.datasets.registry import shared_sets
from ood_toolkit.errors import DataError, UnknownName

KNOWN = sorted(known_benchmarks())


def test_which_are_known() -> None:
    assert set(KNOWN) == {
        "cifar10", "cifar100", "clinc150", "digits", "energy", "fashion", "imagenet1k",
        "imagenet200", "mnist", "mnist-family", "odin",
    }  # fmt: skip


FAR_OF_CIFAR = ("mnist", "svhn", "texture", "places365")
FAR_OF_IMAGENET = ("inaturalist", "textures", "openimage_o")
OPENOOD = {  # name: near, far, shifted; as the benchmark's paper lists them
    "cifar10": (("cifar100", "tin"), FAR_OF_CIFAR, ("cifar10c",)),
    "cifar100": (("cifar10", "tin"), FAR_OF_CIFAR, ()),
    "imagenet200": (
        ("ssb_hard", "ninco"), FAR_OF_IMAGENET, ("imagenet_v2", "imagenet_c", "imagenet_r")
    ),
    "imagenet1k": (
        ("ssb_hard", "ninco"),
        FAR_OF_IMAGENET,
        ("imagenet_v2", "imagenet_c", "imagenet_r", "imagenet_es"),
    ),
    "mnist": (("notmnist", "fashionmnist"), ("texture", "cifar10", "tin", "places365"), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", OPENOOD)
def test_the_sets_of_openood(name: str) -> None:
    record = benchmark_record(name)
    assert tuple(record.members(group) for group in ("near", "far", "csid")) == OPENOOD[name]


def test_the_six_sets_of_odin_and_of_energy() -> None:
    odin, energy = benchmark_record("odin"), benchmark_record("energy")
    assert len(odin.groups) == len(energy.groups) == 6
    assert odin.members("synthetic") == ("uniform", "gaussian")
    assert energy.members("far") == (
        "texture", "svhn", "places365", "lsun_crop", "lsun_resize", "isun"
    )  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_a_record_is_whole(name: str) -> None:
    record = known_benchmarks()[name]
    assert record.title
    assert record.source
    assert record.licence
    assert record.shipped == (name in benchmark_names())
    for role, spec in record.images.items():
        assert role in ROLES or role in record.groups
        assert spec.partition(":")[0] in KINDS
    if record.images:
        assert {"id_test", *(n for n, g in record.groups.items() if g != "ood_val")} <= set(
            record.images
        )
        reachable = record.get or all(
            record.sets[n].files or record.sets[n].homepage or record.images[n].startswith("noise")
            for n in record.groups
        )
        assert reachable, "there is no word on how to come by the images"
    json.dumps(record.summary())


def test_checksums_say_who_published_them() -> None:
    files = [f for found in shared_sets().values() for f in found.files]
    assert len(files) > 10
    for file in files:
        assert bool(file.checksum) == bool(file.checksum_from), file.file
        assert file.url.startswith(("http://", "https://"))
    places = [(file.file, file.url) for file in files]
    assert len({place for place, _ in places}) == len(places), "two files would lie in one place"


@pytest.mark.parametrize("name", ["fashion", "digits"])
def test_the_record_of_a_shipped_benchmark_is_that_of_its_manifest(
    name: str, shipped: Path
) -> None:
    manifest = json.loads((shipped / "manifest.json").read_text("utf-8"))["benchmarks"][name]
    record = known_benchmarks()[name]
    groups = {f["name"]: f["group"] for f in manifest["files"] if f["role"] == "ood"}
    assert dict(record.groups) == groups
    assert record.classes == len(manifest["class_names"])
    for key in ("title", "description", "licence"):
        assert getattr(record, key) == manifest[key]


FIVE_LINES = """\
train = "train.npz"
id_val = "val.npz"
id_test = "test.npz"
near = { other-product = "other.npz" }
far = { street = "street.npz", noise = "noise.npz" }
"""


def test_five_lines_are_a_record(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FIVE_LINES)
    record = benchmark_record(str(path))
    assert (record.name, record.id, record.title) == ("mine", "mine", "mine")
    assert dict(record.groups) == {"other-product": "near", "street": "far", "noise": "far"}
    assert dict(record.outputs) == {
        "train": "train.npz", "id_val": "val.npz", "id_test": "test.npz",
        "other-product": "other.npz", "street": "street.npz", "noise": "noise.npz",
    }  # fmt: skip


def test_a_record_may_say_everything_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    digits = "0123456789abcdef" * 4
    path.write_text(f"""
name = "products"
classes = 3
class_names = ["a", "b", "c"]
near = ["svhn", "own"]
[images]
id_test = "images:photos"
[sets.own]
title = "Own"
rows = 12
[[sets.own.files]]
file = "a/b.bin"
url = "https://example.org/b"
sha256 = "{digits.upper()}"
checksum_from = "us"
""")
    record = read_record(path, shared_sets())
    assert record.sets["svhn"].title == shared_sets()["svhn"].title
    (file,) = record.sets["own"].files
    assert (record.sets["own"].rows, file.file, file.checksum) == (
        12, "a/b.bin", f"sha256:{digits}"
    )  # fmt: skip
    assert record.class_names == ("a", "b", "c")


WRONG = [
    ("near = [", "is not TOML"),
    ("id_test = 'a.npz'", "names no out-of-distribution set; add near or far"),
    ("csid = ['a']", "names no out-of-distribution set"),
    ("naer = ['a']\nfar = ['b']", "naer: is not known; did you mean near?"),
    ("near = 'a.npz'", "near: is neither a list of names nor a table"),
    ("near = [3]", "near: is no text"),
    ("near = ['a']\nfar = ['a']", "far.a: is named twice"),
    ("near = ['train']", "near.train: is named twice"),
    ("near = { a = 3 }", "near.a: is no text"),
    ("near = { a = '' }", "near.a: is no text"),
    ("near = ['a']\nclasses = 0", "classes: is no whole number"),
    ("near = ['a']\nclasses = true", "classes: is no whole number"),
    ("near = ['a']\nimages = { b = 'images:x' }", "images.b: is no role and no set"),
    ("near = ['a']\nsets = { a = { md5 = 'x' } }", "sets.a.md5: is not known"),
    ("near = ['a']\nsets = 3", "sets: is no table"),
    ("near = ['a']\n[[sets.a.files]]\nurl = 'x'", "sets.a.files.0.file: is missing"),
    ("near = ['a']\n[[sets.a.files]]\nfile = 'x'\nmd5 = 'zz'", "md5: is not 32 hexadecimal"),
    ("near = ['a']\n[[sets.a.files]]\nfile = '../x'", "file: leads out of the folder"),
    ("near = ['a']\n[[sets.a.files]]\nfile = '/x'", "file: leads out of the folder"),
    ("near = ['a']\n[[sets.a.files]]\nfile = 'x'\nunpack = 'a/../../b'", "unpack: leads out"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_record_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        benchmark_record(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_places_that_are_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"benchmark 'cifar1O'; did you mean cifar10\?$"):
        benchmark_record("cifar1O")
    with pytest.raises(UnknownName, match=r"there are cifar10, .* a folder of outputs"):
        benchmark_record("zzz")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        benchmark_record(str(tmp_path / "none.toml"))
    with pytest.raises(DataError, match="holds no near_NAME, far_NAME or ood_NAME file"):
        benchmark_record(str(tmp_path))
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"neither a \.toml file nor a folder"):
        benchmark_record(str(tmp_path / "x.npz"))


def test_groups_are_those_of_the_documentation() -> None:
    assert GROUPS == ("near", "far", "csid", "synthetic", "ood_val")
