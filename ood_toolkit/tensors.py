"""Tensors that numpy does not take as they are: with a gradient, of bfloat16, on another device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.errors import InputError

__all__ = ["untracked"]


def untracked(name: str, values: Any) -> Any:
    """What numpy can read of a torch tensor; anything else is handed back.

    Numbers in bfloat16 become float32, which holds them exactly.  torch is not loaded: who has
    a tensor has loaded it.

    Raises
    ------
    InputError
        If torch itself can make no array of it: sparse, quantised, 8-bit numbers.
    """
    if type(values) is np.ndarray or not (hasattr(values, "detach") and hasattr(values, "numpy")):
        return values
    try:
        wide = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return wide.numpy(force=True)
    except (TypeError, RuntimeError) as reason:
        raise InputError(
            f"{name}: {str(reason).rstrip('.')}; give a dense tensor of float32"
        ) from reason
