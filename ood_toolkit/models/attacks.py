"""Four attacks that make inputs a classifier gets wrong, each on whole batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import BadParameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BIM", "CW", "FGSM", "Attack", "DeepFool", "Logits"]

Logits = Callable[["Tensor"], "Tensor"]
"""A differentiable function of inputs that returns (N, C) logits."""

_ALMOST_ONE = 1.0 - 1e-6


@dataclass(frozen=True)
class Attack(ABC):
    """What every attack is told of the inputs.

    Parameters
    ----------
    low, high : float
        Values that inputs may have.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise BadParameter(f"low must be below high, got {self.low} and {self.high}")
        for name, value in vars(self).items():
            if name not in ("low", "high") and not value > 0:
                raise BadParameter(f"{type(self).__name__}.{name} must be positive, got {value}")

    @abstractmethod
    def run(self, logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
        """Changed inputs, of the same shape; gradients must be enabled."""

    def clipped(self, inputs: Tensor) -> Tensor:
        """Inputs within the values they may have."""
        return inputs.clamp(self.low, self.high)


def _uphill(logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
    """Sign of the gradient of the cross-entropy."""
    import torch

    moving = inputs.detach().clone().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(logits(moving), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, moving)
    return gradient.sign()


@dataclass(frozen=True)
class FGSM(Attack):
    """One step of `epsilon` up the sign of the loss's gradient.

    Parameters
    ----------
    low, high : float
        Values that inputs may have.
    epsilon : float
        Length of the step of each coordinate.

    References
    ----------
    Goodfellow, Shlens & Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015.
    """

    epsilon: float = 0.05

    def run(self, logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
        """Changed inputs."""
        return self.clipped(inputs + self.epsilon * _uphill(logits, inputs, labels))


@dataclass(frozen=True)
class BIM(Attack):
    """Several small steps of FGSM.

    Parameters
    ----------
    low, high : float
        Values that inputs may have.
    step : float
        Length of each step.
    iterations : int
        How many.

    References
    ----------
    Kurakin, Goodfellow & Bengio, "Adversarial Examples in the Physical World", 2017.
    """

    step: float = 0.01
    iterations: int = 6

    def run(self, logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
        """Changed inputs."""
        changed = inputs
        for _ in range(self.iterations):
            changed = self.clipped(changed + self.step * _uphill(logits, changed, labels))
        return changed


@dataclass(frozen=True)
class DeepFool(Attack):
    """The shortest way over the nearest boundary of the linearised classifier, repeated.

    Parameters
    ----------
    low, high : float
        Values that inputs may have.
    overshoot : float
        Share by which each row goes beyond the boundary.
    iterations : int
        At most; a row stops when its prediction has changed.

    References
    ----------
    Moosavi-Dezfooli, Fawzi & Frossard, "DeepFool: A Simple and Accurate Method to Fool Deep
    Neural Networks", CVPR 2016.
    """

    overshoot: float = 0.02
    iterations: int = 50

    def run(self, logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
        """Changed inputs."""
        import torch

        total = torch.zeros_like(inputs)
        rows = torch.arange(len(inputs), device=inputs.device)
        for _ in range(self.iterations):
            at = self.clipped(inputs + (1 + self.overshoot) * total).detach().requires_grad_(True)
            z = logits(at)
            right = z.argmax(1) == labels
            if not bool(right.any()):
                break
            slopes = [
                torch.autograd.grad(z[:, c].sum(), at, retain_graph=True)[0]
                for c in range(z.shape[1])
            ]
            stacked = torch.stack(slopes, 1).flatten(2)
            apart = stacked - stacked[rows, labels][:, None]
            gaps = (z - z[rows, labels][:, None]).detach().abs()
            lengths = apart.norm(dim=2).clamp(min=1e-12)
            away = gaps / lengths
            away[rows, labels] = float("inf")
            nearest = away.argmin(1)
            step = (gaps[rows, nearest] + 1e-4) / lengths[rows, nearest].pow(2)
            move = (step[:, None] * apart[rows, nearest]).view_as(inputs)
            total = total + move * right.view(-1, *(1 for _ in range(inputs.dim() - 1)))
        return self.clipped(inputs + (1 + self.overshoot) * total).detach()


@dataclass(frozen=True)
class CW(Attack):
    """A small change in Euclidean length that Adam finds, pushing another class to the top.

    Parameters
    ----------
    low, high : float
        Values that inputs may have.
    weight : float
        Of the margin, beside the squared length of the change.
    rate : float
        Adam's learning rate.
    iterations : int
        How many; the shortest change that worked is returned, where none did the last.

    References
    ----------
    Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017.
    """

    weight: float = 1.0
    rate: float = 0.01
    iterations: int = 100

    def run(self, logits: Logits, inputs: Tensor, labels: Tensor) -> Tensor:
        """Changed inputs."""
        import torch

        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        start = ((inputs - middle) / half).clamp(-_ALMOST_ONE, _ALMOST_ONE).atanh()
        moving = start.detach().clone().requires_grad_(True)
        optimizer: Any = torch.optim.Adam([moving], lr=self.rate)
        best = inputs.detach().clone()
        shortest = torch.full((len(inputs),), float("inf"), device=inputs.device)
        chosen = torch.nn.functional.one_hot(labels, logits(inputs[:1]).shape[1]).bool()
        for _ in range(self.iterations):
            changed = moving.tanh() * half + middle
            z = logits(changed)
            right = z[chosen]
            other = z.masked_fill(chosen, -float("inf")).amax(1)
            length = (changed - inputs).flatten(1).pow(2).sum(1)
            better = (other > right).detach() & (length.detach() < shortest)
            # rows that never work keep the last try
            kept = better | shortest.isinf()
            best[kept] = changed.detach()[kept]
            shortest = torch.where(better, length.detach(), shortest)
            loss = (length + self.weight * (right - other).clamp(min=0.0)).sum()
            (gradient,) = torch.autograd.grad(loss, moving)
            moving.grad = gradient
            optimizer.step()
        return best
