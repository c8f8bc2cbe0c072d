"""Bad inputs, one row of the list after the other: what is refused, in which words.

`ROWS` names the rows that concern reading; each has at least one case, and each case writes
a file and says what `load` must do with it.  A refusal is one line that begins with the path.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ood_toolkit.errors import DataError, ToolkitWarning
from ood_toolkit.io import load, refuse_same_file, save_outputs, save_scores
from ood_toolkit.io.gate import Limits
from ood_toolkit.io.npz import open_npz
from ood_toolkit.outputs import Outputs

ROWS = {*range(1, 52), 58, 62, 64, 65} - {52}
Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
LABELS = np.array([0, 1, 2, -1])

REFUSED: list[Any] = []
WORKS: list[Any] = []


def refused(row: int, *words: str, **options: Any) -> Callable[[Any], Any]:
    """A case whose builder returns the path that must be refused in these words."""

    def register(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
        REFUSED.append(pytest.param(build, words, options, id=f"{row}-{build.__name__}"))
        return build

    return register


def works(row: int, warning: str = "", **options: Any) -> Callable[[Any], Any]:
    """A case whose builder returns a path and the logits that must come out of it."""

    def register(build: Callable[[Path], Any]) -> Callable[[Path], Any]:
        WORKS.append(pytest.param(build, warning, options, id=f"{row}-{build.__name__}"))
        return build

    return register


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npy_bytes(array: Any, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version=version)
    return stream.getvalue()


def npy_header(text: str) -> bytes:
    body = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "x.npz"
    np.savez(path, **arrays)
    return path


def safetensors(folder: Path, header: str | bytes, data: bytes = b"") -> Path:
    raw = header.encode() if isinstance(header, str) else header
    return written(folder, "x.safetensors", struct.pack("<Q", len(raw)) + raw + data)


def hdf5(folder: Path) -> Any:
    import h5py

    return h5py.File(folder / "x.h5", "w")


def torch_file(folder: Path, content: Any, **options: Any) -> Path:
    import torch

    path = folder / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **options)
    return path


def parquet(folder: Path, **columns: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = folder / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path


# --- 1-7: the file itself ----------------------------------------------------------------


@refused(1, "no such file")
def missing(folder: Path) -> Path:
    return folder / "absent.npz"


@refused(1, "link to a file that does not exist")
def broken_link(folder: Path) -> Path:
    (folder / "x.npz").symlink_to(folder / "absent.npz")
    return folder / "x.npz"


@refused(1, "no file matches")
def pattern_without_a_match(folder: Path) -> Path:
    return folder / "part-*.npz"


@refused(2, "no file of a known format", ".npz")
def folder_without_shards(folder: Path) -> Path:
    written(folder, "notes.md", "hello")
    return folder


@refused(3, "empty")
def empty(folder: Path) -> Path:
    return written(folder, "x.npy", b"")


@refused(3, "empty")
def empty_csv(folder: Path) -> Path:
    return written(folder, "x.csv", b"")


@refused(5, "truncated")
def truncated_npy(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z)[:-3])


@refused(5, "damaged")
def truncated_npy_header(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z)[:60])


@refused(5, "truncated")
def truncated_npz(folder: Path) -> Path:
    return written(folder, "y.npz", npz(folder, logits=Z).read_bytes()[:-10])


def _truncated(folder: Path, name: str) -> Path:
    path = folder / name
    save_outputs(Outputs(logits=Z, labels=LABELS), path)
    path.write_bytes(path.read_bytes()[:-9])
    return path


@refused(5, "damaged")
def truncated_safetensors(folder: Path) -> Path:
    return _truncated(folder, "x.safetensors")


@refused(5, "truncated")
def truncated_pt(folder: Path) -> Path:
    return _truncated(folder, "x.pt")


@refused(5, "damaged")
def truncated_parquet(folder: Path) -> Path:
    return _truncated(folder, "x.parquet")


@refused(5, "damaged")
def truncated_hdf5(folder: Path) -> Path:
    return _truncated(folder, "x.h5")


@refused(5, "damaged")
def truncated_zarr_chunk(folder: Path) -> Path:
    path = folder / "x.zarr"
    save_outputs(Outputs(logits=Z), path)
    chunk = next(file for file in (path / "logits" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    return path


def _trailing(folder: Path, name: str, logits_only: bool = False) -> Path:
    path = folder / name
    save_outputs(Outputs(logits=Z, labels=None if logits_only else LABELS), path)
    path.write_bytes(path.read_bytes() + b"123")
    return path


@refused(6, "trail")
def trailing_npy(folder: Path) -> Path:
    return _trailing(folder, "x.npy", logits_only=True)


@refused(6, "trail")
def trailing_npz(folder: Path) -> Path:
    return _trailing(folder, "x.npz")


@refused(6, "damaged")
def trailing_safetensors(folder: Path) -> Path:
    return _trailing(folder, "x.safetensors")


@refused(6, "trail")
def trailing_pt(folder: Path) -> Path:
    return _trailing(folder, "x.pt")


@refused(6, "damaged")
def trailing_parquet(folder: Path) -> Path:
    return _trailing(folder, "x.parquet")


@refused(6, "trail")
def trailing_hdf5(folder: Path) -> Path:
    return _trailing(folder, "x.h5")


@refused(7, "looks like a zip archive")
def npz_named_npy(folder: Path) -> Path:
    return written(folder, "x.npy", npz(folder, logits=Z).read_bytes())


@refused(7, "looks like a PyTorch file", ".pt")
def pt_named_npz(folder: Path) -> Path:
    return written(folder, "x.npz", torch_file(folder, {}).read_bytes())


@refused(7, "looks like a NumPy archive", ".npz")
def npz_named_pt(folder: Path) -> Path:
    return written(folder, "x.pt", npz(folder, logits=Z).read_bytes())


@refused(7, "looks like safetensors")
def safetensors_named_h5(folder: Path) -> Path:
    save_outputs(Outputs(logits=Z), folder / "x.safetensors")
    return written(folder, "x.h5", (folder / "x.safetensors").read_bytes())


@refused(7, "looks like Parquet")
def parquet_named_csv(folder: Path) -> Path:
    save_outputs(Outputs(logits=Z), folder / "x.parquet")
    return written(folder, "x.csv", (folder / "x.parquet").read_bytes())


@refused(7, "looks like text")
def web_page_named_npz(folder: Path) -> Path:
    return written(folder, "x.npz", "<!DOCTYPE html><title>404</title>")


@refused(7, "suffix '.dat'", ".npz", "looks like a NumPy array")
def unknown_suffix(folder: Path) -> Path:
    return written(folder, "x.dat", npy_bytes(Z))


@refused(7, "gzip", "decompress")
def compressed_csv(folder: Path) -> Path:
    import gzip

    return written(folder, "x.csv.gz", gzip.compress(b"1,2\n"))


# --- 8-21: .npy --------------------------------------------------------------------------


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


# --- 22-28: .npz -------------------------------------------------------------------------


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


# --- 29-34: .pt --------------------------------------------------------------------------


class Malicious:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder / "pwned"),)


@refused(29, "nothing is ever unpickled")
def malicious_pt(folder: Path) -> Path:
    return torch_file(folder, {"logits": Malicious(folder)})


@refused(30, "pickle", "never read")
def legacy_pt(folder: Path) -> Path:
    import torch

    content = {"logits": torch.zeros(4, 3)}
    return torch_file(folder, content, _use_new_zipfile_serialization=False)


@refused(30, "tar archive")
def tar_pt(folder: Path) -> Path:
    import tarfile

    with tarfile.open(folder / "x.pt", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return folder / "x.pt"


@refused(31, "NumPy arrays", "torch.from_numpy")
def numpy_inside_pt(folder: Path) -> Path:
    return torch_file(folder, {"logits": Z})


@refused(32, "repeats fewer stored numbers", ".contiguous()")
def stride_zero_pt(folder: Path) -> Path:
    import torch

    return torch_file(folder, {"logits": torch.zeros(1).expand(10**6, 10**6)})


@works(33)
def cuda_tensors(folder: Path) -> Any:
    import torch

    source = torch_file(folder, {"logits": torch.from_numpy(Z)})
    path = folder / "cuda.pt"
    cpu, cuda = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                assert cpu in content
                content = content.replace(cpu, cuda)
            new.writestr(name, content)
    return path, Z


@refused(34, "sparse", "to_dense()")
def sparse_tensor(folder: Path) -> Path:
    import torch

    return torch_file(folder, {"logits": torch.eye(3).to_sparse()})


@refused(34, "quantised", "dequantize()")
def quantised_tensor(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    return torch_file(folder, {"logits": tensor})


# --- 35-36: safetensors ------------------------------------------------------------------


def _entry(shape: str = "[4,3]", offsets: str = "[0,48]", dtype: str = "F32") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


@refused(35, "header claims")
def safetensors_header_too_big(folder: Path) -> Path:
    start = struct.pack("<Q", 1 << 40)
    return written(folder, "x.safetensors", start + b"{" + bytes(100))


@refused(35, "header claims")
def safetensors_header_of_5_mb(folder: Path) -> Path:
    return safetensors(folder, '{"logits":' + _entry() + "}" + " " * (5 << 20), bytes(48))


@refused(35, "damaged")
def safetensors_json_bomb(folder: Path) -> Path:
    return safetensors(folder, '{"a":' * 100_000 + "1" + "}" * 100_000)


@refused(35, "damaged")
def safetensors_overlap(folder: Path) -> Path:
    header = f'{{"logits":{_entry()},"labels":{_entry("[4]", "[16,48]", "I64")}}}'
    return safetensors(folder, header, bytes(48))


@refused(35, "damaged")
def safetensors_negative_offset(folder: Path) -> Path:
    return safetensors(folder, f'{{"logits":{_entry(offsets="[-8,40]")}}}', bytes(48))


@refused(35, "damaged")
def safetensors_mismatched_offsets(folder: Path) -> Path:
    return safetensors(folder, f'{{"logits":{_entry(offsets="[0,44]")}}}', bytes(44))


@refused(35, "logits: the header names it twice")
def safetensors_duplicate_key(folder: Path) -> Path:
    header = f'{{"logits":{_entry()},"logits":{_entry()}}}'
    return safetensors(folder, header, bytes(48))


@refused(36, "F8_E4M3", "bfloat16 or float32")
def fp8(folder: Path) -> Path:
    header = f'{{"logits":{_entry("[4,3]", "[0,12]", "F8_E4M3")}}}'
    return safetensors(folder, header, bytes(12))


@refused(36, "float8_e4m3fn", "bfloat16 or float32")
def fp8_pt(folder: Path) -> Path:
    import torch

    return torch_file(folder, {"logits": torch.zeros(4, 3, dtype=torch.float8_e4m3fn)})


# --- 37-41: Parquet, shards, Arrow -------------------------------------------------------


@refused(37, "row 1 is null")
def null_row(folder: Path) -> Path:
    import pyarrow as pa

    kind = pa.list_(pa.float32(), 2)
    return parquet(folder, logits=pa.array([[1, 2], None, [3, 4]], kind))


@refused(37, "row 2 holds a null")
def null_in_a_row(folder: Path) -> Path:
    import pyarrow as pa

    kind = pa.list_(pa.float32(), 2)
    return parquet(folder, logits=pa.array([[1, 2], [5, 6], [3, None]], kind))


@refused(37, "logits_1: row 1 is null")
def null_in_a_class_column(folder: Path) -> Path:
    return parquet(folder, logits_0=[1.0, 2.0], logits_1=[1.0, None])


@refused(38, "row 1 has 3 numbers, expected 2")
def ragged_lists(folder: Path) -> Path:
    return parquet(folder, logits=[[1.0, 2.0], [1.0, 2.0, 3.0]])


@works(39)
def no_rows(folder: Path) -> Any:
    import pyarrow as pa

    path = parquet(folder, logits=pa.array([], pa.list_(pa.float32(), 3)))
    return path, np.zeros((0, 3), np.float32)


@works(39)
def no_rows_npy(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:0])), Z[:0]


@works(39)
def unequal_row_groups(folder: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet as pq

    rows = np.arange(22, dtype=np.float32).reshape(11, 2)
    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 2)})
    with pq.ParquetWriter(folder / "x.parquet", table.schema) as writer:
        for start, stop in ((0, 1), (1, 8), (8, 8), (8, 11)):
            writer.write_table(table.slice(start, stop - start))
    return folder / "x.parquet", rows


def _shards(folder: Path, **last: Any) -> Path:
    np.savez(folder / "part-0.npz", logits=Z, labels=LABELS)
    np.savez(folder / "part-1.npz", **last)
    return folder


@refused(40, "part-1.npz", "truncated")
def bad_shard(folder: Path) -> Path:
    _shards(folder, logits=Z)
    raw = (folder / "part-1.npz").read_bytes()
    written(folder, "part-1.npz", raw[:-30])
    return folder


@refused(40, "part-1.npz: logits", "shape (4, 2)", "part-0.npz")
def shard_of_another_width(folder: Path) -> Path:
    return _shards(folder, logits=Z[:, :2], labels=LABELS)


@refused(40, "part-1.npz: logits", "float64")
def shard_of_another_type(folder: Path) -> Path:
    return _shards(folder, logits=Z.astype(np.float64), labels=LABELS)


@refused(40, "part-1.npz: labels", "missing")
def shard_without_labels(folder: Path) -> Path:
    return _shards(folder, logits=Z)


@refused(40, "one format", "part-0.npz", "other.npy")
def shards_of_two_formats(folder: Path) -> Path:
    np.save(folder / "other.npy", Z)
    return _shards(folder, logits=Z, labels=LABELS)


@refused(41, "load_from_disk", "to_parquet")
def arrow_stream_folder(folder: Path) -> Path:
    import pyarrow as pa

    table = pa.table({"logits": [[1.0, 2.0]]})
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    written(folder, "state.json", "{}")
    written(folder, "dataset_info.json", "{}")
    return folder


@refused(41, "Arrow", "convert it to .parquet")
def arrow_stream(folder: Path) -> Path:
    arrow_stream_folder(folder)
    return folder / "data-00000-of-00001.arrow"


# --- 42-44: HDF5, Zarr -------------------------------------------------------------------


@refused(42, "logits: is a link to", "links are not followed")
def hdf5_external_link(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "secret.h5", "w") as file:
        file["z"] = Z
    with hdf5(folder) as file:
        file["logits"] = h5py.ExternalLink(str(folder / "secret.h5"), "/z")
    return folder / "x.h5"


@refused(42, "logits: is a link to")
def hdf5_soft_link_through_an_external_one(folder: Path) -> Path:
    import h5py

    path = hdf5_external_link(folder)
    with h5py.File(path, "w") as file:
        file["away"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
        file["logits"] = h5py.SoftLink("/away/z")
    return path


@refused(42, "another file")
def hdf5_external_storage(folder: Path) -> Path:
    secret = written(folder, "secret.bin", bytes(48))
    with hdf5(folder) as file:
        file.create_dataset("logits", (4, 3), "f4", external=[(str(secret), 0, 48)])
    return folder / "x.h5"


@refused(42, "virtual dataset")
def hdf5_virtual_dataset(folder: Path) -> Path:
    import h5py

    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "z", (4, 3))
    with hdf5(folder) as file:
        file.create_virtual_dataset("logits", layout)
    return folder / "x.h5"


@refused(43, "chunks of shape (1000000000, 1000) are missing")
def hdf5_declares_4_tb(folder: Path) -> Path:
    with hdf5(folder) as file:
        file.create_dataset("logits", (10**9, 1000), "f4", chunks=(1000, 1000))
    return folder / "x.h5"


@refused(43, "never written")
def hdf5_declares_4_tb_in_one_piece(folder: Path) -> Path:
    with hdf5(folder) as file:
        file.create_dataset("logits", (10**9, 1000), "f4")
    return folder / "x.h5"


@refused(43, "claim to be")
def hdf5_bomb(folder: Path) -> Path:
    with hdf5(folder) as file:
        made = file.create_dataset(
            "logits", (20_000, 1000), "f4", chunks=(2000, 1000), compression="gzip"
        )
        made[:] = 0
    return folder / "x.h5"


def _zarr(folder: Path, **options: Any) -> Any:
    import zarr

    return zarr.open_group(folder / "x.zarr", mode="w", **options)


@refused(44, "logits: 1 of 2 chunks are missing", "write_empty_chunks")
def zarr_missing_chunk(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder).create_array("logits", data=data, chunks=(2, 2))
    (folder / "x.zarr" / "logits" / "c" / "1" / "0").unlink()
    return folder / "x.zarr"


@refused(44, "chunk 1.0 is missing")
def zarr_2_chunk_under_a_wrong_name(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder, zarr_format=2).create_array("logits", data=data, chunks=(2, 2))
    chunk = folder / "x.zarr" / "logits" / "1.0"
    chunk.rename(chunk.with_name("7.0"))
    return folder / "x.zarr"


@refused(44, "claim to be")
def zarr_declares_40_tb(folder: Path) -> Path:
    _zarr(folder).create_array("logits", shape=(10**10, 1000), dtype="f4", chunks=(10**5, 1000))
    return folder / "x.zarr"


@refused(44, "objects", "never unpickled")
def zarr_of_objects(folder: Path) -> Path:
    _zarr(folder, zarr_format=2)
    (folder / "x.zarr" / "logits").mkdir()
    metadata = {
        "zarr_format": 2,
        "shape": [2],
        "chunks": [2],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    written(folder / "x.zarr" / "logits", ".zarray", json.dumps(metadata))
    return folder / "x.zarr"


@refused(44, "codec 'pickle'")
def zarr_pickle_filter_on_numbers(folder: Path) -> Path:
    path = zarr_of_objects(folder)
    file = path / "logits" / ".zarray"
    file.write_text(file.read_text().replace("|O", "<f4"))
    return path


@refused(44, "symbolic link")
def zarr_chunk_that_leads_out(folder: Path) -> Path:
    data = np.arange(8.0).reshape(4, 2) + 1
    _zarr(folder).create_array("logits", data=data, chunks=(4, 2), compressors=None)
    secret = written(folder, "secret", bytes(64))
    chunk = folder / "x.zarr" / "logits" / "c" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(secret)
    return folder / "x.zarr"


@refused(44, "not a Zarr store")
def zarr_folder_without_metadata(folder: Path) -> Path:
    (folder / "x.zarr").mkdir()
    return folder / "x.zarr"


# --- 45-46: text, pipes ------------------------------------------------------------------

ROWS_OF_TEXT = "0.5,1.5\n-inf,2e-3\n"
NUMBERS = np.array([[0.5, 1.5], [-np.inf, 2e-3]])


@works(45)
def csv_without_header(folder: Path) -> Any:
    return written(folder, "x.csv", ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_header(folder: Path) -> Any:
    return written(folder, "x.csv", "logits_0,logits_1\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_header_of_numbers(folder: Path) -> Any:
    return written(folder, "x.csv", "0,1\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_class_names(folder: Path) -> Any:
    return written(folder, "x.csv", "cat,dog\n" + ROWS_OF_TEXT), NUMBERS


@works(45)
def csv_with_byte_order_mark(folder: Path) -> Any:
    return written(folder, "x.csv", b"\xef\xbb\xbf" + ROWS_OF_TEXT.encode()), NUMBERS


@works(45)
def csv_with_blank_last_lines(folder: Path) -> Any:
    return written(folder, "x.csv", ROWS_OF_TEXT + "\n\n"), NUMBERS


@works(45)
def csv_with_quotes_and_windows_ends(folder: Path) -> Any:
    text = '"logit_0","logit_1"\r\n"0.5","1.5"\r\n"-inf",0.002\r\n'
    return written(folder, "x.csv", text), NUMBERS


@works(45)
def tsv(folder: Path) -> Any:
    return written(folder, "x.tsv", ROWS_OF_TEXT.replace(",", "\t")), NUMBERS


@refused(45, "line 1", "with a point")
def csv_decimal_comma_in_semicolons(folder: Path) -> Path:
    return written(folder, "x.csv", "0,5;1,5\n0,25;2,5\n")


@refused(45, "line 3", "'0,25' is not a number", "with a point")
def csv_decimal_comma_in_quotes(folder: Path) -> Path:
    return written(folder, "x.csv", 'logits_0,logits_1\n1,2\n"0,25",2\n')


@refused(45, "line 2", "has 3 cells, expected 2")
def csv_ragged_row(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,2,3\n")


@refused(45, "line 2", "1e400", "too large")
def csv_overflow(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,1e400\n")


@refused(45, "line 2", "1e400", "too large")
def jsonl_overflow(folder: Path) -> Path:
    return written(folder, "x.jsonl", '{"logits": [1, 2]}\n{"logits": [1, 1e400]}\n')


@refused(45, "line 2", "cell is empty")
def csv_empty_cell(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n1,\n")


@refused(45, "line 2", "is blank")
def csv_blank_line_between(folder: Path) -> Path:
    return written(folder, "x.csv", "1,2\n\n3,4\n")


@refused(45, "damaged")
def csv_not_utf8(folder: Path) -> Path:
    return written(folder, "x.csv", b"caf\xe9,b\n1,2\n")


@refused(45, "UTF-16")
def csv_utf16(folder: Path) -> Path:
    return written(folder, "x.csv", ROWS_OF_TEXT.encode("utf-16"))


def _pipe(path: Path, content: bytes) -> Path:
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


@works(46)
def csv_from_a_pipe(folder: Path) -> Any:
    return _pipe(folder / "x.csv", ROWS_OF_TEXT.encode()), NUMBERS


@works(46)
def jsonl_from_a_pipe(folder: Path) -> Any:
    text = b'{"logits": [0.5, 1.5]}\n{"logits": [-Infinity, 0.002]}\n'
    return _pipe(folder / "x.jsonl", text), NUMBERS


@works(46)
def csv_from_a_pipe_without_a_suffix(folder: Path) -> Any:
    return _pipe(folder / "63", ROWS_OF_TEXT.encode()), NUMBERS


@works(46)
def jsonl_from_a_pipe_without_a_suffix(folder: Path) -> Any:
    text = b'{"logits": [0.5, 1.5]}\n{"logits": [-Infinity, 0.002]}\n'
    return _pipe(folder / "63", text), NUMBERS


@refused(46, "a pipe", ".csv")
def npy_from_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.npy")
    return folder / "x.npy"


@refused(46, "not a regular file")
def device(folder: Path) -> Path:
    (folder / "x.npy").symlink_to("/dev/zero")
    return folder / "x.npy"


# --- 47-51 -------------------------------------------------------------------------------


@refused(47, "loop")
def symlink_loop(folder: Path) -> Path:
    (folder / "x.npy").symlink_to(folder / "y.npy")
    (folder / "y.npy").symlink_to(folder / "x.npy")
    return folder / "x.npy"


@works(49)
def name_that_is_not_utf8(folder: Path) -> Any:
    return written(folder, "caf\udce9.npy", npy_bytes(Z)), Z


@works(49)
def name_of_255_bytes(folder: Path) -> Any:
    return written(folder, "a" * 251 + ".npy", npy_bytes(Z)), Z


@works(49)
def name_with_emoji_and_brackets(folder: Path) -> Any:
    return written(folder, "🐈[1]*?.npy", npy_bytes(Z)), Z


@works(49)
def name_with_leading_dash(folder: Path) -> Any:
    return written(folder, "--help.npy", npy_bytes(Z)), Z


# --- 58, 62, 64, 65: values that reading decides on --------------------------------------


@refused(58, "int8", "--dtype (dtype=) float32")
def int8_logits(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(np.array([[1, -2], [3, 4]], np.int8)))


@works(58, dtype="float32")
def int8_logits_on_the_users_word(folder: Path) -> Any:
    return int8_logits(folder), np.array([[1, -2], [3, 4]], np.float32)


@refused(62, "two classes, got 1")
def one_class(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z[:, :1]))


@works(62)
def two_classes(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:, :2])), Z[:, :2]


@works(62)
def many_classes(folder: Path) -> Any:
    wide = np.zeros((1, 100_000), np.float32)
    return written(folder, "x.npy", npy_bytes(wide)), wide


@works(62)
def one_row(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z[:1])), Z[:1]


@refused(62, "logits must be", "(12,)")
def one_axis(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z.ravel()))


@refused(62, "logits must be", "(1, 4, 3)")
def three_axes(folder: Path) -> Path:
    return written(folder, "x.npy", npy_bytes(Z[None]))


@works(62, "transpose")
def transposed_look(folder: Path) -> Any:
    return written(folder, "x.npy", npy_bytes(Z.T.copy())), Z.T


@refused(64, "logits 4", "labels 3")
def labels_too_short(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 2])


@works(65)
def unknown_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=LABELS), Z


@refused(65, "labels: row 2 is 3, expected -1 … 2")
def label_beyond_the_classes(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 3, 7])


@refused(65, "labels: row 1 is -2")
def label_below_minus_one(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, -2, 0, 0])


@works(65, labels=False)
def label_beyond_the_classes_in_an_ood_file(folder: Path) -> Any:
    return label_beyond_the_classes(folder), Z


@works(65, "2 labels outside -1 … 2, the first in row 2", labels="lenient")
def label_beyond_the_classes_for_score(folder: Path) -> Any:
    return label_beyond_the_classes(folder), Z


@works(65)
def whole_float_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=LABELS.astype(np.float32)), Z


@refused(65, "labels: row 3 is 1.5, not a whole number")
def fractional_label(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, 1, 2, 1.5])


@refused(65, "labels: row 1 is nan")
def nan_label(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[0, np.nan, 2, 1])


@works(65, "one-hot")
def one_hot_labels(folder: Path) -> Any:
    return npz(folder, logits=Z, labels=np.eye(3)[[0, 1, 2, 0]]), Z


@refused(65, "row 2 is not one-hot")
def soft_labels(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=[[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]])


@refused(65, "labels of dtype <U3")
def text_labels(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=["cat", "dog", "cat", "dog"])


@refused(65, "line 2", "'cat' is not a number")
def text_labels_csv(folder: Path) -> Path:
    return written(folder, "x.csv", "logits_0,logits_1,label\n1,2,cat\n")


@refused(65, "labels: row 3 is 255", "wrapped around")
def wrapped_uint8(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=LABELS.astype(np.uint8))


@refused(65, "labels: row 3 is 18446744073709551615", "wrapped around")
def wrapped_uint64(folder: Path) -> Path:
    return npz(folder, logits=Z, labels=LABELS.astype(np.uint64))


# --- the tests ---------------------------------------------------------------------------


@pytest.mark.parametrize(("build", "words", "options"), REFUSED)
def test_refused(build: Any, words: tuple[str, ...], options: Any, folder: Path) -> None:
    path = build(folder)
    with pytest.raises(DataError) as caught:
        load(path, **options)
    said = str(caught.value)
    assert said.startswith(str(folder))
    assert "\n" not in said
    for word in words:
        assert word in said
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize(("build", "warning", "options"), WORKS)
def test_works(build: Any, warning: str, options: Any, folder: Path) -> None:
    path, expected = build(folder)
    if warning:
        with pytest.warns(ToolkitWarning, match=warning):
            record = load(path, **options)
    else:
        record = load(path, **options)
    assert record.logits is not None
    assert record.logits.dtype == expected.dtype
    np.testing.assert_array_equal(record.logits, expected)


def test_row_4_unreadable(folder: Path) -> None:
    path = written(folder, "x.npy", npy_bytes(Z))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            for place in [folder, *folder.parents][:3]:
                place.chmod(0o755)
            os.seteuid(65534)
        with pytest.raises(DataError, match="permission denied"):
            load(path)
    finally:
        os.seteuid(user)


def test_row_46_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(ROWS_OF_TEXT.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    np.testing.assert_array_equal(load("-").logits, NUMBERS)


def test_row_48_file_became_shorter(folder: Path) -> None:
    path = npz(folder, logits=Z)
    opened = open_npz(str(path), Limits())["logits"]
    os.truncate(path, 200)
    with pytest.raises(DataError, match="became shorter"):
        opened.load()


def test_row_50_output_is_input(folder: Path) -> None:
    path = npz(folder, logits=Z)
    (folder / "link.npz").symlink_to(path)
    os.link(path, folder / "hard.npz")
    for output in (path, folder / "link.npz", folder / "hard.npz", folder / "." / "x.npz"):
        with pytest.raises(DataError, match="also an input"):
            refuse_same_file(output, ["-", path])
    for output in (path, folder / "scores.csv"):
        with pytest.raises(DataError, match="lies in the input folder"):
            refuse_same_file(output, [folder])
    with pytest.raises(DataError, match="also an input"):
        refuse_same_file(path, [folder / "*.npz"])
    refuse_same_file(folder / "y.npz", [path])


def test_row_51_output_folder_missing(folder: Path) -> None:
    for path in (folder / "absent" / "s.csv", folder / "absent" / "s.npz"):
        with pytest.raises(DataError, match="no folder"):
            save_scores({"msp": [0.5]}, path)


def test_row_51_output_is_a_device_or_a_folder(folder: Path) -> None:
    (folder / "null.csv").symlink_to("/dev/null")
    (folder / "inner.csv").mkdir()
    for name in ("null.csv", "inner.csv"):
        with pytest.raises(DataError, match="not a regular file"):
            save_scores({"msp": [0.5]}, folder / name)


def test_every_row_has_a_case() -> None:
    named = {int(case.id.split("-")[0]) for case in [*REFUSED, *WORKS]}
    named |= {int(name.split("_")[2]) for name in globals() if name.startswith("test_row_")}
    assert named == ROWS
