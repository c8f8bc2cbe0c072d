"""Readers of images and queries: real layouts come through, hostile ones are one-line errors."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import io as matlab

from ood_toolkit.datasets import open_images, read_clinc
from ood_toolkit.datasets.idx import read_idx
from ood_toolkit.errors import BadParameter, DataError, ToolkitError

RNG = np.random.default_rng(0)


def all_rows(spec: str, split: str = "test") -> tuple[np.ndarray, np.ndarray | None]:
    source = open_images(spec, split)
    images, labels = source.read(0, source.rows)
    assert len(source.names(0, source.rows)) == source.rows
    return np.stack(list(images)), labels


def refused(spec: str, message: str, split: str = "test") -> None:
    with pytest.raises(DataError, match=message) as caught:
        all_rows(spec, split)
    assert "\n" not in str(caught.value)


# CIFAR


def cifar_rows(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, classes, count)


def planes(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-py", "cifar-10-batches-bin"])
@pytest.mark.parametrize("binary", [True, False])
def test_cifar10(tmp_path: Path, folder: str, binary: bool) -> None:
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    parts = {name: cifar_rows(3, 10, seed) for seed, name in enumerate(names)}
    for name, (images, labels) in parts.items():
        if binary:
            records = np.hstack([labels[:, None].astype(np.uint8), planes(images)])
            records.tofile(place / f"{name}.bin")
        else:
            batch = {b"data": planes(images), b"labels": labels.tolist(), b"batch_label": b"x"}
            (place / name).write_bytes(pickle.dumps(batch, 2))
    images, labels = all_rows(f"cifar10:{tmp_path}")
    np.testing.assert_array_equal(images, parts["test_batch"][0])
    np.testing.assert_array_equal(labels, parts["test_batch"][1])
    images, labels = all_rows(f"cifar10:{tmp_path}", "train")
    np.testing.assert_array_equal(images, np.concatenate([parts[n][0] for n in names[:5]]))
    np.testing.assert_array_equal(labels, np.concatenate([parts[n][1] for n in names[:5]]))


@pytest.mark.parametrize("binary", [True, False])
def test_cifar100_reads_the_fine_classes(tmp_path: Path, binary: bool) -> None:
    images, labels = cifar_rows(4, 100, 1)
    coarse = np.full(4, 7, np.uint8)
    if binary:
        records = np.hstack([coarse[:, None], labels[:, None].astype(np.uint8), planes(images)])
        records.tofile(tmp_path / "test.bin")
    else:
        batch = {"data": planes(images), "fine_labels": labels.tolist(), "coarse_labels": [7] * 4}
        (tmp_path / "test").write_bytes(pickle.dumps(batch))
    found, classes = all_rows(f"cifar100:{tmp_path}")
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(classes, labels)


BATCHES: list[tuple[Any, str]] = [
    ({"data": np.zeros((2, 3072), np.uint8)}, "labels: is missing; the batch holds data"),
    ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "1 labels, 2 images"),
    ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]}, "image 1 has class 10"),
    ({"data": np.zeros((2, 3072), np.uint8), "labels": [-1, 0]}, "image 0 has class -1"),
    ({"data": np.zeros((2, 3072), np.float32), "labels": [1, 2]}, "pixels of bytes"),
    ({"data": np.zeros((2, 3000), np.uint8), "labels": [1, 2]}, r"expected an array \(N, 3072\)"),
    ({"data": [[0] * 3072], "labels": [1]}, r"expected an array \(N, 3072\)"),
    ({"data": np.zeros((1, 3072), np.uint8), "labels": ["cat"]}, "labels of integers"),
    ([1, 2, 3], "holds a list, expected a dict"),
    ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "labels of integers|holds no inputs"),
]


@pytest.mark.parametrize(("batch", "message"), BATCHES)
def test_batches_that_are_none(tmp_path: Path, batch: Any, message: str) -> None:
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, 4))
    refused(f"cifar10:{tmp_path}", message)


def test_cifar_folders_that_are_none(tmp_path: Path) -> None:
    refused(f"cifar10:{tmp_path}", "expected the contents of cifar-10-batches-bin or cifar-10-bat")
    (tmp_path / "test_batch.bin").write_bytes(b"abc")
    refused(f"cifar10:{tmp_path}", "3 bytes are no whole number of images")
    (tmp_path / "data_batch_1").write_bytes(b"")
    refused(f"cifar10:{tmp_path}", "data_batch_2: there is no such file", "train")
    with pytest.raises(BadParameter, match="split must be train or test"):
        open_images(f"cifar10:{tmp_path}", "val")


# IDX


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(
    ("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)]
)
@pytest.mark.parametrize("packed", [True, False])
def test_idx_types(tmp_path: Path, dtype: str, code: int, packed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(array, code)
    (tmp_path / "x").write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(str(tmp_path / "x"))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_the_four_files_of_mnist(tmp_path: Path, suffix: str, dot: str) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if suffix else bytes
    images = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    (tmp_path / f"t10k-images{dot}idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(images, 8)))
    (tmp_path / f"t10k-labels{dot}idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels, 8)))
    found, classes = all_rows(f"idx:{tmp_path}")
    np.testing.assert_array_equal(found, images)
    assert classes is not None
    assert (classes.tolist(), classes.dtype) == (labels.tolist(), np.int64)
    refused(f"idx:{tmp_path}", "train-images-idx3-ubyte: there is no such file", "train")
    (tmp_path / f"t10k-labels{dot}idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels[:4], 8)))
    refused(f"idx:{tmp_path}", r"5 images, but labels of shape \(4,\)")


HOSTILE_IDX: list[tuple[bytes, str]] = [
    (b"\0\0\x08", "is no IDX file"),
    (b"\x93NUMPY" + bytes(40), "is no IDX file"),
    (b"\0\0\x07\x01\0\0\0\0", "is no IDX file"),
    (b"\0\0\x08\0", "claims 0 axes"),
    (b"\0\0\x08\xff" + bytes(2000), "claims 255 axes"),
    (b"\0\0\x08\x03\0\0", "ends within its header"),
    (b"\0\0\x08\x01\0\0\0\x05abc", r"shape \(5,\) needs 5 bytes, but 3 follow"),
    (b"\0\0\x08\x01\0\0\0\x02abc", "bytes trail behind the 2"),
    (b"\0\0\x0e\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "claim to be"),
    (b"\0\0\x08\x01\xff\xff\xff\xff", "claim to be"),
    (gzip.compress(b"\0\0\x08\x01\x10\0\0\0" + bytes(1 << 22)), "claim to be"),
    (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab")[:-6], "cannot be read"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE_IDX, ids=[m for _, m in HOSTILE_IDX])
def test_idx_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(str(tmp_path / "x"))


def test_idx_sizes_that_the_user_sets(tmp_path: Path) -> None:
    content = idx_bytes(np.zeros(1000, np.uint8), 8)
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="claims 1000 bytes, more than the 999 set"):
        read_idx(str(tmp_path / "x"), max_bytes=999)
    assert len(read_idx(str(tmp_path / "x"), max_bytes=1000)) == 1000


def test_idx_arrays_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(idx_bytes(np.zeros((3, 4), np.uint8), 8))
    refused(f"idx:{tmp_path / 'x'}", r"holds no images of bytes \(shape \(3, 4\), type uint8\)")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.binary(max_size=60), packed=st.booleans())
def test_any_bytes_as_idx(tmp_path: Path, content: bytes, packed: bool) -> None:
    content = b"\0\0\x08" + content
    (tmp_path / "x").write_bytes(gzip.compress(content) if packed else content)
    try:
        found = read_idx(str(tmp_path / "x"))
    except DataError:
        return
    assert found.nbytes <= len(content)


# SVHN


def svhn_file(path: Path, **arrays: Any) -> str:
    matlab.savemat(path, arrays, do_compression=True)
    return f"svhn:{path}"


def test_svhn(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    labels = np.array([[10], [1], [9], [10]], np.uint8)
    images, classes = all_rows(svhn_file(tmp_path / "test_32x32.mat", X=pixels, y=labels))
    np.testing.assert_array_equal(images[2], pixels[:, :, :, 2])
    assert classes is not None
    assert classes.tolist() == [0, 1, 9, 0], "10 stands for the digit 0"


def test_svhn_files_that_are_none(tmp_path: Path) -> None:
    pixels, labels = np.zeros((32, 32, 3, 2), np.uint8), np.ones((2, 1), np.uint8)
    path = tmp_path / "x.mat"
    refused(svhn_file(path, X=pixels), "y: is missing; the file holds X")
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.ones(3), "text"
    refused(svhn_file(path, X=cells, y=labels), "X: is a cell, not an array of numbers")
    refused(svhn_file(path, X={"a": 1}, y=labels), "X: is a struct, not an array of numbers")
    refused(svhn_file(path, X=pixels, y=["a", "b"]), "y: is a char, not an array of numbers")
    refused(svhn_file(path, X=pixels.astype("f8"), y=labels), "expected bytes")
    refused(svhn_file(path, X=pixels, y=labels[:1]), "1 labels for 2 images")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    refused(f"svhn:{path}", "a variable has no header")
    path.write_bytes(RNG.bytes(700))
    refused(f"svhn:{path}", "is not a MATLAB 5 file")
    refused(svhn_file(path, X=pixels + 1j, y=labels), "complex numbers")


@pytest.mark.parametrize("compressed", [True, False])
def test_an_svhn_file_that_says_no_type_of_numbers(compressed: bool, tmp_path: Path) -> None:
    """scipy would look the type up beyond the end of its table, and the process would end."""
    path = tmp_path / "x.mat"
    labels = np.ones((3, 1), np.uint8)
    matlab.savemat(path, {"y": labels}, do_compression=False)
    content = bytearray(path.read_bytes())
    tag = content.index(bytes([2, 0, 3, 0, 1, 1, 1]))  # three bytes, in a small element
    content[tag] = 130
    if compressed:
        packed = zlib.compress(bytes(content[128:]))
        content[128:] = struct.pack("<II", 15, len(packed)) + packed
    path.write_bytes(content)
    refused(f"svhn:{path}", "a variable says no type of numbers")
    path.write_bytes(content[:131])
    refused(f"svhn:{path}", "ends within a variable")


def test_an_svhn_file_that_unpacks_to_far_too_much(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3, 30_000), np.uint8)
    spec = svhn_file(tmp_path / "x.mat", X=pixels, y=np.ones((30_000, 1), np.uint8))
    refused(spec, "X: .* claim to be 87.9 MiB")


# Folders and lists


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five PNG files in two folders."""
    image_library = pytest.importorskip("PIL.Image")
    for row in range(5):
        folder = tmp_path / "images" / ("ab"[row % 2])
        folder.mkdir(parents=True, exist_ok=True)
        array = np.full((4, 4, 3), 10 * row, np.uint8)
        image_library.fromarray(array).save(folder / f"{row}.png")
    (tmp_path / "images" / "a" / "notes.txt").write_text("no image")
    return tmp_path


def shades(spec: str) -> tuple[list[int], list[int] | None]:
    images, labels = all_rows(spec)
    return [int(i[0, 0, 0]) for i in images], None if labels is None else labels.tolist()


def test_class_folders_and_loose_images(pictures: Path) -> None:
    assert shades(f"imagefolder:{pictures / 'images'}") == ([0, 20, 40, 10, 30], [0, 0, 0, 1, 1])
    assert shades(f"images:{pictures / 'images'}") == ([0, 20, 40, 10, 30], None)
    assert open_images(f"imagefolder:{pictures / 'images'}").class_names == ("a", "b")
    with pytest.raises(DataError, match="has no folder of a class"):
        open_images(f"imagefolder:{pictures / 'images' / 'a'}")


def test_lists_of_openood(pictures: Path) -> None:
    (pictures / "lists").mkdir()
    listed = pictures / "lists" / "test_x.txt"
    listed.write_text("b/3.png 7\na/0.png -1\n\nb/1.png 2\n")
    assert shades(f"imglist:{listed}@{pictures / 'images'}") == ([30, 0, 10], [7, -1, 2])
    beside = pictures / "images" / "list.txt"
    beside.write_text("a/4.png 1\n")
    assert shades(f"imglist:{beside}") == ([40], [1])
    refused(f"imglist:{listed}@{pictures / 'nowhere'}", "there is no such folder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/0.png\n", "line 1: expected PATH LABEL, got 'a/0.png'"),
        ("a/0.png 1\na/2.png one\n", "line 2: expected PATH LABEL"),
        ("../secret.png 1\n", r"line 1: \.\./secret\.png leads out of the folder"),
        ("/etc/passwd 1\n", "line 1: /etc/passwd leads out of the folder"),
        ("a/0.png 1\nb/missing.png 2\n", r"b/missing\.png: no such file"),
        ("a/notes.txt 1\n", r"notes\.txt: is not a readable image"),
        ("\n", "holds no inputs"),
    ],
)
def test_lists_that_are_none(pictures: Path, text: str, message: str) -> None:
    listed = pictures / "list.txt"
    listed.write_text(text)
    refused(f"imglist:{listed}@{pictures / 'images'}", message)


def test_an_image_of_too_many_pixels(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_library = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(image_library, "MAX_IMAGE_PIXELS", 7)
    refused(f"images:{pictures / 'images'}", "is not a readable image")


# Noise, arrays, words


def test_noise_is_the_same_in_any_batch() -> None:
    source = open_images("noise:gaussian,6x5x3,700")
    whole, labels = source.read(0, 700)
    assert labels is None
    whole = np.asarray(whole)
    assert whole.shape == (700, 6, 5, 3)
    for start, stop in ((0, 1), (255, 257), (300, 300), (511, 700)):
        if stop > start:
            np.testing.assert_array_equal(source.read(start, stop)[0], whole[start:stop])
    clipped = np.clip(0.5 + np.random.default_rng(5).standard_normal(100_000), 0, 1)
    assert whole.mean() / 255 == pytest.approx(clipped.mean(), abs=0.01)
    uniform = np.asarray(open_images("noise:uniform,8x8x1,300").read(0, 300)[0])
    assert uniform.mean() / 255 == pytest.approx(0.5, abs=0.01)
    assert (uniform[0] != uniform[1]).any()


@pytest.mark.parametrize("words", ["noise:pink,8x8x3,5", "noise:uniform,8x8,5", "photos:x", "x"])
def test_words_that_are_none(words: str) -> None:
    with pytest.raises(BadParameter, match="expected"):
        open_images(words)


def test_arrays_and_what_is_not_there(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (3, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=[2, 0, 1])
    found, labels = all_rows(f"npz:{tmp_path / 'x.npz'}")
    np.testing.assert_array_equal(found, images)
    assert labels is not None
    assert labels.tolist() == [2, 0, 1]
    refused(f"cifar10:{tmp_path / 'nowhere'}", "there is no such file or folder")


# CLINC150


def test_clinc(tmp_path: Path) -> None:
    splits = {
        "train": [["pay my bill", "pay_bill"], ["hi", "greeting"], ["settle it", "pay_bill"]],
        "val": [["hello", "greeting"]],
        "test": [["the bill", "pay_bill"]],
        "oos_val": [["moon?", "oos"]],
        "oos_test": [["what is love", "oos"], ["tell me a joke", "oos"]],
    }
    path = tmp_path / "data_full.json"
    path.write_text(json.dumps(splits))
    queries = read_clinc(str(path))
    assert queries.class_names == ("greeting", "pay_bill")
    assert queries.texts["oos_test"] == ("what is love", "tell me a joke")
    labels = {split: values.tolist() for split, values in queries.labels.items()}
    assert labels == {
        "train": [1, 0, 1], "val": [0], "test": [1], "oos_val": [-1], "oos_test": [-1, -1]
    }  # fmt: skip
    assert all(values.dtype == np.int64 for values in queries.labels.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "train: is missing"),
        ('{"test": []}', "train: is missing"),
        ('{"train": {}}', "train: is no list"),
        ('{"train": [["a", "b"], ["c"]]}', r"train: row 1 is not \[text, intent\]"),
        ('{"train": [["a", 3]]}', r"train: row 0 is not \[text, intent\]"),
        ('{"train": [["a", "b"]], "test": [["x", "z"]]}', "test: row 0 has intent 'z', not in"),
    ],
)
def test_queries_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "data_full.json"
    path.write_text(content)
    with pytest.raises(ToolkitError, match=message) as caught:
        read_clinc(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("dtype", "suffix"), [("u2", "png"), ("i4", "tif"), ("f4", "tif")])
def test_pixels_of_more_than_a_byte_are_refused(tmp_path: Path, dtype: str, suffix: str) -> None:
    """Converted, they would nearly all be white."""
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((3, 3), 4000, dtype)).save(tmp_path / "a" / f"x.{suffix}")
    rows = open_images(f"imagefolder:{tmp_path}")
    with pytest.raises(DataError, match=r"x\.\w+: has pixels of more than 8 bits"):
        rows.read(0, 1)


def saved_by_hugging_face(folder: Path, **columns: list[Any]) -> str:
    import pyarrow as pa

    table = pa.table(columns)
    with pa.OSFile(str(folder / "x.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as w:
        w.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "x.arrow"}]}))
    return f"hf:{folder}"


def picture() -> dict[str, Any]:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": [picture(), None]}, "image 1: holds no image; save the data set with its"),
        ({"image": [{"bytes": None, "path": "a.png"}]}, "image 0: holds no image"),
        ({"image": [[1, 2]]}, "image 0: holds no image"),
        ({"image": [picture()] * 2, "label": [0, None]}, "label: row 1 is None, not a class"),
        ({"image": [picture()] * 2, "label": ["a", "b"]}, "label: row 0 is 'a', not a class"),
        ({"image": [picture()] * 2, "label": [1.0, 1.7]}, "label: row 1 is 1.7, not a class"),
        ({"image": [picture()] * 2, "label": [True, False]}, "label: row 0 is True, not a class"),
    ],
)
def test_saved_data_sets_that_are_none(columns: Any, words: str, tmp_path: Path) -> None:
    rows = open_images(saved_by_hugging_face(tmp_path, **columns))
    with pytest.raises(DataError, match=words):
        rows.read(0, rows.rows)


def test_saved_data_sets_of_bytes_alone(tmp_path: Path) -> None:
    one = picture()["bytes"]
    rows = open_images(saved_by_hugging_face(tmp_path, img=[one, one], label=[1.0, 0.0]))
    images, labels = rows.read(1, 2)
    assert (len(images), list(labels)) == (1, [0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.5, 1.7], "labels: row 0 is 0.5, not a whole number"),
        ([np.nan, 1], "labels: row 0 is nan, not a whole number"),
        (["a", "b"], "labels of dtype <U1 cannot be used"),
        (3, "labels must be "),
        ([0, 1, 2], "has 3 rows, images has 2"),
    ],
)
def test_labels_beside_images_that_are_none(labels: Any, words: str, tmp_path: Path) -> None:
    """1.7 was class 1."""
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=labels)
    refused(f"npz:{tmp_path / 'x.npz'}", words)


def test_labels_beside_images_pass_the_gate(tmp_path: Path) -> None:
    zeros = np.zeros(9 << 20, np.int64)
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=zeros)
    refused(f"npz:{tmp_path / 'x.npz'}", "labels: .* claim to be 72.0 MiB")


def test_images_alone_in_a_file(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (3, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    found, labels = all_rows(f"npz:{tmp_path / 'x.npy'}")
    np.testing.assert_array_equal(found, images)
    assert labels is None


def test_classes_that_are_no_whole_numbers(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3, 2), np.uint8)
    matlab.savemat(tmp_path / "x.mat", {"X": pixels, "y": np.array([[1.0], [2.5]])})
    refused(f"svhn:{tmp_path / 'x.mat'}", "y: holds numbers that are no classes")
    images = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7])
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(images)
    label = bytes([0, 0, 13, 1, 0, 0, 0, 1]) + struct.pack(">f", 1.5)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(label)
    refused(f"idx:{tmp_path}", "has labels of type float32, not class numbers")


@pytest.mark.parametrize("coded", [False, True])
def test_a_saved_data_set_is_mapped_and_not_unpacked(coded: bool, tmp_path: Path) -> None:
    """A few kB that are compressed may claim any size."""
    import pyarrow as pa

    column = pa.array([picture()["bytes"]] * 3)
    table = pa.table({"image": column.dictionary_encode() if coded else column, "label": [1, 0, 1]})
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "x.arrow"}]}))
    for compression in (None, "zstd"):
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with (
            pa.OSFile(str(tmp_path / "x.arrow"), "wb") as out,
            pa.ipc.new_stream(out, table.schema, options=options) as w,
        ):
            w.write_table(table, max_chunksize=2)
        if compression is None:
            assert [len(part) for part in all_rows(f"hf:{tmp_path}") if part is not None] == [3, 3]
    refused(f"hf:{tmp_path}", "x.arrow: is compressed, as save_to_disk never does")
