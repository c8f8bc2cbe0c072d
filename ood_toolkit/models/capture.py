"""Hooks that catch what enters the head and what leaves other layers, once a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Capture", "pooled"]

Pool = Callable[["Tensor"], "Tensor"]


def pooled(value: Tensor) -> Tensor:
    """Means over places, of maps (N, D, ...) and of tokens (N, T, D); a copy of (N, D)."""
    if value.dim() == 2:
        return value.clone()
    if value.dim() == 3:
        return value.mean(dim=1)
    if value.dim() > 3:
        return value.flatten(2).mean(dim=2)
    raise InputError(f"a layer's output must be (N, D, ...), got shape {tuple(value.shape)}")


class Capture:
    """What modules took in and gave out in one forward pass.

    Parameters
    ----------
    inputs : mapping of str to module
        Modules whose first input is kept, such as the head.
    outputs : mapping of str to module
        Modules whose output is kept, pooled to (N, D).
    pool : callable
        What is kept of an output; runs inside the hook, before a layer that works in place
        can change it.

    Notes
    -----
    A context manager: hooks are there inside it and removed whatever happens.
    """

    def __init__(
        self,
        inputs: Mapping[str, nn.Module],
        outputs: Mapping[str, nn.Module] | None = None,
        pool: Pool = pooled,
    ) -> None:
        self._inputs, self._outputs, self._pool = dict(inputs), dict(outputs or {}), pool
        self._seen: dict[str, list[Any]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Capture:
        for name, module in self._inputs.items():
            self._handles.append(
                module.register_forward_pre_hook(self._catch_input(name), with_kwargs=True)
            )
        for name, module in self._outputs.items():
            self._handles.append(module.register_forward_hook(self._catch_output(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._seen = {}

    def _catch_input(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            value = positional[0] if positional else next(iter(named.values()), None)
            self._seen.setdefault(name, []).append(value)

        return hook

    def _catch_output(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, positional: tuple[Any, ...], answer: Any) -> None:
            value = answer[0] if isinstance(answer, tuple | list) else answer
            value = getattr(value, "last_hidden_state", value)
            self._seen.setdefault(name, []).append(self._pool(value))

        return hook

    def counts(self) -> dict[str, int]:
        """How often each module was called since the last `take`."""
        return {name: len(self._seen.get(name, ())) for name in (*self._inputs, *self._outputs)}

    def take(self) -> dict[str, Tensor]:
        """What was caught since the last call, by name.

        Raises
        ------
        InputError
            If a module was not called exactly once.
        """
        for name, count in self.counts().items():
            if count != 1:
                self._seen = {}
                why = (
                    "was never called: is it scripted, or replaced by a function? pass features_fn="
                    if count == 0
                    else f"was called {count} times in one batch: pass features_fn="
                )
                raise InputError(f"module {name!r} {why}")
        caught = {name: values[0] for name, values in self._seen.items()}
        self._seen = {}
        return caught

    def take_all(self) -> dict[str, list[Tensor]]:
        """Everything that was caught since the last call, however often."""
        caught, self._seen = self._seen, {}
        return caught
