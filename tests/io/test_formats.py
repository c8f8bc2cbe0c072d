"""Every format: what is written comes back, whole or a block of rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ood_toolkit.errors import DataError, InputError
from ood_toolkit.io import describe, load, save_outputs
from ood_toolkit.outputs import Head, Outputs

FLOATS = ("float16", "bfloat16", "float32", "float64")
N, C, D, M = 23, 4, 3, 2
ROW_PARTS = ("logits", "features", "layers", "labels", "thumbnails", "text")
SEQUENCE_PARTS = ("token_logits", "token_mask", "token_ids")
EVERYTHING = frozenset((*ROW_PARTS, *SEQUENCE_PARTS, "head", "members"))
HOLDS = {
    ".npz": EVERYTHING,
    ".h5": EVERYTHING,
    ".hdf5": EVERYTHING,
    ".safetensors": EVERYTHING - {"text"},
    ".pt": EVERYTHING - {"text"},
    ".pth": EVERYTHING - {"text"},
    ".zarr": EVERYTHING - {"text"},
    ".parquet": {"logits", "features", "layers", "labels", "text"},
    ".csv": {"logits", "labels"},
    ".npy": {"logits"},
}
BFLOAT16 = (".safetensors", ".pt", ".pth", ".csv")


def dtype_of(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def record(dtype: str = "float32", parts: Any = EVERYTHING, rows: int = N) -> Outputs:
    random = np.random.default_rng(3)

    def floats(*shape: int) -> Any:
        return (random.normal(size=shape) * 9).astype(dtype_of(dtype))

    logits = floats(rows, C)
    if rows:
        logits[0, 1] = -np.inf
    made: dict[str, Any] = {
        "logits": logits,
        "features": floats(rows, D),
        "layers": {"block1": floats(rows, 2), "block2.relu": floats(rows, 5)},
        "labels": random.integers(-1, C, rows),
        "head": Head(floats(C, D), floats(C)),
        "members": floats(M, rows, C),
        "token_logits": floats(rows, 2, 6),
        "token_mask": random.random((rows, 2)) < 0.5,
        "token_ids": random.integers(0, 6, (rows, 2)),
        "thumbnails": random.integers(0, 255, (rows, 4, 4, 3)).astype(np.uint8),
        "text": np.array(["né " * i for i in range(rows)], dtype=np.str_),
    }
    return Outputs(**{name: value for name, value in made.items() if name in parts})


def arrays_of(x: Outputs) -> dict[str, Any]:
    found = {name: getattr(x, name) for name in EVERYTHING - {"layers", "head"}}
    found |= {f"layers/{name}": value for name, value in x.layers.items()}
    if x.head is not None:
        found |= {"weight": x.head.weight, "bias": x.head.bias}
    return {name: value for name, value in found.items() if value is not None}


def assert_same(one: Outputs, two: Outputs, *, types: bool = True) -> None:
    left, right = arrays_of(one), arrays_of(two)
    assert left.keys() == right.keys()
    for name in left:
        if types and name != "text":
            assert left[name].dtype == right[name].dtype, name
        assert left[name].shape == right[name].shape, name
        equal = left[name] == right[name]
        assert np.all(equal), name
        assert right[name].flags.c_contiguous
        assert right[name].flags.aligned


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("suffix", sorted(HOLDS))
def test_what_is_written_comes_back(suffix: str, dtype: str, tmp_path: Path) -> None:
    x = record(dtype, HOLDS[suffix])
    path = tmp_path / f"x{suffix}"
    if dtype == "bfloat16" and suffix not in BFLOAT16:
        with pytest.raises(InputError, match=r"bfloat16; use \.safetensors"):
            save_outputs(x, path)
        assert list(tmp_path.iterdir()) == []
        return
    save_outputs(x, path)
    back = load(path)
    assert_same(x, back, types=suffix != ".csv")
    assert back.source == str(path)
    again = load(path, dtype=dtype)  # the user's word matters only where the file says nothing
    assert_same(x, again)


@pytest.mark.parametrize("suffix", sorted(HOLDS.keys() - {".npy", ".csv"}))
def test_no_rows_come_back(suffix: str, tmp_path: Path) -> None:
    x = record("float32", HOLDS[suffix] - {"text", "head"}, rows=0)
    save_outputs(x, tmp_path / f"x{suffix}")
    assert_same(x, load(tmp_path / f"x{suffix}"))


@pytest.mark.parametrize("suffix", sorted(HOLDS))
def test_what_a_format_cannot_hold_is_refused(suffix: str, tmp_path: Path) -> None:
    for part in sorted(EVERYTHING - HOLDS[suffix] - {"logits"}):
        with pytest.raises(InputError, match="cannot hold"):
            save_outputs(record(parts={"logits", part}), tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "suffix", [".npz", ".npy", ".safetensors", ".parquet", ".csv", ".pt", ".h5"]
)
def test_written_bytes_are_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    x = record(parts=HOLDS[suffix])
    save_outputs(x, tmp_path / f"one{suffix}")
    save_outputs(x, tmp_path / f"two{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"suffix '\.pkl' cannot be written.*\.npz"):
        save_outputs(record(), tmp_path / "x.pkl")
    with pytest.raises(InputError, match="no arrays"):
        save_outputs(Outputs(), tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", sorted(HOLDS))
def test_columns_that_are_not_contiguous_are_written_as_they_read(
    suffix: str, tmp_path: Path
) -> None:
    # safetensors would store the memory of such arrays in its own order
    z = np.arange(12, dtype=np.float32).reshape(3, 4).T
    for logits in (z, z[::-1], np.ascontiguousarray(z)[:, ::2], z.astype(">f4")):
        path = tmp_path / f"x{suffix}"
        save_outputs(Outputs(logits=logits), path)
        np.testing.assert_array_equal(load(path).logits, logits)


@pytest.mark.parametrize("suffix", sorted(HOLDS))
def test_describe_agrees_with_load(suffix: str, tmp_path: Path) -> None:
    x = record(parts=HOLDS[suffix])
    path = tmp_path / f"x{suffix}"
    save_outputs(x, path)
    described = describe(path)
    assert described.path == str(path)
    assert described.parts == (str(path),)
    expected = {
        name.replace("weight", "head_weight").replace("bias", "head_bias"): array
        for name, array in arrays_of(x).items()
    }
    assert {a.name: a.shape for a in described.arrays} == {
        name: array.shape for name, array in expected.items()
    }
    if suffix != ".csv":
        types = {a.name: a.dtype for a in described.arrays if a.name != "text"}
        assert types == {n: str(a.dtype) for n, a in expected.items() if n != "text"}


def test_texts_of_no_rows_are_texts(tmp_path: Path) -> None:
    x = Outputs(logits=np.zeros((0, 3)), text=np.array([], dtype=np.str_))
    save_outputs(x, tmp_path / "x.parquet")
    text = load(tmp_path / "x.parquet").text
    assert text is not None
    assert (text.dtype.kind, text.shape) == ("U", (0,))
