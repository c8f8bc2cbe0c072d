"""Changes of feature maps inside the network: ReAct, ASH and SCALE before pooling.

`ood_toolkit.ReAct` and its kin change the pooled features that enter the head.  The functions
here change a layer's maps (N, D, H, W) and let the rest of the network run on: the convention of
pytorch-ood, and of ASH's and RankFeat's own code.  The two give different scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import iterate, split_batch
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.heads import find_module
from ood_toolkit.models.streaming import PARTS, collect
from ood_toolkit.outputs import Outputs

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Change",
    "ClipMaps",
    "PruneMaps",
    "changed_outputs",
    "map_quantile",
]

Change = Callable[["Tensor"], "Tensor"]
"""A layer's output -> what the rest of the network gets instead."""

_BATCH = 256
_BINS = 1 << 14


@dataclass(frozen=True)
class ClipMaps:
    """ReAct on maps: activations above `limit` are cut; `map_quantile` finds one.

    Parameters
    ----------
    limit : float
        The largest activation that is left.

    References
    ----------
    Sun, Guo & Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS
    2021.
    """

    limit: float

    def __call__(self, maps: Tensor) -> Tensor:
        """Clipped activations."""
        return maps.clamp(max=self.limit)


@dataclass(frozen=True)
class PruneMaps:
    """ASH and SCALE on maps: all D H W activations of a row are ranked together.

    With k = n - round(n percentile / 100) of its n activations kept, s1 the sum of all and s2 of
    the kept: "ash_p" keeps them, "ash_b" sets them to s1 / k, "ash_s" multiplies them by
    exp(s1 / s2), and "scale" multiplies every activation by it.

    Parameters
    ----------
    rule : "ash_p", "ash_b", "ash_s" or "scale"
        Which of the four.
    percentile : float
        In [0, 100].

    References
    ----------
    Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    ICLR 2023; Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection
    Enhancement", ICLR 2024.
    """

    rule: Literal["ash_p", "ash_b", "ash_s", "scale"]
    percentile: float = 90.0

    def __post_init__(self) -> None:
        if self.rule not in ("ash_p", "ash_b", "ash_s", "scale"):
            raise BadParameter(f"rule must be ash_p, ash_b, ash_s or scale, got {self.rule!r}")
        _require_percentile(self.percentile)

    def __call__(self, maps: Tensor) -> Tensor:
        """Shaped activations."""
        flat = maps.flatten(1)
        kept = flat.shape[1] - round(flat.shape[1] * self.percentile / 100.0)
        largest = flat.topk(kept, dim=1)
        total = flat.sum(1, keepdim=True)
        values = largest.values
        if self.rule == "ash_b":
            values = (total / max(kept, 1)).expand_as(values)
        shaped = flat.new_zeros(flat.shape).scatter(1, largest.indices, values)
        if self.rule in ("ash_s", "scale"):
            remaining = largest.values.sum(1, keepdim=True)
            # a row whose kept activations sum to zero is left unscaled
            ratio = (total / remaining.where(remaining != 0, 1.0)) * (remaining != 0)
            shaped = (flat if self.rule == "scale" else shaped) * ratio.exp()
        return shaped.view_as(maps)


def _require_percentile(value: float) -> None:
    if not 0 <= value <= 100:
        raise BadParameter(f"a percentile lies in [0, 100], got {value}")


def changed_outputs(
    clf: WrappedClassifier, loader: Any, changes: dict[str, Change], **options: Any
) -> Outputs:
    """What the classifier says when the outputs of some layers are changed on the way.

    Parameters
    ----------
    clf : WrappedClassifier
        Left as it was found.
    loader : iterable of batches, or a tensor of inputs
        What to run.
    changes : dict of str to callable
        Layer -> change of its output.
    **options
        `to`, `keep`, `dtype`, `shard_rows` and `progress`, as in `WrappedClassifier.outputs`.

    Returns
    -------
    Outputs
        Its `energy` is the score of ReAct, ASH, SCALE and RankFeat.

    Raises
    ------
    UnknownName
        If there is no such layer.
    """
    network = clf.network
    modules = {name: find_module(network.inner, name, "layer") for name in changes}
    given = {"to": None, "keep": PARTS, "dtype": None, "shard_rows": 10_000, "progress": None}
    unknown = sorted(options.keys() - given.keys())
    if unknown:
        raise BadParameter(f"changed_outputs has no option {unknown[0]!r}")
    with network.running() as run, ExitStack() as stack:
        for name, module in modules.items():
            change = changes[name]
            handle = module.register_forward_hook(
                lambda _, inputs, answer, change=change: change(answer)
            )
            stack.callback(handle.remove)
        how = f"changed {changes}"
        return collect(network, loader, run, how=how, **{**given, **options})


def map_quantile(
    clf: WrappedClassifier, loader: Any, layer: str, percentile: float = 90.0
) -> float:
    """The percentile of all activations of a layer, for `ClipMaps`; two passes, little memory.

    Parameters
    ----------
    clf : WrappedClassifier
        The classifier.
    loader : iterable of batches that can be read again, or a tensor
        In-distribution inputs.
    layer : str
        Name of the module whose output is looked at.
    percentile : float
        In [0, 100].

    Returns
    -------
    float
        Within 1 / 16384 of the range of the activations.

    Raises
    ------
    UnknownName
        If there is no such layer.
    """
    _require_percentile(percentile)
    low, high, total = np.inf, -np.inf, 0
    for values in _activations(clf, loader, layer):
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        total += values.numel()
    if not total:
        raise InputError("the loader gave no batch")
    counts = np.zeros(_BINS)
    for values in _activations(clf, loader, layer):
        counts += values.double().histc(_BINS, low, high).numpy() if high > low else 0
    if high == low:
        return high
    bin_ = int(np.searchsorted(np.cumsum(counts), percentile / 100 * total))
    return low + (high - low) * min(bin_ + 1, _BINS) / _BINS


def _activations(clf: WrappedClassifier, loader: Any, layer: str) -> Iterator[Tensor]:
    """A layer's whole output, batch by batch, on the CPU."""
    network = clf.network
    module = find_module(network.inner, layer, "layer")
    seen: list[Tensor] = []
    with network.running() as run, ExitStack() as stack:
        handle = module.register_forward_hook(
            # a copy: what follows may work in place
            lambda _, inputs, answer: seen.append(answer.detach().to("cpu", copy=True))
        )
        stack.callback(handle.remove)
        for batch in iterate(loader, _BATCH):
            inputs, _ = split_batch(batch, network.unpack)
            run(inputs)
            yield seen[-1]
            seen.clear()
