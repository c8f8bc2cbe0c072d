"""Small files that would become large: refused before they do, whatever they are made of."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet
from zarr import codecs

from ood_toolkit.errors import DataError
from ood_toolkit.io import gate, load

LOAD = """
import sys
from ood_toolkit.errors import DataError
from ood_toolkit.io import load

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10

try:
    load(sys.argv[2])  # loads the libraries that the format needs
except DataError:
    pass
before = peak()
try:
    load(sys.argv[1])
except DataError as reason:
    print(peak() - before, reason)
"""


def refused(path: Path, small: Path) -> tuple[int, str]:
    """MiB that the attempt took, beside a good file, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), str(small)],
        check=True,
        capture_output=True,
        text=True,
    )
    took, _, said = done.stdout.partition(" ")
    return int(took), said


def member(rows: int, columns: int) -> bytes:
    content = io.BytesIO()
    np.save(content, np.zeros((rows, columns), np.float32))
    return content.getvalue()


def many_layers(path: Path, count: int, floats: int, **options: Any) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logits.npy", member(4, 3))
        for number in range(count):
            archive.writestr(f"layers/a{number}.npy", member(4, floats // 4))


def test_many_small_arrays_are_a_bomb_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone stays below the size from which the rule holds."""
    monkeypatch.setattr(gate, "MAP_FROM", 1 << 20)
    many_layers(tmp_path / "x.npz", 3, 200_000)
    words = "layers/a1: this and 2 arrays before it claim to be 1.5 MiB of .* allow that with "
    with pytest.raises(DataError, match=words + r"--max-bytes \(max_bytes=\) 800000"):
        load(tmp_path / "x.npz")
    assert len(load(tmp_path / "x.npz", max_bytes=800_000).layers) == 3
    many_layers(tmp_path / "x.npz", 1, 200_000)
    assert len(load(tmp_path / "x.npz").layers) == 1


def test_shards_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAP_FROM", 1 << 20)
    for number in range(2):
        np.savez_compressed(tmp_path / f"{number}.npz", logits=np.zeros((40_000, 3)))
    assert len(load(tmp_path / "0.npz")) == 40_000
    with pytest.raises(DataError, match=r"1\.npz: logits: this and 1 arrays before it claim"):
        load(tmp_path)


def test_arrays_in_the_same_bytes_count_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAP_FROM", 1 << 20)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["logits"] = np.ones((1000, 30))
        for number in range(300):
            file[f"layers/a{number}"] = file["logits"]
    with pytest.raises(DataError, match="arrays before it claim to be"):
        load(tmp_path / "x.h5")


def test_members_of_an_archive_do_not_overlap(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("logits.npy", member(4, 3000))
        (first,) = archive.infolist()
        twin = zipfile.ZipInfo("features.npy")
        for name in ("CRC", "compress_size", "file_size", "header_offset"):
            setattr(twin, name, getattr(first, name))
        archive.filelist.append(twin)
        archive.NameToInfo[twin.filename] = twin
    with pytest.raises(DataError, match="members of the archive lie in the same bytes"):
        load(tmp_path / "x.npz")


def test_claimed_chunks_are_counted_not_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file.create_dataset("logits", data=np.ones((4, 10)), chunks=(1, 10))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("logits", shape=(3_000_000, 10), chunks=(1, 10), dtype="f4")[0] = (
            np.ones(10)
        )
    took, said = refused(tmp_path / "x.h5", tmp_path / "small.h5")
    assert "logits: 2999999 of 3000000 chunks of shape (3000000, 10) were never written" in said
    assert took < 50  # a list of their places would take 300


def test_a_frame_that_states_no_size_holds_a_chunk(tmp_path: Path) -> None:
    """The codec would inflate all that comes: 4,096 times 128 KiB of zeros."""
    for name in ("small", "x"):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w")
        group.create_array(
            "logits", data=np.ones((4, 2)), chunks=(4, 2), compressors=codecs.ZstdCodec()
        )
    frame = b"\x28\xb5\x2f\xfd\x00\x58"
    for number in range(4096):
        frame += (128 << 13 | 1 << 1 | (number == 4095)).to_bytes(3, "little") + b"\0"
    (tmp_path / "x.zarr" / "logits" / "c" / "0" / "0").write_bytes(frame)
    took, said = refused(tmp_path / "x.zarr", tmp_path / "small.zarr")
    assert "chunk c/0/0 does not hold 64 bytes: it is damaged" in said
    assert took < 100


def texts(path: Path, column: list[str], **options: Any) -> None:
    flat = pa.array(np.zeros(2 * len(column)))
    table = {"logits": pa.FixedSizeListArray.from_arrays(flat, 2), "text": pa.array(column)}
    parquet.write_table(pa.table(table), path, compression="zstd", **options)


def test_a_long_text_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    texts(tmp_path / "small.parquet", ["a", "b"])
    texts(tmp_path / "x.parquet", ["a" * (300 << 20)], use_dictionary=False)
    took, said = refused(tmp_path / "x.parquet", tmp_path / "small.parquet")
    assert "text: " in said
    assert "in the file claim to be 300.0 MiB of shape (1,)" in said
    assert took < 100


def test_a_text_of_many_rows_is_held_once(tmp_path: Path) -> None:
    """Its dictionary is small; a row of its own for each would take 2 GB."""
    texts(tmp_path / "small.parquet", ["a", "b"])
    texts(tmp_path / "x.parquet", ["a" * 100_000] * 20_000)
    took, said = refused(tmp_path / "x.parquet", tmp_path / "small.parquet")
    assert "one text has 100000 characters, which makes 7.5 GiB for 20000 rows" in said
    assert took < 100


STEPS = [
    {"use_dictionary": False, "column_encoding": {"text": f"DELTA_{kind}BYTE_ARRAY"}}
    for kind in ("", "LENGTH_")
]
"""As several engines write texts: each as what follows the one before, or all lengths first."""


def test_a_text_of_many_rows_in_steps_is_read_some_rows_at_a_time(tmp_path: Path) -> None:
    texts(tmp_path / "small.parquet", ["a", "b"])
    texts(tmp_path / "x.parquet", ["a" * 100_000] * 20_000, **STEPS[0])
    took, said = refused(tmp_path / "x.parquet", tmp_path / "small.parquet")
    assert "one text has 100000 characters, which makes 7.5 GiB for 20000 rows" in said
    assert took < 400


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"row_group_size": 70}, *STEPS])
def test_texts_come_back(options: dict[str, Any], tmp_path: Path) -> None:
    column = [f"t{n % 90}é" for n in range(500)]
    texts(tmp_path / "x.parquet", column, **options)
    text = load(tmp_path / "x.parquet").text
    assert text is not None
    assert text.tolist() == column
