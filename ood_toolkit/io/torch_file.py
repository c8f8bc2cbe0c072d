"""PyTorch files: tensors only, through the restricted unpickler, mapped; never a fallback."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io.archive import data_offset, open_archive
from ood_toolkit.io.flat import FlatArray
from ood_toolkit.io.gate import MAP_FROM, Limits, one_line, refusing
from ood_toolkit.io.stored import RefusedArray, StoredArray
from ood_toolkit.io.strided import Layout
from ood_toolkit.outputs import Array

__all__ = ["open_torch"]

_DEEPEST = 4
_LARGEST_PICKLE = 8 << 20
_DTYPES = {
    "torch.float64": np.dtype("f8"),
    "torch.float32": np.dtype("f4"),
    "torch.float16": np.dtype("f2"),
    "torch.bfloat16": np.dtype(ml_dtypes.bfloat16),
    "torch.int64": np.dtype("i8"),
    "torch.int32": np.dtype("i4"),
    "torch.int16": np.dtype("i2"),
    "torch.int8": np.dtype("i1"),
    "torch.uint8": np.dtype("u1"),
    "torch.uint16": np.dtype("u2"),
    "torch.uint32": np.dtype("u4"),
    "torch.uint64": np.dtype("u8"),
    "torch.bool": np.dtype("?"),
}


def open_torch(path: str, limits: Limits) -> dict[str, StoredArray]:
    """Every tensor of a file: one alone under the empty key, a dict's under its keys.

    Nested dicts join their keys with a slash; what is not a tensor is left out.
    """
    with open_archive(path) as archive:
        _check_members(path, archive.infolist())
        _check_index(path, archive)
        stored = _stored_runs(path, archive)
    try:
        import torch
    except ImportError as reason:
        raise MissingDependency("torch", "torch", f"reading {path}") from reason
    content = _content(path, torch)
    with refusing(path):
        tensors = dict(_tensors(path, content, "", torch, 0))
        size = os.path.getsize(path)
        usable = [tensor for tensor in tensors.values() if not _unusable(tensor, torch, size)]
        offsets = _offsets(stored, usable)
        return {
            key: _tensor(path, key, tensor, torch, limits, offsets)
            for key, tensor in tensors.items()
        }


def _check_members(path: str, members: list[zipfile.ZipInfo]) -> None:
    names = {member.filename.rsplit("/", 1)[-1]: member for member in members}
    if "data.pkl" not in names:
        like = (
            "a NumPy archive; rename it to .npz"
            if any(name.endswith(".npy") for name in names)
            else "another kind of zip archive; save it with torch.save"
        )
        raise DataError(path, "", f"looks like {like}")
    if "constants.pkl" in names:
        raise DataError(path, "", "is a TorchScript program, which is never run; save tensors")
    if names["data.pkl"].file_size > _LARGEST_PICKLE:
        raise DataError(path, "", "its index of tensors is larger than any real one")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise DataError(path, member.filename, "is compressed; torch.save never does that")


def _check_index(path: str, archive: zipfile.ZipFile) -> None:
    """Refuse what the restricted unpickler would make of any size: memory, from a number."""
    import pickletools  # large, and of no use for other formats

    for member in archive.infolist():
        if member.filename.rsplit("/", 1)[-1] != "data.pkl":
            continue
        with refusing(path):
            for opcode, name, _ in pickletools.genops(archive.read(member)):
                if opcode.name == "GLOBAL" and str(name).split()[-1:] == ["bytearray"]:
                    raise DataError(path, "", _why_refused(str(name)))


def _content(path: str, torch: Any) -> Any:
    """What the file holds, by the unpickler that knows tensors and containers only."""
    options = {"map_location": "cpu", "weights_only": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no use to who reads numbers
            if _is_utf8(path):
                return torch.load(path, mmap=True, **options)
            with open(path, "rb") as stream:  # torch opens only names that are UTF-8
                return torch.load(stream, **options)
    except pickle.UnpicklingError as reason:
        # The library's own text advises weights_only=False, which runs the file's code.
        raise DataError(path, "", _why_refused(str(reason))) from reason
    except Exception as reason:
        said = one_line(str(reason).split("please")[0].split("Re-running")[0]) or repr(reason)
        raise DataError(path, "", f"cannot be read, it may be damaged: {said}") from reason


def _is_utf8(path: str) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _why_refused(said: str) -> str:
    if "numpy" in said:
        return (
            "holds NumPy arrays, which only an unsafe load could read; save them with "
            "numpy.savez, or as torch.from_numpy(array)"
        )
    return (
        "holds more than tensors, and nothing is ever unpickled; save a dict of tensors, e.g. "
        "torch.save({'logits': logits, 'labels': labels}, path)"
    )


def _tensors(
    path: str, content: Any, key: str, torch: Any, depth: int
) -> Iterator[tuple[str, Any]]:
    if isinstance(content, torch.Tensor):
        yield key, content
    elif isinstance(content, Mapping) and depth < _DEEPEST:
        for name, value in content.items():
            if isinstance(name, str):
                yield from _tensors(path, value, f"{key}/{name}" if key else name, torch, depth + 1)


def _stored_runs(path: str, archive: zipfile.ZipFile) -> list[tuple[int, int]]:
    """Where the numbers lie: begin and bytes of each run; none in the other byte order."""
    runs = []
    for member in archive.infolist():
        folder, _, name = member.filename.rpartition("/")
        if name == "byteorder" and archive.read(member).decode("ascii") != sys.byteorder:
            return []
        if folder.rsplit("/", 1)[-1] == "data" and name.isdecimal() and member.file_size:
            runs.append((data_offset(path, member), member.file_size))
    return sorted(runs)


def _offsets(stored: list[tuple[int, int]], tensors: list[Any]) -> dict[int, int]:
    """Address of the mapped numbers of a tensor -> where they begin in the file.

    The whole file is one map, so that runs follow each other in memory as they do there.  Where
    they do not, or some are no tensor's, nothing is said.
    """
    storages = [tensor.untyped_storage() for tensor in tensors]
    mapped = sorted({(s.data_ptr(), s.nbytes()) for s in storages if s.nbytes()})
    if [size for _, size in mapped] != [size for _, size in stored]:
        return {}
    between = {address - offset for (address, _), (offset, _) in zip(mapped, stored, strict=True)}
    if len(between) != 1:
        return {}
    (shift,) = between
    return {address: address - shift for address, _ in mapped}


def _tensor(
    path: str, key: str, tensor: Any, torch: Any, limits: Limits, offsets: Mapping[int, int]
) -> StoredArray:
    size = os.path.getsize(path)
    reason = _unusable(tensor, torch, size)
    name = str(tensor.dtype)
    dtype = _DTYPES.get(name)
    common: dict[str, Any] = {"path": path, "key": key, "limits": limits}
    if reason or dtype is None:
        return RefusedArray(
            **common,
            shape=() if tensor.is_nested else tuple(tensor.shape),
            dtype=None,
            foreign=name.removeprefix("torch."),
            reason=reason or f"{name} numbers cannot be used; save them as bfloat16 or float32",
        )
    common |= {"shape": tuple(tensor.shape), "dtype": dtype, "file_size": size}
    begin = offsets.get(tensor.untyped_storage().data_ptr())
    layout = Layout(
        common["shape"], tuple(s * dtype.itemsize for s in tensor.stride()), dtype.itemsize
    )
    if begin is None or not tensor.shape or tensor.is_neg() or not layout.windowed():
        return TorchArray(**common, tensor=tensor.detach())
    offset = begin + tensor.storage_offset() * dtype.itemsize
    strides = None if layout.row_by_row else layout.strides
    return FlatArray(**common, offset=offset, strides=strides)


def _unusable(tensor: Any, torch: Any, size: int) -> str:
    """Why a tensor is not a plain run of numbers of a file of that size; empty where it is."""
    if tensor.is_nested:
        return "is a nested tensor; save one dense tensor"
    if tensor.layout != torch.strided:
        return "is a sparse tensor; save tensor.to_dense()"
    if tensor.is_quantized:
        return "is a quantised tensor; save tensor.dequantize()"
    if tensor.device.type != "cpu":
        return f"has no numbers (device {tensor.device}); save a tensor that has"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        # A stride of 0 makes 1e12 entries out of one stored number.
        return f"shape {tuple(tensor.shape)} repeats fewer stored numbers; save .contiguous()"
    if tensor.untyped_storage().nbytes() > size:
        return f"shape {tuple(tensor.shape)} has numbers that are not in the file: it is damaged"
    return ""


@dataclass(kw_only=True)
class TorchArray(StoredArray):
    """A tensor that torch has mapped, where it cannot be said which bytes of the file it is."""

    tensor: Any
    file_size: int

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows start ... stop, copied."""
        first, last = self.span(start, stop)
        view = self._view()
        return np.array(view[first:last] if self.shape else view)

    @property
    def grain(self) -> int:
        """All rows: torch maps the whole file, and pages that were read stay in memory."""
        return max(1, self.shape[0]) if self.shape else 1

    def load(self) -> Array:
        """All of it; a read-only map where it is large."""
        if self.nbytes <= MAP_FROM:
            return self.read()
        view = self._view()
        view.flags.writeable = False
        return view

    def _view(self) -> Array:
        if os.path.getsize(self.path) < self.file_size:
            raise DataError(
                self.path, self.key, "the file became shorter while it was read; write it again"
            )
        with refusing(self.path, self.key):
            if self.dtype == ml_dtypes.bfloat16:
                import torch

                # torch has no .numpy() for bfloat16: hand the bits over as integers.
                return np.asarray(self.tensor.view(torch.int16).numpy().view(self.dtype))
            return np.asarray(self.tensor.numpy())
