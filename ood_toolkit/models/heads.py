"""Finding the last linear layer of a classifier, and checking that it makes the logits."""

from __future__ import annotations

import difflib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import InputError, UnknownName

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ood_toolkit.outputs import Head

__all__ = [
    "check_head",
    "find_module",
    "first_guess",
    "head_error",
    "is_compiled_script",
    "linear_layers",
    "tensors_of",
    "unwrapped",
    "version_of",
]

_LISTED = 12
_TOLERANCE = 1e-5
_ROUNDING = 8.0


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and data-parallel wrappers."""
    from torch import nn

    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def is_compiled_script(model: nn.Module) -> bool:
    """Whether hooks cannot see what happens inside: scripted and traced modules."""
    import torch

    return isinstance(model, torch.jit.ScriptModule)


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every `nn.Linear` by its name, in the order in which they were registered."""
    from torch import nn

    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def find_module(model: nn.Module, name: str, what: str) -> nn.Module:
    """The submodule called `name`.

    Raises
    ------
    UnknownName
        If there is none; the message lists the candidates, the likeliest first.
    """
    found: nn.Module | None = model
    for part in name.split(".") if name else ():
        inside: Any = found._modules if found is not None else {}
        found = inside[part] if part in inside else None  # noqa: SIM401 - scripts' have no `get`
    if found is not None:  # asked several times a run; to list all modules takes far longer
        return found
    named = dict(model.named_modules())
    if name in named:
        return named[name]
    linear = list(linear_layers(model))
    every = linear[::-1] if what == "head" else [n for n in named if n]
    near = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
    listed = near + [n for n in every if n not in near]
    shown = ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")
    kind = "linear layers are" if what == "head" else "modules are"
    raise UnknownName(f"{what}={name!r}: the model has no such module; its {kind} {shown}")


def first_guess(model: nn.Module) -> str:
    """Name of the layer that is most likely the head: what the model says, else the last one.

    Raises
    ------
    InputError
        If the model has no linear layer that hooks can see.
    """
    layers = linear_layers(model)
    said = getattr(model, "get_classifier", None)
    if callable(said):
        told = said()
        for name, layer in layers.items():
            if layer is told:
                return name
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no linear layer (nn.Linear) that makes its logits; pass "
            "features_fn=, a function of the model and a batch's inputs that returns logits and "
            "features, with head=Head(weight, bias) where there is a linear head"
        )
    return list(layers)[-1]


def check_head(features: Tensor, layer: Any, logits: Tensor) -> str:
    """Why `layer` applied to the features does not give the logits; empty where it does.

    The allowed difference is 1e-5 of the largest logit, or what the rounding of the type
    that the logits were computed in explains.  Logits of -inf, of masked classes, are left out.
    """
    import torch

    weight, bias = layer.weight, layer.bias
    if features.dim() != 2:
        return f"it sees {tuple(features.shape)}, not one row an input: something pools after it"
    if features.shape[1] != weight.shape[1]:
        return f"it takes {weight.shape[1]} columns, the features have {features.shape[1]}"
    if tuple(logits.shape) != (features.shape[0], weight.shape[0]):
        return f"it has {weight.shape[0]} outputs, the logits are {tuple(logits.shape)}"
    product = features.double().cpu() @ weight.double().cpu().T
    if bias is not None:
        product = product + bias.double().cpu()
    given = logits.double().cpu()
    live = given != -torch.inf
    if not bool(live.any()):
        return "every logit is -inf"
    difference = float((product - given)[live].abs().max())
    scale = max(1.0, float(given[live].abs().max()))
    coarsest = max(torch.finfo(t.dtype).eps for t in (features, logits, weight))
    if difference <= scale * max(_TOLERANCE, _ROUNDING * coarsest) < torch.inf:
        return ""
    return f"features @ W.T + b differs from the logits by up to {difference:.3g}"


def head_error(name: str, reason: str, logits: Tensor) -> InputError:
    """The error that says why the head does not make the logits, and what to do."""
    rows = logits.double()
    sums = rows.sum(dim=1)
    advice = (
        "is the layer another one (head=), or does something follow it (pooling, scaling, "
        "tied or normalised weights)? then pass features_fn="
    )
    if bool((rows >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        advice = "the model returns probabilities: wrap the part before its softmax"
    return InputError(f"head {name!r}: {reason}; {advice}")


def tensors_of(head: Head) -> Any:
    """The head's arrays as a layer has them."""
    import torch

    weight, bias = (np.asarray(a, dtype=np.float64) for a in (head.weight, head.bias))
    return SimpleNamespace(weight=torch.from_numpy(weight), bias=torch.from_numpy(bias))


def version_of(tensor: Any) -> int:
    """Counts changes in place; parameters made in inference mode keep no count."""
    return -1 if tensor is None or tensor.is_inference() else int(tensor._version)
