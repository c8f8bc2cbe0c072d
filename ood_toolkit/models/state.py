"""A model and the random generators, left exactly as they were found."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

__all__ = ["evaluating", "random_state_kept", "with_gradients", "without_gradients"]


@contextmanager
def evaluating(
    model: nn.Module, active: Callable[[nn.Module], bool] = lambda module: False
) -> Iterator[None]:
    """Every submodule in evaluation mode, but those that `active` names; put back after.

    The flags themselves are set: `train` and `eval`, which a model may have overridden, are
    not called.
    """
    found = [(module, module.training) for module in model.modules()]
    changed = [(m, was) for m, was in found if was != active(m)]
    try:
        for module, was in changed:
            module.training = not was
        yield
    finally:
        for module, was in changed:
            module.training = was


@contextmanager
def random_state_kept(*, of_numpy: bool = True) -> Iterator[None]:
    """Python's, numpy's and torch's generators continue as if nothing had happened.

    Loaders draw from numpy's; a module hardly does, and keeping it takes longest, so that one
    batch alone may go without.
    """
    import torch

    states = random.getstate(), torch.get_rng_state()
    numbers = np.random.get_state() if of_numpy else None  # noqa: NPY002
    # asking for the states of devices that nobody has used yet would start them
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        if numbers is not None:
            np.random.set_state(numbers)  # noqa: NPY002
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def without_gradients() -> Iterator[None]:
    """No graph is recorded, and compiled code runs as it was written.

    Not inference mode: what a module keeps from a call, such as tables of positions, stays
    usable in training.  Compiled code would not see hooks that were added after it was made.
    """
    import torch

    with torch.no_grad(), _as_written():
        yield


@contextmanager
def with_gradients() -> Iterator[None]:
    """A graph is recorded, whatever mode the caller is in."""
    import torch

    with torch.inference_mode(False), torch.enable_grad(), _as_written():
        yield


def _as_written() -> AbstractContextManager[Any]:
    """Compiled code runs as its source says; nothing to do where nobody has compiled any."""
    import torch

    # naming the compiler's settings would load it, which takes seconds
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
