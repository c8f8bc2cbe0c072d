"""The SDM activation and its loss on tensors, with gradients for the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood_toolkit.models.torch_library import load_torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["sdm_log_activation_tensor", "sdm_loss_tensor"]


def sdm_log_activation_tensor(logits: Tensor, similarity: Tensor, distance: Tensor) -> Tensor:
    """Natural logarithm of the SDM activation, as `ood_toolkit.sdm_activation` defines it.

    Parameters
    ----------
    logits : (N, C) tensor
        Finite; gradients flow into it.
    similarity, distance : (N,) tensors
        q and d, constants to autograd.

    Returns
    -------
    (N, C) tensor
        ln softmax(ln(2 + q) d z).

    References
    ----------
    Schmaltz, "Similarity-Distance-Magnitude Activations", arXiv 2509.12760.
    """
    torch = load_torch("the SDM activation on tensors")
    scale = torch.log(2.0 + similarity.detach().to(logits.dtype)) * distance.detach()
    logs: Tensor = torch.log_softmax(scale.to(logits.dtype).unsqueeze(1) * logits, dim=1)
    return logs


def sdm_loss_tensor(logits: Tensor, similarity: Tensor, distance: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of -log to the base 2 + q of the label's activation.

    Parameters
    ----------
    logits : (N, C) tensor
        Finite; gradients flow into it.
    similarity, distance : (N,) tensors
        q and d, constants to autograd.
    labels : (N,) tensor of int64
        Classes 0 ... C-1.

    Returns
    -------
    scalar tensor
        0 or more; smaller is better.
    """
    torch = load_torch("the SDM loss on tensors")
    logs = sdm_log_activation_tensor(logits, similarity, distance)
    own = logs.gather(1, labels.unsqueeze(1)).squeeze(1)
    loss: Tensor = (-own / torch.log(2.0 + similarity.detach().to(logits.dtype))).mean()
    return loss
