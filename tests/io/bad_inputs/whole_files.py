"""Rows 1-7: the file itself, before anything in it is looked at."""

from __future__ import annotations

from pathlib import Path

from ood_toolkit.io import save_outputs
from ood_toolkit.outputs import Outputs
from tests.io.bad_inputs.registry import (
    LABELS,
    Z,
    npy_bytes,
    npz,
    refused,
    torch_file,
    written,
)


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
