"""Compressed chunks of HDF5 and Zarr: decoded right, and never beyond what a chunk holds."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from zarr import codecs

from ood_toolkit.errors import DataError
from ood_toolkit.io import load, open_source
from ood_toolkit.io.hdf5_chunks import fletcher32

RANDOM = np.random.default_rng(11)
NOISE = RANDOM.normal(size=(23, 7))
PATTERN = np.tile(np.arange(7.0), (23, 1))


def slow_fletcher32(data: bytes) -> int:
    """The checksum as HDF5 defines it: a word at a time, carries folded back."""
    low = high = 0
    if len(data) % 2:
        data += b"\0"
    for at in range(0, len(data), 2):
        low += data[at] << 8 | data[at + 1]
        high += low
    while low >> 16:
        low = (low & 0xFFFF) + (low >> 16)
    while high >> 16:
        high = (high & 0xFFFF) + (high >> 16)
    return high << 16 | low


@given(st.binary(max_size=300) | st.binary(max_size=3).map(lambda b: b"\xff\xff" * 500 + b))
@settings(max_examples=80, deadline=None)
def test_fletcher32_agrees_with_its_definition(data: bytes) -> None:
    assert fletcher32(data) == slow_fletcher32(data)


HDF5_OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "gzip"},
    {"compression": "lzf"},
    {"shuffle": True},
    {"fletcher32": True},
    {"compression": "gzip", "compression_opts": 9, "shuffle": True, "fletcher32": True},
    {"compression": "lzf", "shuffle": True, "fletcher32": True},
]


@pytest.mark.parametrize("options", HDF5_OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8"])
@pytest.mark.parametrize("data", [NOISE, PATTERN], ids=["noise", "pattern"])
def test_hdf5_chunks_are_decoded_as_h5py_does(
    options: dict[str, Any], dtype: str, data: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.h5"
    for chunks in ((5, 3), (23, 7), (1, 7), (9, 7)):
        with h5py.File(path, "w") as file:
            stored = data.astype(dtype)
            file.create_dataset("logits", data=stored, chunks=chunks, maxshape=(None, 9), **options)
        logits = open_source(path).arrays["logits"]
        logits.admit()
        np.testing.assert_array_equal(logits.read(), stored)
        np.testing.assert_array_equal(logits.read(4, 15), stored[4:15])


def test_hdf5_chunk_that_lzf_left_as_it_was(tmp_path: Path) -> None:
    # bytes that do not compress are stored as they are, and the chunk's mask says so
    data = RANDOM.integers(0, 256, (64, 64)).astype(np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        made = file.create_dataset(
            "thumbnails", data=data[:, :, None], chunks=(64, 64, 1), compression="lzf"
        )
        assert made.id.get_chunk_info(0).filter_mask == 1
        file["logits"] = np.zeros((64, 2))
    thumbnails = load(tmp_path / "x.h5").thumbnails
    np.testing.assert_array_equal(thumbnails, data[:, :, None])


def test_hdf5_behind_a_user_block(tmp_path: Path) -> None:
    for options in ({}, {"chunks": (5, 3)}):
        with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
            file.create_dataset("logits", data=NOISE, **options)
        np.testing.assert_array_equal(load(tmp_path / "x.h5").logits, NOISE)


def write_chunk(path: Path, raw: bytes, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("logits", (4, 2), "f8", chunks=(4, 2), **options)
        made.id.write_direct_chunk((0, 0), raw)


def test_hdf5_chunks_inflate_no_further_than_they_should(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_chunk(path, zlib.compress(NOISE[:4, :2].tobytes()), compression="gzip")
    np.testing.assert_array_equal(load(path).logits, NOISE[:4, :2])
    for size in (0, 63, 65, 10_000_000):
        write_chunk(path, zlib.compress(bytes(size)), compression="gzip")
        with pytest.raises(DataError, match=f"a chunk holds {min(size, 69)} bytes, expected 64"):
            load(path)


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        (b"not deflated", {"compression": "gzip"}),
        (b"\xff\xff\xff", {"compression": "lzf"}),
        (b"\x01", {"compression": "lzf"}),
        (NOISE[:4, :2].tobytes() + b"abcd", {"fletcher32": True}),
        (b"x", {"shuffle": True}),
    ],
)
def test_hdf5_chunks_that_are_damaged(raw: bytes, options: Any, tmp_path: Path) -> None:
    write_chunk(tmp_path / "x.h5", raw, **options)
    with pytest.raises(DataError, match="logits"):
        load(tmp_path / "x.h5")


def test_hdf5_numbers_that_numpy_lacks(tmp_path: Path) -> None:
    # a float of 32 bits whose exponent is one bit shorter: its bytes are not a float32
    odd = h5py.h5t.IEEE_F32LE.copy()
    odd.set_fields(31, 24, 7, 0, 24)
    odd.set_ebias(63)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space = h5py.h5s.create_simple((4, 2))
        made = h5py.h5d.create(file.id, b"logits", odd, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((4, 2)))
    with pytest.raises(DataError, match="no like in numpy"):
        load(tmp_path / "x.h5")


def test_hdf5_filters_of_others_are_never_loaded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("logits", data=np.ones((4, 2), "i4"), chunks=(4, 2), scaleoffset=0)
    with pytest.raises(DataError, match="filter 6; use gzip"):
        load(tmp_path / "x.h5")


def test_hdf5_groups_may_form_a_loop(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["logits"] = NOISE
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(DataError, match="linked twice"):
        load(tmp_path / "x.h5")


ZARR_3: list[Any] = [
    {"compressors": None},
    {"compressors": codecs.ZstdCodec(level=3, checksum=True)},
    {"compressors": codecs.GzipCodec()},
    {"compressors": codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")},
    {"compressors": codecs.BloscCodec(cname="lz4", clevel=0)},
    {"compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
    {"compressors": codecs.BloscCodec(), "shards": (10, 6)},
    {"compressors": codecs.ZstdCodec(), "shards": (10, 3)},
    {"compressors": [codecs.Crc32cCodec()], "shards": (25, 9)},
    {"filters": codecs.TransposeCodec(order=(1, 0))},
]
ZARR_2: list[Any] = [
    {"compressors": None},
    {"compressors": numcodecs.Blosc(cname="blosclz")},
    {"compressors": numcodecs.Zstd()},
    {"compressors": numcodecs.LZ4()},
    {"compressors": numcodecs.GZip()},
    {"compressors": numcodecs.Zlib()},
    {"compressors": numcodecs.Zstd(), "filters": [numcodecs.Shuffle(8)]},
    {"compressors": numcodecs.Zstd(), "order": "F"},
]


@pytest.mark.parametrize(
    ("version", "options"), [(3, o) for o in ZARR_3] + [(2, o) for o in ZARR_2]
)
def test_zarr_codecs(version: int, options: Any, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=version)
    for data, kind in ((NOISE, "f8"), (PATTERN, ">f8")):
        group.create_array(
            "logits", data=data.astype(kind), chunks=(5, 3), overwrite=True, **options
        )
        logits = open_source(tmp_path / "x.zarr").arrays["logits"]
        logits.admit()
        np.testing.assert_array_equal(logits.read(), data)
        np.testing.assert_array_equal(logits.read(4, 15), data[4:15])


def test_zarr_of_one_array_is_bare(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "x.zarr", NOISE)
    np.testing.assert_array_equal(load(tmp_path / "x.zarr").logits, NOISE)


def zarr_chunk(folder: Path, **options: Any) -> Path:
    """A store of one chunk of 4 x 2 float64, and the file that holds it."""
    group = zarr.open_group(folder / "x.zarr", mode="w")
    group.create_array("logits", data=NOISE[:4, :2], chunks=(4, 2), **options)
    return folder / "x.zarr" / "logits" / "c" / "0" / "0"


def test_zarr_frames_must_state_the_size_of_a_chunk(tmp_path: Path) -> None:
    chunk = zarr_chunk(tmp_path, compressors=codecs.ZstdCodec())
    for size in (63, 65, 300, 70_000, 5_000_000_000):
        head = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little")
        chunk.write_bytes(head + bytes(20))
        with pytest.raises(DataError, match=f"claims to hold {size} bytes, expected 64"):
            load(tmp_path / "x.zarr")
    for size in (10, 63, 65, 300, 70_000):
        chunk.write_bytes(numcodecs.Zstd().encode(bytes(size)))
        with pytest.raises(DataError, match=f"claims to hold {size} bytes, expected 64"):
            load(tmp_path / "x.zarr")


def test_zarr_frames_may_leave_their_size_out(tmp_path: Path) -> None:
    chunk = zarr_chunk(tmp_path, compressors=codecs.ZstdCodec())
    block = (64 << 3 | 1).to_bytes(3, "little")  # the last block, 64 bytes as they are
    chunk.write_bytes(b"\x28\xb5\x2f\xfd\x00\x58" + block + NOISE[4:8, :2].tobytes())
    np.testing.assert_array_equal(load(tmp_path / "x.zarr").logits, NOISE[4:8, :2])


def test_zarr_blosc_headers_are_checked(tmp_path: Path) -> None:
    chunk = zarr_chunk(tmp_path, compressors=codecs.BloscCodec())
    good = chunk.read_bytes()
    np.testing.assert_array_equal(load(tmp_path / "x.zarr").logits, NOISE[:4, :2])
    for at, value in (
        (12, b"\x8c\0\0\x74"),
        (4, b"\xff\xff\xff\x7f"),
        (8, b"\xff" * 4),
        (3, b"\0"),
    ):
        chunk.write_bytes(good[:at] + value + good[at + len(value) :])
        with pytest.raises(DataError, match="chunk c/0/0"):
            load(tmp_path / "x.zarr")
    chunk.write_bytes(good[:10])
    with pytest.raises(DataError, match="too short"):
        load(tmp_path / "x.zarr")


def test_zarr_gzip_bombs_are_counted_not_inflated(tmp_path: Path) -> None:
    chunk = zarr_chunk(tmp_path, compressors=codecs.GzipCodec())
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(80)) + packer.flush()
    chunk.write_bytes(packed)
    with pytest.raises(DataError, match="claims to hold 65 bytes, expected 64"):
        load(tmp_path / "x.zarr")


def test_zarr_shard_that_lacks_an_inner_chunk(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    data = NOISE.copy()
    data[5:10] = 0
    group = zarr.open_group(path, mode="w")
    group.create_array("logits", data=data, chunks=(5, 7), shards=(15, 7))
    with pytest.raises(DataError, match=r"chunk c/0/0 lacks its inner chunk \(1, 0\); if it held"):
        load(path)
    config = {"write_empty_chunks": True}
    group.create_array(
        "logits", data=data, chunks=(5, 7), shards=(15, 7), overwrite=True, config=config
    )
    np.testing.assert_array_equal(load(path).logits, data)  # beyond the last row none is needed


def test_zarr_shard_whose_index_is_damaged(tmp_path: Path) -> None:
    chunk = zarr_chunk(tmp_path, shards=(8, 2))
    good = chunk.read_bytes()
    chunk.write_bytes(good[:10])
    with pytest.raises(DataError, match="shorter than its index"):
        load(tmp_path / "x.zarr")
    chunk.write_bytes(good[:-36] + (1 << 40).to_bytes(8, "little") + good[-28:])
    with pytest.raises(DataError, match="points beyond its end"):
        load(tmp_path / "x.zarr")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("codecs", [{"name": "bytes"}, {"name": "numcodecs.pickle"}], "codec 'numcodecs.pickle'"),
        ("codecs", [{"name": "bytes"}, {"name": "gzip"}, {"name": "gzip"}], "codec 'gzip'"),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 2]}}, "impossible"),
        ("data_type", "string", "cannot be"),
    ],
)
def test_zarr_metadata_that_is_refused(key: str, value: Any, words: str, tmp_path: Path) -> None:
    file = zarr_chunk(tmp_path).parents[2] / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(DataError, match=words):
        load(tmp_path / "x.zarr")
