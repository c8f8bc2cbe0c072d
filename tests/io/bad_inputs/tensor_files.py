"""Rows 29-36: `.pt` and safetensors."""

from __future__ import annotations

import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

from tests.io.bad_inputs.registry import (
    Z,
    refused,
    safetensors,
    torch_file,
    works,
    written,
)


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


class Made:
    """Unpickled, it is what a callable makes of a number."""

    def __init__(self, function: Any, number: int) -> None:
        self.function, self.number = function, number

    def __reduce__(self) -> Any:
        return self.function, (self.number,)


@refused(32, "more than tensors")
def memory_from_a_number_pt(folder: Path) -> Path:
    return torch_file(folder, {"logits": Made(bytearray, 3 << 30)})


@refused(32, "numbers that are not in the file")
def tensor_of_no_numbers_pt(folder: Path) -> Path:
    import torch

    return torch_file(folder, {"logits": Made(torch.Tensor, 1 << 20)})


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
