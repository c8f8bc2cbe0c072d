"""Several answers to one input: dropout passes, ensemble members, augmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.io import load, save_outputs
from ood_toolkit.models.batches import call_model, iterate, logits_of, split_batch
from ood_toolkit.models.network import Network
from ood_toolkit.models.state import left_as_found, without_gradients
from ood_toolkit.models.streaming import label_array
from ood_toolkit.models.torch_library import to_array
from ood_toolkit.outputs import Array, Outputs

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "SeveralAnswers",
    "augmentation_runs",
    "dropout_layers",
    "dropout_runs",
    "gathered",
    "model_runs",
]

_BATCH = 256
Run = Callable[[Any], "list[Array]"]


class SeveralAnswers:
    """The part of a wrapped classifier that asks several times; made by `wrap`.

    Parameters
    ----------
    network : Network
        The model, and where its head lies.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def dropout_members(
        self, loader: Any, passes: int = 10, seed: int = 0, *, to: str | Path | None = None
    ) -> Outputs:
        """Logits of several passes with dropout, as `members`; their mean probability as logits.

        Everything but dropout runs in evaluation mode.  The same seed gives the same passes.
        With `to` the record is written to that file and read back.
        """
        with dropout_runs(self.network, passes, seed) as run:
            return gathered(self.network, loader, run, to)

    def ensemble_members(
        self, loader: Any, others: Sequence[SeveralAnswers], *, to: str | Path | None = None
    ) -> Outputs:
        """Logits of this classifier and of others, as `members`; the mean probability as logits.

        With `to` the record is written to that file and read back.
        """
        with model_runs([self.network, *(other.network for other in others)]) as run:
            return gathered(self.network, loader, run, to)

    def augmented_members(
        self,
        loader: Any,
        augmentations: Sequence[Callable[[Any], Any]],
        seed: int = 0,
        *,
        to: str | Path | None = None,
    ) -> Outputs:
        """Logits of changed inputs, as `members`; each augmentation is a function of a batch.

        With `to` the record is written to that file and read back.
        """
        with augmentation_runs(self.network, augmentations, seed) as run:
            return gathered(self.network, loader, run, to)


def dropout_layers(model: nn.Module) -> list[str]:
    """Names of the layers that drop at random in training."""
    from torch.nn.modules.dropout import _DropoutNd

    return [name for name, module in model.named_modules() if isinstance(module, _DropoutNd)]


@contextmanager
def dropout_runs(network: Network, passes: int, seed: int) -> Iterator[Run]:
    """Each input `passes` times, with dropout as in training and all else in evaluation mode.

    Raises
    ------
    InputError
        If the model has no dropout layer: all passes would be the same.
    """
    import torch
    from torch.nn.modules.dropout import _DropoutNd

    if passes < 1:
        raise BadParameter(f"passes must be at least 1, got {passes}")
    if not dropout_layers(network.inner):
        raise InputError(
            f"{type(network.inner).__name__} has no dropout layer (nn.Dropout): every pass would "
            "say the same"
        )
    with ExitStack() as stack:
        stack.enter_context(
            left_as_found(network.inner, lambda m: isinstance(m, _DropoutNd) and m.p > 0)
        )
        stack.enter_context(without_gradients())
        torch.manual_seed(seed)
        yield lambda inputs: [_logits(network, inputs) for _ in range(passes)]


@contextmanager
def model_runs(networks: Sequence[Network]) -> Iterator[Run]:
    """Each input through every member of an ensemble."""
    if not networks:
        raise BadParameter("an ensemble needs at least one model")
    with ExitStack() as stack:
        for network in sorted(networks, key=lambda one: id(one.inner)):  # no two wait crosswise
            stack.enter_context(left_as_found(network.inner))
        stack.enter_context(without_gradients())
        yield lambda inputs: [_logits(network, inputs) for network in networks]


@contextmanager
def augmentation_runs(
    network: Network, augmentations: Sequence[Callable[[Any], Any]], seed: int
) -> Iterator[Run]:
    """Each input changed by every augmentation, a function of a batch of inputs."""
    import torch

    if not augmentations:
        raise BadParameter("there are no augmentations")
    with ExitStack() as stack:
        stack.enter_context(left_as_found(network.inner))
        stack.enter_context(without_gradients())
        torch.manual_seed(seed)
        yield lambda inputs: [_logits(network, change(inputs)) for change in augmentations]


def _logits(network: Network, inputs: Any) -> Array:
    if network.features_fn is not None:
        return to_array(network.features_fn(network.inner, network.moved(inputs))[0])
    return to_array(logits_of(call_model(network.inner, network.moved(inputs))))


def gathered(network: Network, data: Any, run: Run, to: str | Path | None = None) -> Outputs:
    """Logits of every member, (M, N, C), as `members`; their mean probability as logits."""
    stacks: list[Array] = []
    labels: list[Array] = []
    for batch in iterate(data, _BATCH):
        inputs, known = split_batch(batch, network.unpack)
        stacks.append(np.stack(run(inputs)))
        if known is not None:
            labels.append(label_array(known))
    if not stacks:
        raise InputError("the loader gave no batch; a record needs at least one row")
    members = np.concatenate(stacks, axis=1)
    record = Outputs(
        logits=_mean_log_probabilities(members),
        members=members,
        labels=np.concatenate(labels) if labels else None,
    )
    if to is None:
        return record
    save_outputs(record, to)
    return load(to)


def _mean_log_probabilities(members: Array) -> Array:
    """Ln of the mean of the members' probabilities.  (M, N, C) -> (N, C) float64."""
    z = members.astype(np.float64)
    z -= z.max(axis=2, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
    top = log_p.max(axis=0)
    return np.asarray(top + np.log(np.exp(log_p - top).mean(axis=0)))
