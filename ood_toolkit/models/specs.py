"""A model from the words of a command line: a function that builds it, and a weights file."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.models.blame import blaming, told
from ood_toolkit.models.torch_library import load_torch

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model", "load_weights"]

_PREFIXES = ("module.", "_orig_mod.", "model.")


def build_model(spec: str, weights: str | None = None, device: str | None = None) -> nn.Module:
    """The model that `package.module:name` makes, in evaluation mode.

    Parameters
    ----------
    spec : str
        `name` is a module, or a class or function that returns one when called without
        arguments.  The current folder is searched first.
    weights : str, optional
        A `.safetensors`, `.pt` or `.pth` file of tensors.
    device : str, optional
        Such as "cuda:0".

    Returns
    -------
    torch.nn.Module
        Ready for `wrap`.

    Raises
    ------
    BadParameter
        If the spec has another form, or names what does not exist.
    InputError
        If what it names is no model, or raises an error.
    DataError
        If the weights do not fit.
    """
    torch = load_torch("running a model")
    place, colon, name = spec.partition(":")
    if not colon or not place or not name:
        raise BadParameter(f"--model {spec}: expected package.module:name or onnx:FILE")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with blaming(f"--model {spec}: importing {place}", ModuleNotFoundError):
            found: Any = importlib.import_module(place)
    except ModuleNotFoundError as reason:
        if reason.name is not None and (
            place == reason.name or place.startswith(reason.name + ".")
        ):
            raise BadParameter(
                f"--model {spec}: there is no module {reason.name}; run from its folder or "
                "install it"
            ) from None
        raise InputError(
            f"--model {spec}: importing {place} raised {told(reason)}; install it"
        ) from reason
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadParameter(f"--model {spec}: {place} has no {name}")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        model = found
    else:
        with blaming(f"--model {spec}: {name}"):
            model = found()
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"--model {spec}: gave a {type(model).__name__}, not a torch.nn.Module")
    if weights is not None:
        load_weights(model, weights)
    if device is not None:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as reason:
            raise BadParameter(f"--device {device}: {_line(reason)}") from None
    return model.eval()


def load_weights(model: nn.Module, path: str) -> None:
    """Put the tensors of a file into a model; every one must fit.

    Nothing is unpickled but tensors.  Prefixes that wrappers add to every name are removed.

    Raises
    ------
    DataError
        If the file cannot be read, or names or shapes differ from the model's.
    """
    torch = load_torch("reading weights")
    if not os.path.isfile(path):
        raise DataError(path, "", "there is no such file")
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as reason:  # noqa: BLE001 - whatever a damaged file makes the readers raise
        raise DataError(path, "", f"is not a readable file of tensors ({_line(reason)})") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise DataError(path, "", f"holds a {type(state).__name__}, not tensors by name")
    state = _without_prefix(state, set(model.state_dict()))
    wanted = model.state_dict()
    for key in [*wanted, *state]:
        if key not in state:
            raise DataError(path, key, "is missing; are these the weights of this model?")
        if key not in wanted:
            raise DataError(path, key, "is no part of the model; are these its weights?")
        if tuple(state[key].shape) != tuple(wanted[key].shape):
            raise DataError(
                path,
                key,
                f"has shape {tuple(state[key].shape)}, the model's is {tuple(wanted[key].shape)}",
            )
    model.load_state_dict(state)


def _without_prefix(state: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if state and not wanted & state.keys() and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
