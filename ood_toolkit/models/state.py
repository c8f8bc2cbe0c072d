"""A model and the random generators, left exactly as they were found, by one thread at a time."""

from __future__ import annotations

import os
import random
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "evaluating",
    "left_as_found",
    "one_thread_at_a_time",
    "random_state_kept",
    "with_gradients",
    "without_gradients",
]

_USED: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_LOOKUP = threading.Lock()


def one_thread_at_a_time(model: nn.Module) -> AbstractContextManager[Any]:
    """Holds the model for this thread: its modes and hooks are not another's to change.

    Of one model all who wrap it share the same lock; the thread that holds it may ask again.
    """
    held = _USED.get(model)
    if held is not None:  # a model keeps the lock it got first
        return held
    with _LOOKUP:
        return _USED.setdefault(model, threading.RLock())


def _forget() -> None:
    """A fork copies locks that other threads hold, and none of the threads."""
    global _LOOKUP
    _LOOKUP = threading.Lock()
    _USED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def left_as_found(
    model: nn.Module,
    active: Callable[[nn.Module], bool] | None = None,
    *,
    of_numpy: bool = True,
) -> Iterator[None]:
    """The model `evaluating`, in this thread alone, and `random_state_kept`."""
    with (
        one_thread_at_a_time(model),
        random_state_kept(of_numpy=of_numpy),
        evaluating(model, active),
    ):
        yield


@contextmanager
def evaluating(
    model: nn.Module, active: Callable[[nn.Module], bool] | None = None
) -> Iterator[None]:
    """Every submodule in evaluation mode, but those that `active` names; put back after.

    The flags themselves are set: `train` and `eval`, which a model may have overridden, are
    not called.
    """
    found = _submodules(model)
    if active is None:
        changed = [(module, True) for module in found if module.training]
    else:
        changed = [(m, was) for m in found if (was := m.training) != active(m)]
    try:
        for module, was in changed:
            module.training = not was
        yield
    finally:
        for module, was in changed:
            module.training = was


def _submodules(model: nn.Module) -> set[nn.Module]:
    """What `model.modules()` gives, in no order and in a fraction of the time."""
    found, level = {model}, {model}
    while level:
        children = [each for module in level if (each := module._modules)]
        level = {child for each in children for child in each.values() if child is not None}
        level -= found
        found |= level
    return found


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


def without_gradients() -> AbstractContextManager[Any]:
    """No graph is recorded, and compiled code runs as it was written.

    Not inference mode: what a module keeps from a call, such as tables of positions, stays
    usable in training.  Compiled code would not see hooks that were added after it was made.
    """
    import torch

    no_graph: AbstractContextManager[Any] = torch.no_grad()
    return _both(no_graph, _as_written()) if _may_be_compiled() else no_graph


@contextmanager
def with_gradients() -> Iterator[None]:
    """A graph is recorded, whatever mode the caller is in."""
    import torch

    with torch.inference_mode(False), torch.enable_grad(), _as_written():
        yield


@contextmanager
def _both(
    first: AbstractContextManager[Any], second: AbstractContextManager[Any]
) -> Iterator[None]:
    with first, second:
        yield


def _may_be_compiled() -> bool:
    """Whether torch's compiler is loaded, which takes seconds: nobody has compiled otherwise."""
    return "torch._dynamo" in sys.modules


def _as_written() -> AbstractContextManager[Any]:
    """Compiled code runs as its source says; nothing to do where nobody has compiled any."""
    import torch

    if not _may_be_compiled():
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
