"""Pickles read as data: real batches come through, and nothing that they say is run."""

from __future__ import annotations

import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ood_toolkit.datasets.pickled import read_pickled
from ood_toolkit.errors import DataError


def written(path: Path, value: Any, protocol: int) -> str:
    path.write_bytes(pickle.dumps(value, protocol))
    return str(path)


def python_2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 and numpy 1 wrote CIFAR's: byte strings, names of the old modules."""

    def text(word: str) -> bytes:
        return b"U" + bytes([len(word)]) + word.encode()

    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02K\x00\x85U\x01btRq\x03"
        b"(K\x01K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", pixels.shape[1]) + b"\x86"
        b"cnumpy\ndtype\nq\x04(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    listed = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    items = text("data") + array + text("labels") + listed + text("batch_label") + text("test")
    return b"\x80\x02}q\x00(" + items + b"u."


def test_a_batch_of_python_2(tmp_path: Path) -> None:
    pixels = np.arange(3 * 300, dtype=np.uint8).reshape(3, 300)
    path = tmp_path / "batch"
    path.write_bytes(python_2_batch(pixels, [3, 1, 2]))
    # the sample itself is sound: Python reads it the same
    expected = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301
    found = read_pickled(str(path))
    np.testing.assert_array_equal(found["data"], expected["data"])
    assert found["data"].dtype == np.uint8
    assert found["labels"] == expected["labels"] == [3, 1, 2]
    assert found["batch_label"] == "test"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int, dtype: str, order: Any) -> None:
    array = np.asarray(np.arange(12).reshape(4, 3), dtype=dtype, order=order)
    path = written(tmp_path / "p", {"data": array, "empty": np.zeros((0, 5), "f8")}, protocol)
    found = read_pickled(path)
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == array.dtype.newbyteorder("=")
    assert found["empty"].shape == (0, 5)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(value=VALUES, protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back(tmp_path: Path, value: Any, protocol: int) -> None:
    assert read_pickled(written(tmp_path / "p", value, protocol)) == value


class Calls:
    """Unpickled, it would make a file."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_a_hostile_pickle_is_refused_and_not_run(
    tmp_path: Path, protocol: int, nested: bool
) -> None:
    mark = tmp_path / "was-run"
    value: Any = Calls(os.mkdir, str(mark))
    path = written(tmp_path / "p", {"data": [value], "labels": [1]} if nested else value, protocol)
    with pytest.raises(DataError, match=r"would call 'posix\.mkdir'|does ") as caught:
        read_pickled(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)
    pickle.loads(Path(path).read_bytes())  # noqa: S301 - the sample does what it should
    assert mark.exists()


@pytest.mark.parametrize("name", ["builtins eval", "numpy load", "numpy.core.multiarray fromfile"])
def test_no_other_name_is_known(tmp_path: Path, name: str) -> None:
    module, function = name.split()
    content = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(DataError, match=f"would call '{module}.{function}'"):
        read_pickled(str(tmp_path / "p"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a", None], dtype=object), "not of numbers|does "),
        (np.zeros(3, [("a", "i4"), ("b", "f4")]), "records|not of numbers"),
        (np.array(["text"]), "not of numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "not of numbers|records"),
        (np.zeros(2, "c16"), "not of numbers"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_anything_but_numbers(
    tmp_path: Path, array: np.ndarray, message: str, protocol: int
) -> None:
    with pytest.raises(DataError, match=message):
        read_pickled(written(tmp_path / "p", {"data": array}, protocol))


def test_an_array_that_claims_more_than_there_is(tmp_path: Path) -> None:
    pixels = np.zeros((2, 300), np.uint8)
    content = python_2_batch(pixels, [1, 2])
    (tmp_path / "p").write_bytes(content.replace(b"(K\x01K\x02M", b"(K\x01K\x7fM"))
    with pytest.raises(DataError, match=r"an array of shape \(127, 300\) of uint8 has 600 bytes"):
        read_pickled(str(tmp_path / "p"))


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_cut_file_is_refused(tmp_path: Path, cut: int) -> None:
    content = python_2_batch(np.zeros((2, 300), np.uint8), [1, 2])
    (tmp_path / "p").write_bytes(content[: len(content) - 1 - cut])
    with pytest.raises(DataError):
        read_pickled(str(tmp_path / "p"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_damage_raises_nothing_but_data_errors(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(python_2_batch(np.zeros((2, 4), np.uint8), [1, 2]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "p").write_bytes(bytes(content))
    with suppress(DataError):
        read_pickled(str(tmp_path / "p"))
