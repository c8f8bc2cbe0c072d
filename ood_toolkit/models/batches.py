"""What a batch holds, how a model is called with it, and where its answer keeps the logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.models.torch_library import tree_map

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Unpack", "call_model", "iterate", "logits_of", "row_count", "split_batch", "take_rows"]

Unpack = Callable[[Any], tuple[Any, Any]]
"""A function of a batch that returns the model's inputs and the labels, or None for these."""

LABEL_KEYS = ("labels", "label", "targets", "target", "y")
LOGIT_KEYS = ("logits", "output", "outputs")


def split_batch(batch: Any, unpack: Unpack | None = None) -> tuple[Any, Any]:
    """Inputs and labels of a batch; labels are None where there are none.

    Parameters
    ----------
    batch : tensor, tuple, list, mapping or dataclass
        A tensor is the inputs; a pair is inputs and labels; in a mapping or dataclass the
        first of `labels`, `label`, `targets`, `target` and `y` holds the labels, and all
        else is passed to the model by name.
    unpack : callable, optional
        Does the same for batches of any other form.

    Raises
    ------
    InputError
        If the batch has another form.
    """
    import torch

    if unpack is not None:
        inputs, labels = unpack(batch)
        return _plain(inputs), labels
    if isinstance(batch, torch.Tensor | np.ndarray):
        return _plain(batch), None
    if isinstance(batch, Mapping) or _is_record(batch):
        named = _plain(batch)
        found = next((key for key in LABEL_KEYS if key in named), None)
        labels = named.pop(found) if found else None
        return named, labels
    if isinstance(batch, tuple | list) and len(batch) in (1, 2):
        return _plain(batch[0]), batch[1] if len(batch) == 2 else None
    form = type(batch).__name__
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise InputError(
        f"a batch is a {form}{size}, expected a tensor, (inputs, labels), a mapping or a "
        "dataclass; pass unpack=, a function of the batch that returns inputs and labels"
    )


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _plain(value: Any) -> Any:
    """Inputs as a tensor or a new dict; arrays of numbers become tensors wherever they are."""
    import torch

    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            return value
        native = value.astype(value.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.ascontiguousarray(native))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if _is_record(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    return value


def row_count(inputs: Any) -> int:
    """Rows of a batch: the first axis of its first tensor."""
    found: list[Tensor] = []
    tree_map(found.append, inputs)
    if not found or not found[0].dim():
        raise InputError(
            "a batch holds no tensor with rows; pass unpack= to say what the inputs are"
        )
    return int(found[0].shape[0])


def take_rows(inputs: Any, rows: Any) -> Any:
    """The same inputs, restricted to some rows."""
    return tree_map(lambda tensor: tensor[rows], inputs)


def call_model(model: Callable[..., Any] | nn.Module, inputs: Any) -> Any:
    """The model's answer: named inputs go by name, a tuple or list by position."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def logits_of(answer: Any) -> Tensor:
    """The (N, C) logits in what a model returned.

    A tensor; an object or mapping with `logits`; or a tuple whose first part is the tensor.

    Raises
    ------
    InputError
        If there are none, or they are not a matrix.
    """
    import torch

    if isinstance(answer, torch.Tensor):
        logits: Any = answer
    elif isinstance(answer, Mapping):
        logits = next((answer[key] for key in LOGIT_KEYS if key in answer), None)
    elif hasattr(answer, "logits"):
        logits = answer.logits
    else:
        logits = answer[0] if isinstance(answer, tuple | list) and answer else None
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"the model returned a {type(answer).__name__} without a tensor of logits; wrap a "
            "module that returns logits, an object with .logits, or a tuple that begins with them"
        )
    if logits.dim() != 2:
        raise InputError(
            f"the model's logits must be (N, C), got shape {tuple(logits.shape)}; wrap a "
            "classifier of whole inputs"
        )
    return logits


def iterate(data: Any, batch_size: int) -> Iterator[Any]:
    """Batches of a loader; a tensor or array of inputs, or a pair of these and labels, is cut."""
    import torch

    if isinstance(data, torch.Tensor | np.ndarray):
        whole = _plain(data)
        for start in range(0, len(whole), batch_size):
            yield whole[start : start + batch_size]
    elif _is_labelled(data):
        inputs, labels = map(_plain, data)
        for start in range(0, len(inputs), batch_size):
            yield inputs[start : start + batch_size], labels[start : start + batch_size]
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
        yield from data
    else:
        raise InputError(
            f"expected a loader (an iterable of batches) or a tensor of inputs, got a "
            f"{type(data).__name__}"
        )


def _is_labelled(data: Any) -> bool:
    """Whether it is inputs and their class numbers, and not two batches."""
    import torch

    if not isinstance(data, tuple) or len(data) != 2:
        return False
    if not all(isinstance(part, torch.Tensor | np.ndarray) and part.ndim for part in data):
        return False
    inputs, labels = data
    return inputs.ndim > 1 and labels.ndim == 1 and len(inputs) == len(labels)
