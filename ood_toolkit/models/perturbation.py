"""Small steps of the inputs that raise a score: more for what the network knows than for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.models.batches import row_count
from ood_toolkit.models.layout import Layout
from ood_toolkit.models.network import Network, Pass
from ood_toolkit.models.score_functions import ScoreFunction
from ood_toolkit.models.state import with_gradients, without_gradients

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Perturbation", "input_gradients", "perturbing", "stepped"]

Objective = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How far inputs are moved, and along which coordinates.

    Parameters
    ----------
    epsilon : float
        Length of the step of each coordinate, before it is divided by `std`; ODIN's 0.0014.
    std : sequence of float, optional
        Standard deviations that the channels were divided by when they were normalised: then
        epsilon is in units of pixels in [0, 1].
    single : bool
        Whether only the coordinate with the largest gradient of each row is moved (i-ODIN).
    down : bool
        Whether the step lowers the score, as DOCTOR's does.

    References
    ----------
    Liang, Li & Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection in
    Neural Networks", ICLR 2018; Granese et al., "DOCTOR: A Simple Method for Detecting
    Misclassification Errors", NeurIPS 2021.

    Examples
    --------
    >>> Perturbation(epsilon=0.0014, std=(0.2023, 0.1994, 0.2010)).epsilon
    0.0014
    """

    epsilon: float = 0.0014
    std: Sequence[float] | None = None
    single: bool = False
    down: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise BadParameter(f"epsilon must be at least 0 and finite, got {self.epsilon}")
        if self.std is not None and any(not value > 0 for value in self.std):
            raise BadParameter(f"std must be positive, got {list(self.std)}")


def stepped(inputs: Tensor, gradient: Tensor, perturbation: Perturbation) -> Tensor:
    """Inputs - epsilon * sgn(gradient of the loss) / std, with sgn(0) = +1; not clipped.

    Parameters
    ----------
    inputs, gradient : tensors of one shape
        The gradient is that of what shall become smaller.
    perturbation : Perturbation
        How far.

    Raises
    ------
    BadParameter
        If `std` does not fit the channels.
    """
    import torch

    length = inputs.new_tensor(perturbation.epsilon)
    step = torch.where(gradient < 0, -length, length)
    if perturbation.single:
        flat = gradient.abs().flatten(1)
        chosen = flat.argmax(1, keepdim=True)
        step = step * flat.new_zeros(flat.shape).scatter(1, chosen, 1.0).view_as(step)
    if perturbation.std is not None:
        step = step / _by_channel(perturbation.std, inputs)
    return inputs - step


def _by_channel(std: Sequence[float], inputs: Tensor) -> Tensor:
    if inputs.dim() < 2 or len(std) not in (1, inputs.shape[1]):
        raise BadParameter(f"std has {len(std)} values for inputs of shape {tuple(inputs.shape)}")
    return inputs.new_tensor(list(std)).view(1, -1, *(1 for _ in range(inputs.dim() - 2)))


def input_gradients(
    run: Callable[[Any], Pass], inputs: Any, objective: Objective, layer: str = ""
) -> tuple[str, Tensor, Tensor]:
    """Gradient of each row's objective, of logits and features, with respect to its inputs.

    A layer's pooled features take the place of the penultimate ones where it is named.

    Returns
    -------
    key : str
        Name of the input that the gradient is of; empty where inputs are one tensor.
    values, gradient : tensors
        That input, and its gradient.

    Raises
    ------
    InputError
        If no input is a floating-point tensor, or several are.
    """
    import torch

    key, values = _continuous(inputs)
    with with_gradients():
        moving = values.detach().clone().requires_grad_(True)
        found = run(_replaced(inputs, key, moving))
        features = found.layers[layer] if layer else found.features
        scores = objective(found.logits, features)
        if not scores.requires_grad:
            raise InputError(
                "the logits do not depend on the inputs in a way that torch can differentiate"
            )
        (gradient,) = torch.autograd.grad(scores.sum(), moving)
    return key, values, gradient


def _continuous(inputs: Any) -> tuple[str, Tensor]:
    import torch

    named = inputs if isinstance(inputs, dict) else {"": inputs}
    found = {
        key: value
        for key, value in named.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise InputError(
            f"a perturbation moves the one input of floating-point numbers, found {listed}; word "
            "numbers have no gradient"
        )
    return next(iter(found.items()))


def _replaced(inputs: Any, key: str, value: Tensor) -> Any:
    return {**inputs, key: value} if isinstance(inputs, dict) else value


def perturbing(
    network: Network,
    run: Callable[[Any], Pass],
    score: ScoreFunction,
    how: Perturbation,
    layer: str = "",
) -> Callable[[Any], Pass]:
    """`run`, of inputs that were first moved towards a higher score, or a lower one."""
    import torch

    if layer and layer not in network.layers:
        listed = ", ".join(network.layers) or "none"
        raise UnknownName(f"layer={layer!r}: wrap was given the layers {listed}")
    held: dict[str, Any] = {}
    laid_out = Layout(network.logits)

    def objective(logits: Tensor, features: Tensor) -> Tensor:
        if not held:
            for name, array in score.arrays.items():
                held[name] = torch.as_tensor(array, dtype=logits.dtype, device=logits.device)
        scores = score.apply(held, logits, features)
        return scores if how.down else -scores

    def moved(inputs: Any) -> Pass:
        inputs = network.moved(inputs)
        if how.epsilon == 0 or row_count(inputs) == 0:
            with without_gradients():
                return run(inputs)
        key, values, gradient = input_gradients(run, laid_out(inputs), objective, layer)
        with without_gradients():
            return run(laid_out(_replaced(inputs, key, stepped(values, gradient, how))))

    return moved
