"""torch, loaded when it is first needed; tensors to arrays; where a model lives."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ood_toolkit.errors import BadParameter, MissingDependency
from ood_toolkit.outputs import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["device_of", "float_dtype", "load_torch", "model_digest", "to_array", "tree_map"]

_NAMES = ("float16", "bfloat16", "float32", "float64")


def load_torch(purpose: str) -> Any:
    """The library, or `MissingDependency` that says how to install it."""
    try:
        import torch
    except ImportError as reason:
        raise MissingDependency("torch", "torch", purpose) from reason
    return torch


def float_dtype(name: str | None) -> np.dtype[Any] | None:
    """The float type called `name`; None leaves it to each tensor."""
    if name is None:
        return None
    if name not in _NAMES:
        raise BadParameter(f"dtype must be one of {', '.join(_NAMES)}, got {name!r}")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes if name == "bfloat16" else np, name))
    return found


def to_array(tensor: Tensor, dtype: np.dtype[Any] | None = None, *, copy: bool = True) -> Array:
    """A tensor's values as an array on the CPU, with memory of its own if `copy`.

    Without `dtype` half-precision numbers become float32, which holds them exactly; float32
    and float64 stay as they are.
    """
    import torch

    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array: Array = (
        tensor.detach().to("cpu", copy=True).numpy() if copy else tensor.numpy(force=True)
    )
    return array if dtype is None else array.astype(dtype, copy=False)


def device_of(model: nn.Module) -> Any:
    """The device of the first parameter or buffer; the CPU where there is none."""
    import torch

    for module in model.modules():  # the first parameter is enough
        for parameter in module._parameters.values():
            if parameter is not None:
                return parameter.device
    return next((buffer.device for buffer in model.buffers()), torch.device("cpu"))


def model_digest(model: nn.Module) -> str:
    """Checksum of all parameters and buffers, and their names."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        if hasattr(tensor, "detach"):
            digest.update(to_array(tensor).tobytes())
    return digest.hexdigest()


def tree_map(change: Any, value: Any) -> Any:
    """`change` applied to every tensor in a nest of mappings, tuples and lists."""
    import torch

    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: tree_map(change, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(tree_map(change, part) for part in value)
    if isinstance(value, list):
        return [tree_map(change, part) for part in value]
    return value
