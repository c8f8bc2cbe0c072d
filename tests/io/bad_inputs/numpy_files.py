"""Rows 8-28: `.npy` and `.npz`."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tests.io.bad_inputs.registry import (
    LABELS,
    Z,
    npy_bytes,
    npy_header,
    npz,
    refused,
    works,
    written,
)


@refused(8, "objects", "never unpickled")
def npy_of_objects(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.array([[1, "a"]], dtype=object)))


@refused(9, "pickle", "never read")
def pickle_named_npy(folder: Path) -> Path:
    return written(folder, "x.npy", pickle.dumps(Z))


@refused(10, "makes 4000000000082", "truncated")
def shape_of_1e12(folder: Path) -> Path:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    return written(folder, "x.npy", npy_header(header) + bytes(64))


@refused(11, "truncated")
def shape_that_overflows(folder: Path) -> Path:
    shape = "(4294967296, 4294967296)"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return written(folder, "x.npy", npy_header(header))


@refused(12, "impossible shape (-1, 3)")
def negative_dimension(folder: Path) -> Path:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }"
    return written(folder, "x.npy", npy_header(header) + bytes(12))


@refused(12, "impossible shape")
def bool_dimension(folder: Path) -> Path:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3), }"
    return written(folder, "x.npy", npy_header(header) + bytes(12))


@refused(13, "header claims 1000000 bytes")
def header_of_1_mb(folder: Path) -> Path:
    body = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }".ljust(1_000_000)
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(body))
    return written(folder, "x.npy", start + body + bytes(48))


@refused(14, "damaged")
def nested_parentheses(folder: Path) -> Path:
    return written(folder, "x.npy", npy_header("(" * 9_000))


@refused(14, "damaged")
def unfinished_string_in_header(folder: Path) -> Path:
    # numpy retries such a header with its tokenizer, whose TokenError it lets out
    return written(folder, "x.npy", npy_header("{'descr': '''<f4', 'shape': (3L,"))


@refused(14, "damaged")
def nested_signs_in_header(folder: Path) -> Path:
    return written(folder, "x.npy", npy_header("-" * 9_000 + "1"))


@refused(15, "logits of dtype")
def structured(folder: Path) -> Path:
    array = np.zeros((2, 2), [("a", "f4"), ("b", "i4")])
    return written(folder, "x.npy", npy_bytes(array))


@refused(16, "complex64")
def complex_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z.astype("c8")))


@refused(17, "<U1")
def text_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.array([["a", "b"]])))


@refused(17, "|S1")
def bytes_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.array([[b"a", b"b"]])))


@refused(17, "datetime64")
def datetime_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.zeros((2, 2), "M8[s]")))


@refused(18, "bool")
def bool_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z > 0))


@works(19)
def big_endian(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z.astype(">f4"))), Z


@works(20)
def fortran_order(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(np.asfortranarray(Z))), Z


@refused(21, "|V2", "--dtype (dtype=) bfloat16")
def two_byte_blobs(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z.astype(ml_dtypes.bfloat16)))


@refused(21, "|V2", dtype="float32")
def two_byte_blobs_as_float32(folder: Path) -> Path:
    return two_byte_blobs(folder)


@works(21, "read as bfloat16", dtype="bfloat16")
def two_byte_blobs_on_the_users_word(folder: Path) -> Any:
    return two_byte_blobs(folder), Z.astype(ml_dtypes.bfloat16)


def bomb(folder: Path) -> Path:
    path = folder / "bomb.npz"
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (20000, 1000), }"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("logits.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(npy_header(text.ljust(117)))
        for _ in range(80):
            stream.write(bytes(1_000_000))
    return path


@refused(22, "claim to be 76.3 MiB of shape (20000, 1000)", "--max-bytes")
def npz_bomb(folder: Path) -> Path:
    return bomb(folder)


@refused(22, "76.3 MiB, more than --max-bytes", max_bytes=1_000_000)
def npz_bomb_beyond_what_is_allowed(folder: Path) -> Path:
    return bomb(folder)


@works(22, max_bytes=80_000_000)
def npz_bomb_that_is_allowed(folder: Path) -> Any:
    return bomb(folder), np.zeros((20_000, 1000), np.float32)


@refused(23, "two members of this name")
def duplicate_members(folder: Path) -> Path:
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("logits.npy", npy_bytes(Z))
        archive.writestr("logits.npy", npy_bytes(Z + 1))
    return path


@works(24, keys={"logits": "../../evil"})
def member_name_that_looks_like_a_path(folder: Path) -> Any:
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.npy", npy_bytes(Z))
        archive.writestr("other.npy", npy_bytes(Z))
    return path, Z


def _flipped(folder: Path, compression: int) -> Path:
    path = folder / "x.npz"
    data = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("logits.npy", npy_bytes(data))
    raw = bytearray(path.read_bytes())
    raw[20_000] ^= 1
    path.write_bytes(raw)
    return path


@refused(25, "checksum differs")
def bad_crc_stored(folder: Path) -> Path:
    return _flipped(folder, zipfile.ZIP_STORED)


@refused(25, "damaged")
def bad_crc_deflated(folder: Path) -> Path:
    return _flipped(folder, zipfile.ZIP_DEFLATED)


@refused(26, "'first', 'second'", "--logits-key")
def several_arrays_no_known_key(folder: Path) -> Path:
    return npz(folder, first=Z, second=Z)


@refused(27, "no such array", "'logits', 'labels'", keys={"logits": "outputs"})
def given_key_missing(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=LABELS)


@refused(28, "encrypted")
def encrypted_zip(folder: Path) -> Path:
    path = npz(folder, logits=Z)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    return path
