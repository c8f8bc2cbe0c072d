"""Whatever bytes a file holds: it loads, or it raises DataError, and nothing else happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings

from ood_toolkit.errors import DataError
from ood_toolkit.io import describe, load, load_scores, save_outputs
from ood_toolkit.io.formats import FORMATS
from ood_toolkit.outputs import Outputs
from tests.io.bad_inputs import numpy_files, stores, tensor_files, whole_files

SUFFIXES = sorted(FORMATS.keys() - {".zarr"})
TEXT = (".csv", ".tsv", ".jsonl")
MAGIC = {
    ".npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (",
    ".npz": b"PK\x03\x04",
    ".pt": b"PK\x03\x04",
    ".pth": b"PK\x03\x04",
    ".safetensors": b"\x40\x00\x00\x00\x00\x00\x00\x00{",
    ".parquet": b"PAR1",
    ".h5": b"\x89HDF\r\n\x1a\n",
    ".hdf5": b"\x89HDF\r\n\x1a\n",
    ".csv": b"logits_0,logits_1\n",
    ".tsv": b"0\t1\n",
    ".jsonl": b'{"logits": [',
}
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def attempt(path: Path) -> bool:
    """Whether the file loads; anything but a one-line DataError fails the test."""
    said = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            describe(path)
            load(path)
    except DataError as reason:
        said = str(reason)
    assert "\n" not in said
    assert not said or said.startswith(str(path))
    return not said


@pytest.mark.parametrize("suffix", SUFFIXES)
@QUICK
@given(content=st.binary(max_size=400), magic=st.booleans())
@example(content=b"", magic=True)
def test_arbitrary_bytes(suffix: str, content: bytes, magic: bool, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(MAGIC[suffix] * magic + content)
    loaded = attempt(path)
    assert not loaded or suffix in TEXT


@pytest.mark.parametrize("suffix", TEXT)
@QUICK
@given(content=st.text("01.,-einfa_ \t\n\"'{}[]:logits\x00é", max_size=60))
def test_arbitrary_text(suffix: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(MAGIC[suffix] + content.encode())
    attempt(path)


@QUICK
@given(
    descr=st.sampled_from(["<f4", ">f8", "<f2", "|V2", "|O", "<U3", "|b1", "<c8", "<M8[s]"])
    | st.text(max_size=6),
    fortran=st.booleans() | st.none(),
    shape=st.lists(st.integers(-1, 2**70) | st.booleans() | st.text(max_size=2), max_size=4),
)
def test_arbitrary_npy_headers(descr: str, fortran: Any, shape: Any, tmp_path: Path) -> None:
    header = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    start = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little")
    path = tmp_path / "x.npy"
    path.write_bytes(start + header + b"\n" + bytes(48))
    attempt(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**64) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "logits", "__metadata__"]), inner
        )
    ),
    max_leaves=12,
)


@QUICK
@given(header=JSON)
def test_arbitrary_safetensors_headers(header: Any, tmp_path: Path) -> None:
    raw = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(32))
    attempt(path)


@QUICK
@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "shape": st.lists(st.integers(-1, 2**40), max_size=3),
            "data_type": st.sampled_from(["float32", "int8", "bool", "complex64", "string", "x"]),
            "chunk_grid": st.just({"name": "regular", "configuration": {"chunk_shape": [2, 0]}}),
            "codecs": st.lists(
                st.sampled_from([{"name": "bytes"}, {"name": "pickle"}, {"name": 3}, {}, "zstd"]),
                max_size=2,
            ),
            "fill_value": st.none() | st.text(max_size=3) | st.floats(),
            "zarr_format": st.integers(1, 4),
        },
    )
)
def test_arbitrary_zarr_metadata(values: dict[str, Any], tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    file = store / "logits" / "zarr.json"
    if not store.exists():
        save_outputs(Outputs(logits=np.ones((4, 2))), store)
        (tmp_path / "good.json").write_bytes(file.read_bytes())
    good = json.loads((tmp_path / "good.json").read_text())
    file.write_text(json.dumps(good | values))
    attempt(store)


MUTATED = [".npy", ".npz", ".safetensors", ".h5", ".parquet", ".pt", ".csv"]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "cut", "delete", "ones"]),
        st.floats(0, 0.999),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def mutated(raw: bytes, edits: list[tuple[str, float, int]]) -> bytes:
    data = bytearray(raw)
    for kind, place, value in edits:
        at = int(place * len(data))
        if kind == "set":
            data[at : at + 1] = bytes([value])
        elif kind == "flip" and data:
            data[at] ^= 1 << value % 8
        elif kind == "cut":
            del data[at:]
        elif kind == "delete":
            del data[at : at + value % 16]
        else:
            data[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize("suffix", MUTATED)
@QUICK
@given(edits=EDITS)
def test_damaged_files(suffix: str, edits: Any, tmp_path: Path) -> None:
    good = tmp_path / f"good{suffix}"
    if not good.exists():
        labels = None if suffix == ".npy" else np.arange(6) % 3
        save_outputs(Outputs(logits=np.arange(18.0).reshape(6, 3), labels=labels), good)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(mutated(good.read_bytes(), edits))
    attempt(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz", ".parquet"])
@QUICK
@given(content=st.binary(max_size=200), magic=st.booleans())
def test_score_tables_of_arbitrary_bytes(
    suffix: str, content: bytes, magic: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(MAGIC[suffix] * magic + content)
    said = ""
    try:
        load_scores(path)
    except DataError as reason:
        said = str(reason)
    assert "\n" not in said


BOMBS = """
import resource, sys, warnings
from ood_toolkit.errors import DataError
from ood_toolkit.io import load

good, bombs = sys.argv[1].split(":"), sys.argv[2].split(":")
for path in good:
    load(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in bombs:
    try:
        load(path)
    except DataError:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, path, flush=True)
    else:
        sys.exit(f"{path} was read")
"""


def test_hostile_files_cost_no_memory(tmp_path: Path) -> None:
    builders = [
        numpy_files.shape_of_1e12,
        numpy_files.header_of_1_mb,
        numpy_files.npz_bomb,
        tensor_files.stride_zero_pt,
        tensor_files.safetensors_header_of_5_mb,
        tensor_files.safetensors_json_bomb,
        stores.hdf5_declares_4_tb,
        stores.hdf5_declares_4_tb_in_one_piece,
        stores.hdf5_bomb,
        stores.zarr_declares_40_tb,
        parquet_bomb,
        whole_files.truncated_pt,
    ]
    good, bombs = [], []
    for suffix in (".npy", ".npz", ".pt", ".safetensors", ".h5", ".zarr", ".parquet"):
        good.append(tmp_path / f"good{suffix}")
        save_outputs(Outputs(logits=np.ones((3, 2))), good[-1])
    for build in builders:
        folder = tmp_path / build.__name__
        folder.mkdir()
        bombs.append(build(folder))
    arguments = [":".join(map(str, paths)) for paths in (good, bombs)]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BOMBS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    kibibytes = [int(line.split()[0]) for line in run.stdout.splitlines()]
    assert len(kibibytes) == len(bombs)
    assert max(kibibytes) < 100 << 10, run.stdout


def parquet_bomb(folder: Path) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    zeros = pa.array(np.zeros(30_000_000, np.float32))
    path = folder / "x.parquet"
    pq.write_table(pa.table({"logits": pa.FixedSizeListArray.from_arrays(zeros, 1000)}), path)
    return path
