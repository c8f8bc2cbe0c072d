"""`wrap`: the way in for a trained PyTorch classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ood_toolkit.models.batches import Unpack
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.network import FeaturesFunction, network_of
from ood_toolkit.outputs import Head

if TYPE_CHECKING:
    from torch import nn

__all__ = ["wrap"]


def wrap(
    model: nn.Module,
    *,
    head: str | Head | None = None,
    features: str | None = None,
    layers: Sequence[str] = (),
    features_fn: FeaturesFunction | None = None,
    unpack: Unpack | None = None,
) -> WrappedClassifier:
    """Take a trained PyTorch classifier as it is; nothing in it is changed.

    Parameters
    ----------
    model : torch.nn.Module
        Returns (N, C) logits, an object with `.logits`, or a tuple that begins with them.
        Wrappers of `torch.compile` and data parallelism are looked through; where hooks have
        to run, compiled code runs as it was written.
    head : str or Head, optional
        Name of the last linear layer, where it is not found by itself; or its arrays, where
        it is no module.
    features : str, optional
        Name of the module whose output, averaged over places, are the features; by default
        they are what enters the head.
    layers : sequence of str
        Modules whose outputs, averaged over places, go to `Outputs.layers`.
    features_fn : callable, optional
        A function of the model and a batch's inputs that returns logits (N, C) and features
        (N, D): for scripted and traced modules, or heads that are no layer.
    unpack : callable, optional
        A function of a batch that returns inputs and labels; by default a batch may be a
        tensor, a pair, a mapping or a dataclass.

    Returns
    -------
    WrappedClassifier
        The head is checked on the first batch that is run.

    Raises
    ------
    UnknownName
        If a named module does not exist; the message lists the candidates.
    InputError
        If the model has no linear layer, or is scripted and there is no `features_fn`.
    MissingDependency
        If torch is not installed.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> clf = wrap(model)
    >>> clf.head_name
    '2'
    >>> x = clf.outputs([(torch.ones(5, 4), torch.zeros(5, dtype=torch.long))])
    >>> x.logits.shape, x.features.shape, x.labels.tolist()
    ((5, 3), (5, 8), [0, 0, 0, 0, 0])
    """
    return WrappedClassifier(
        network_of(
            model,
            head=head,
            features=features,
            layers=layers,
            features_fn=features_fn,
            unpack=unpack,
        )
    )
