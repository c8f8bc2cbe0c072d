"""A PyTorch classifier as something that gives logits and features, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ood_toolkit.errors import InputError
from ood_toolkit.models.batches import Unpack, call_model, logits_of
from ood_toolkit.models.capture import Capture
from ood_toolkit.models.heads import (
    check_head,
    find_module,
    first_guess,
    head_error,
    is_compiled_script,
    linear_layers,
    tensors_of,
    unwrapped,
    version_of,
)
from ood_toolkit.models.state import left_as_found, without_gradients
from ood_toolkit.models.torch_library import device_of, load_torch, to_array, tree_map
from ood_toolkit.outputs import Head

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["FeaturesFunction", "Network", "Pass", "network_of"]

FeaturesFunction = Callable[[Any, Any], "tuple[Tensor, Tensor]"]
"""A function of a model and a batch's inputs that returns logits (N, C) and features (N, D)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one forward pass gave, as tensors on the model's device.

    Attributes
    ----------
    logits : (N, C) tensor
        Pre-softmax outputs.
    features : (N, D) tensor
        What the head multiplies.
    layers : dict of str to (N, D_l) tensors
        Pooled outputs of further layers.
    """

    logits: Tensor
    features: Tensor
    layers: dict[str, Tensor]


class Network:
    """A model with a known head: runs a batch and hands back logits, features and layers.

    Parameters
    ----------
    model : torch.nn.Module
        As given by the user.
    head : str, Head or None
        Name of the last linear layer, or its arrays where it is no module.
    features : str or None
        Name of the module whose output are the features; None takes the head's input.
    layers : sequence of str
        Modules whose pooled outputs are kept too.
    features_fn : callable or None
        Takes the place of hooks.
    unpack : callable or None
        Inputs and labels of a batch of unusual form.
    """

    def __init__(
        self,
        model: nn.Module,
        head: str | Head | None,
        features: str | None,
        layers: Sequence[str],
        features_fn: FeaturesFunction | None,
        unpack: Unpack | None,
    ) -> None:
        self.model = model
        self.inner = unwrapped(model)
        self.features_fn, self.unpack = features_fn, unpack
        self.layers = {name: find_module(self.inner, name, "layers") for name in layers}
        self.features_from = features
        self.given_head = head if isinstance(head, Head) else None
        self.head_name, self.head_is_given = "", isinstance(head, str)
        if features_fn is None and is_compiled_script(self.inner):
            raise InputError(
                f"{type(self.inner).__name__}: hooks do not see into scripted or traced modules; "
                "wrap the module it was made of, or pass features_fn="
            )
        if isinstance(head, str):
            self._linear(head)
            self.head_name = head
        elif features_fn is None and self.given_head is None:
            self.head_name = first_guess(self.inner)
        if features is not None:
            find_module(self.inner, features, "features")
        self._given = None if self.given_head is None else tensors_of(self.given_head)
        if self.given_head is not None and features is None and features_fn is None:
            raise InputError(
                "head=Head(...) needs features=, the name of the module whose output it "
                "multiplies, or features_fn="
            )
        self._verified: Any = None

    def _linear(self, name: str) -> nn.Module:
        layer = find_module(self.inner, name, "head")
        if getattr(layer, "weight", None) is None or cast(Any, layer.weight).dim() != 2:
            listed = ", ".join(list(linear_layers(self.inner))[::-1][:8])
            raise InputError(
                f"head={name!r} is a {type(layer).__name__}, not a linear layer; the model's are "
                f"{listed or 'none'}"
            )
        return layer

    @property
    def head_layer(self) -> nn.Module | None:
        """The last linear layer; None where only arrays or nothing is known of it."""
        return self._linear(self.head_name) if self.head_name else None

    def head(self) -> Head | None:
        """The last layer's weight and bias as arrays."""
        layer: Any = self.head_layer
        if layer is None:
            return self.given_head
        bias = None if layer.bias is None else to_array(layer.bias)
        return Head(to_array(layer.weight), bias)

    @contextmanager
    def running(
        self, active: Callable[[nn.Module], bool] | None = None, gradients: bool = False
    ) -> Iterator[Callable[[Any], Pass]]:
        """Yields the function that runs a batch's inputs; the model is left as it was found.

        Other threads wait for the model until then.

        Parameters
        ----------
        active : callable, optional
            Submodules that stay in training mode, such as dropout.
        gradients : bool
            Whether the caller manages gradients; otherwise none are recorded.
        """
        load_torch("running a model")
        with ExitStack() as stack:
            stack.enter_context(left_as_found(self.inner, active))
            if not gradients:
                stack.enter_context(without_gradients())
            if self.features_fn is not None:
                yield self._by_function
                return
            capture: list[Capture] = []

            def run(inputs: Any) -> Pass:
                if not capture and not self.settle(inputs):
                    with self._capture() as of_no_rows:
                        return self._by_hooks(of_no_rows, inputs)
                if not capture:
                    capture.append(stack.enter_context(self._capture()))
                return self._by_hooks(capture[0], inputs)

            yield run

    def logits(self, inputs: Any) -> Tensor:
        """Logits of one batch alone, without hooks; the model is left as it was found."""
        with left_as_found(self.inner, of_numpy=False), without_gradients():
            if self.features_fn is not None:
                return self.features_fn(self.inner, self.moved(inputs))[0]
            return logits_of(call_model(self.inner, self.moved(inputs)))

    def _capture(self) -> Capture:
        taken: dict[str, Any] = {}
        if self.features_from is None and self.head_layer is not None:
            taken = {"head": self.head_layer}
        left = {f"layer {name}": module for name, module in self.layers.items()}
        if self.features_from is not None:
            left["features"] = find_module(self.inner, self.features_from, "features")
        return Capture(taken, left)

    def moved(self, inputs: Any) -> Any:
        """The inputs on the model's device."""
        device = device_of(self.inner)
        here = getattr(inputs, "device", None) == device
        return inputs if here else tree_map(lambda tensor: tensor.to(device), inputs)

    def _by_function(self, inputs: Any) -> Pass:
        assert self.features_fn is not None
        inputs = self.moved(inputs)
        with Capture({}, self.layers) as capture:
            logits, features = self.features_fn(self.inner, inputs)
            layers = capture.take()
        if features.dim() != 2 or logits.dim() != 2:
            raise InputError(
                "features_fn must return logits (N, C) and features (N, D), got "
                f"{tuple(logits.shape)} and {tuple(features.shape)}"
            )
        return Pass(logits, features, layers)

    def _by_hooks(self, capture: Capture, inputs: Any) -> Pass:
        capture.take_all()  # of calls beside this one: `logits`, or a pass that broke off
        logits = logits_of(call_model(self.inner, self.moved(inputs)))
        caught = capture.take()
        features = caught["features"] if "features" in caught else caught["head"]
        layers = {name: caught[f"layer {name}"] for name in self.layers}
        return Pass(logits, features, layers)

    def settle(self, inputs: Any) -> bool:
        """Check on a batch that the head makes the logits; a wrong guess is replaced.

        Returns
        -------
        bool
            Whether that is known now: a batch without rows says nothing.

        Raises
        ------
        InputError
            If no linear layer does, or the one that was named does not.
        """
        layer = self._head_parts()
        if layer is None:
            return True
        weight = layer.weight
        if self._verified is not None and self._verified == (id(weight), version_of(weight)):
            return True
        searching = not self.head_is_given and self.given_head is None
        with without_gradients():
            if self.features_fn is not None:
                found = self._by_function(inputs)
                reason, logits = check_head(found.features, layer, found.logits), found.logits
                searching = False
            else:
                reason, logits = self._judged(inputs, layer)
            if not len(logits):
                return False
            if reason and searching and self.features_from is None:
                name = self._searched(inputs)
                if name:
                    self.head_name, reason = name, ""
            if reason:
                raise head_error(self.head_name or "given", reason, logits)
        weight = self._head_parts().weight
        self._verified = (id(weight), version_of(weight))
        return True

    def _head_parts(self) -> Any:
        """Something with the head's `weight` and `bias` tensors; None where it is not known."""
        return self._given if self._given is not None else self.head_layer

    def _judged(self, inputs: Any, layer: Any) -> tuple[str, Tensor]:
        with self._capture() as capture:
            logits = logits_of(call_model(self.inner, self.moved(inputs)))
            try:
                caught = capture.take()
            except InputError as error:
                if self.head_is_given or self.features_from is not None:
                    raise
                return str(error), logits
        features = caught["features"] if "features" in caught else caught["head"]
        return check_head(features, layer, logits), logits

    def _searched(self, inputs: Any) -> str:
        """The linear layer, called once, that makes the logits; empty where none does."""
        layers = linear_layers(self.inner)
        with Capture(layers) as capture:
            logits = logits_of(call_model(self.inner, self.moved(inputs)))
            caught = capture.take_all()
        for name in reversed(list(layers)):
            seen = caught.get(name, [])
            if len(seen) == 1 and not check_head(seen[0], layers[name], logits):
                return name
        return ""


def network_of(
    model: nn.Module,
    *,
    head: str | Head | None = None,
    features: str | None = None,
    layers: Sequence[str] = (),
    features_fn: FeaturesFunction | None = None,
    unpack: Unpack | None = None,
) -> Network:
    """A `Network`, its arguments checked."""
    torch = load_torch("wrapping a model")
    if not isinstance(model, torch.nn.Module):
        raise InputError(
            f"wrap takes a torch.nn.Module, got a {type(model).__name__}; for a function of your "
            "own, put it in a module and pass features_fn="
        )
    return Network(model, head, features, layers, features_fn, unpack)
