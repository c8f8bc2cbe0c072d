"""Sizes of gradients, a row at a time but all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import InputError, UnknownName
from ood_toolkit.models.batches import iterate, logits_of, split_batch
from ood_toolkit.models.network import Network
from ood_toolkit.models.state import left_as_found, with_gradients
from ood_toolkit.models.torch_library import to_array
from ood_toolkit.outputs import Array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["gradient_norms"]

_BATCH = 64


def gradient_norms(network: Network, data: Any, parameter: str | None = None) -> Array:
    """L1 norm, for each row, of the gradient of its loss against uniform targets.

    The loss is sum_c -ln p_c, as in GradNorm's released code; the gradient is with respect to
    one parameter, the head's weight by default, for which `ood_toolkit.GradNorm` computes the
    same from stored outputs.  Rows are differentiated together.

    Parameters
    ----------
    network : Network
        The model.
    data : iterable of batches, or a tensor of inputs
        What to run.
    parameter : str, optional
        Name of a parameter, as `named_parameters` lists it.

    Returns
    -------
    (N,) array of float64
        Larger = more in-distribution.

    Raises
    ------
    UnknownName
        If there is no such parameter.
    InputError
        If torch cannot differentiate the model row by row.

    References
    ----------
    Huang, Geng & Li, "On the Importance of Gradients for Detecting Distributional Shifts in
    the Wild", NeurIPS 2021.
    """
    import torch

    model = network.inner
    name = parameter or f"{network.head_name}.weight"
    held = dict(model.named_parameters())
    if name not in held:
        listed = ", ".join(list(held)[-12:])
        raise UnknownName(f"parameter={name!r}: the model has no such parameter; it has {listed}")

    def loss(value: Tensor, row: Any) -> Tensor:
        one = _as_batch(row)
        answer = torch.func.functional_call(model, {name: value}, *_arguments(one))
        return -logits_of(answer).log_softmax(1).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="error")
    norms: list[Array] = []
    with left_as_found(model), with_gradients():
        for batch in iterate(data, _BATCH):
            inputs, _ = split_batch(batch, network.unpack)
            try:
                gradients = each(held[name].detach(), network.moved(inputs))
            except (RuntimeError, NotImplementedError) as reason:
                text = " ".join(str(reason).split())[:200]
                raise InputError(
                    f"torch cannot differentiate this model row by row ({text}); use the head's "
                    "gradient from stored outputs, the method gradnorm"
                ) from reason
            norms.append(to_array(gradients.abs().flatten(1).sum(1)).astype(np.float64))
    if not norms:
        raise InputError("the loader gave no batch")
    return np.concatenate(norms)


def _as_batch(row: Any) -> Any:
    if isinstance(row, dict):
        return {key: value[None] for key, value in row.items()}
    return row[None]


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of a model's forward."""
    return ((), inputs) if isinstance(inputs, dict) else ((inputs,), {})
