"""Every benchmark on record is read from a small folder laid out as its publisher lays it out."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import io as matlab

from ood_toolkit.datasets import known_benchmarks, read_clinc
from ood_toolkit.datasets.records import ROLES, BenchmarkRecord
from ood_toolkit.models.benchmarks import benchmark_images
from tests.datasets.test_readers import idx_bytes, planes

pillow = pytest.importorskip("PIL.Image")

OF_IMAGES = sorted(name for name, record in known_benchmarks().items() if record.images)
GREY = {"mnist", "notmnist", "fashionmnist", "kmnist"}
"""Sets of grey images of 28 x 28; notMNIST's are png files of letters."""
RNG = np.random.default_rng(0)


def pixels(rows: int, shape: tuple[int, ...]) -> np.ndarray:
    return RNG.integers(0, 256, (rows, *shape), dtype=np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    """As png, whatever the suffix says: readers go by the content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pillow.fromarray(image).save(file, "png")


def write_imglist(root: Path, place: str, name: str, part: str) -> tuple[np.ndarray, list[int]]:
    """OpenOOD's text file, and the images it lists below their own folder."""
    listed, _, folder = place.partition("@")
    suffix = {"mnist": ".png", "svhn": ".png"}.get(name, ".JPEG")
    images = pixels(3, (28, 28) if name in GREY else (32, 32, 3))
    labels = [int(n) for n in RNG.integers(0, 10, 3)]
    lines = []
    for row, image in enumerate(images):
        inner = f"{name}/{part}/{labels[row]}/img {row}{suffix}"  # with a blank, as some have
        write_image(root / folder / inner, image)
        lines.append(f"{inner} {labels[row]}\n")
    path = root / listed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return images, labels


def write_loose(root: Path, place: str, name: str) -> tuple[np.ndarray, None]:
    """A folder of png files; the texture set has one more folder a category."""
    images = pixels(3, (32, 32, 3))
    below = ["banded/", "dotted/", "woven/"] if name == "texture" else [""] * 3
    for row, image in enumerate(images):
        write_image(root / place / f"{below[row]}{row}.png", image)
    return images, None


def write_idx(root: Path, place: str, split: str) -> tuple[np.ndarray, list[int]]:
    """MNIST's packed files of images and of labels."""
    folder = root / place
    folder.mkdir(exist_ok=True)
    begin = {"train": "train", "test": "t10k"}[split]
    images, labels = pixels(4, (28, 28)), np.array([3, 1, 4, 1], np.uint8)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        packed = gzip.compress(idx_bytes(array, 8))
        (folder / f"{begin}-{kind}-ubyte.gz").write_bytes(packed)
    return images, labels.tolist()


def write_cifar10(root: Path, place: str, split: str) -> tuple[np.ndarray, list[int]]:
    """The Python version: five pickled batches, or the test batch."""
    folder = root / place
    folder.mkdir(exist_ok=True)
    names = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}[split]
    images, labels = pixels(2 * len(names), (32, 32, 3)), RNG.integers(0, 10, 2 * len(names))
    for number, name in enumerate(names):
        rows = slice(2 * number, 2 * number + 2)
        batch = {
            b"batch_label": b"part", b"labels": labels[rows].tolist(),
            b"data": planes(images[rows]), b"filenames": [b"a.png", b"b.png"],
        }  # fmt: skip
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    return images, labels.tolist()


def write_svhn(root: Path, place: str) -> tuple[np.ndarray, list[int]]:
    """MATLAB's file: rows last, and 10 for the digit 0."""
    images = pixels(4, (32, 32, 3))
    digits = np.array([[10], [1], [9], [2]], np.uint8)
    matlab.savemat(root / place, {"X": images.transpose(1, 2, 3, 0), "y": digits})
    return images, [0, 1, 9, 2]


def laid_out(root: Path, record: BenchmarkRecord) -> Iterator[tuple[str, np.ndarray, object]]:
    """Write every set of a record; its role or name, and the images and classes to be read."""
    for name, spec in record.images.items():
        kind, _, place = spec.partition(":")
        split = "train" if name == "train" else "test"
        own = record.id if name in ROLES else name
        if kind == "imglist":
            yield name, *write_imglist(root, place, own.removesuffix("_val"), name)
        elif kind == "images":
            yield name, *write_loose(root, place, own)
        elif kind == "idx":
            yield name, *write_idx(root, place, split)
        elif kind == "cifar10":
            yield name, *write_cifar10(root, place, split)
        elif kind == "svhn":
            yield name, *write_svhn(root, place)
        else:
            assert kind == "noise", f"{name}: a kind of set without a folder to try it on"


@pytest.mark.parametrize("name", OF_IMAGES)
def test_every_set_of_a_record_is_read(name: str, tmp_path: Path) -> None:
    record = known_benchmarks()[name]
    written = {key: (images, labels) for key, images, labels in laid_out(tmp_path, record)}
    opened = benchmark_images(record, str(tmp_path))
    assert set(opened) == set(record.images)
    noise = {key for key, spec in record.images.items() if spec.startswith("noise:")}
    assert set(written) == set(opened) - noise
    for key, (images, labels) in written.items():
        found, classes = opened[key].read(0, opened[key].rows)
        np.testing.assert_array_equal(np.stack(list(found)), images, err_msg=key)
        assert (None if classes is None else classes.tolist()) == labels, key
    for key in noise:
        assert opened[key].rows == 10_000
        assert opened[key].read(0, 2)[0].shape == (2, 32, 32, 3)


def test_notmnist_is_grey_png_files_in_folders_of_letters(tmp_path: Path) -> None:
    record = known_benchmarks()["mnist"]
    written = {key: images for key, images, _ in laid_out(tmp_path, record)}
    opened = benchmark_images(record, str(tmp_path))
    for key in ("notmnist", "notmnist_val"):
        found, _ = opened[key].read(0, 3)
        assert {image.shape for image in found} == {(28, 28)}
        np.testing.assert_array_equal(np.stack(list(found)), written[key])


def test_queries_of_clinc(tmp_path: Path) -> None:
    path = tmp_path / "data_full.json"
    parts = {part: [["where is my card", "card"], ["hi", "greeting"]]
             for part in ("train", "val", "test")}  # fmt: skip
    parts |= {part: [["who won", "oos"]] for part in ("oos_train", "oos_val", "oos_test")}
    path.write_text(json.dumps(parts))
    found = read_clinc(str(path))
    assert found.labels["test"].tolist() == [0, 1]
    assert found.labels["oos_test"].tolist() == found.labels["oos_val"].tolist() == [-1]


def test_no_record_is_left_out() -> None:
    others = set(known_benchmarks()) - set(OF_IMAGES)
    assert others == {"clinc150", "digits", "fashion"}, "text, and what ships"
