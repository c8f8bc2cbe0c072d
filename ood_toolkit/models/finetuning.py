"""Energy-bounded fine-tuning: known rows get low energy, outliers high, with a margin between."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import call_model, iterate, logits_of, split_batch
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.state import evaluating, random_state_kept, with_gradients
from ood_toolkit.models.wrapping import wrap

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["EnergyFineTuned", "FineTuningStep", "finetune_energy"]

_BATCH = 128


@dataclass(frozen=True, slots=True)
class FineTuningStep:
    """What the validation rows said after an epoch; epoch 0 is before the first.

    Attributes
    ----------
    epoch : int
        From 0.
    accuracy : float
        Of the validation rows, in [0, 1].
    known_energy, outlier_energy : float
        Mean energy -lse(z) of the validation rows and of the outliers.
    """

    epoch: int
    accuracy: float
    known_energy: float
    outlier_energy: float


@dataclass(frozen=True, slots=True)
class EnergyFineTuned:
    """A fine-tuned copy of a model, and how it came about.

    Attributes
    ----------
    model : torch.nn.Module
        The copy, in the mode the original is in.
    known_margin, outlier_margin : float
        Energies that known rows should stay below and outliers above.
    curve : tuple of FineTuningStep
        One an epoch.
    """

    model: nn.Module
    known_margin: float
    outlier_margin: float
    curve: tuple[FineTuningStep, ...]


def finetune_energy(
    clf: WrappedClassifier,
    loader: Any,
    *,
    validation: Any,
    outliers: Any = None,
    margins: tuple[float, float] | None = None,
    weight: float = 0.1,
    epochs: int = 10,
    rate: float = 1e-3,
    head_only: bool = True,
    tolerance: float = 0.01,
    seed: int = 0,
) -> EnergyFineTuned:
    """Train a copy of a classifier so that the energy tells outliers from what it knows.

    The loss is the cross-entropy of known rows plus `weight` times the mean of
    max(E - m_in, 0)^2 over known rows and of max(m_out - E, 0)^2 over outliers, with
    E = -lse(z).  The given model is not touched.

    Parameters
    ----------
    clf : WrappedClassifier
        The classifier.
    loader : iterable of (inputs, labels) that can be read again
        Rows to train on.
    validation : iterable of (inputs, labels) that can be read again
        Held-out rows that judge each epoch.
    outliers : iterable of inputs that can be read again, optional
        Auxiliary outliers, not those reported on.  Without them, midpoints between rows of
        different classes of each batch are taken.
    margins : (float, float), optional
        m_in and m_out.  By default the mean energy of validation rows, less a tenth of the
        way to the outliers', and the mean energy of the outliers.
    weight : float
        Of the energy terms.
    epochs : int
        Passes over `loader`.
    rate : float
        Learning rate of SGD with Nesterov momentum 0.9, which a cosine lets fall to zero.
    head_only : bool
        Whether only the last layer is trained, all else in evaluation mode.
    tolerance : float
        How much validation accuracy may fall below that of the given model.
    seed : int
        Of everything random.

    Returns
    -------
    EnergyFineTuned
        Model, margins and validation curve.

    Raises
    ------
    InputError
        If accuracy falls by more than `tolerance`, or the outliers' energy is not above that
        of known rows.

    References
    ----------
    Liu, Wang, Owens & Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020.
    """
    import torch

    if epochs < 1 or not rate > 0 or weight < 0 or not 0 <= tolerance <= 1:
        raise BadParameter("epochs and rate must be positive, weight >= 0, tolerance in [0, 1]")
    model = copy.deepcopy(clf.network.inner)
    tuned = wrap(model, head=clf.head_name or None, unpack=clf.network.unpack)
    training = _Training(tuned, outliers)
    with random_state_kept():
        torch.manual_seed(seed)
        curve = [training.judged(0, validation)]
        low, high = margins or _margins(curve[0])
        if not low < high:
            raise InputError(
                f"the outliers' energy, {high:.4g}, is not above that of known rows, {low:.4g}; "
                "give other outliers, or margins="
            )
        trained = training.trainable(head_only)
        optimizer = torch.optim.SGD(
            trained, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for epoch in range(1, epochs + 1):
            for inputs, labels, odd in training.batches(loader):
                training.step(optimizer, trained, (inputs, labels, odd), (low, high, weight),
                              head_only)  # fmt: skip
            schedule.step()
            curve.append(training.judged(epoch, validation))
            fallen = curve[0].accuracy - curve[-1].accuracy
            if fallen > tolerance:
                raise InputError(
                    f"accuracy fell from {curve[0].accuracy:.4f} to {curve[-1].accuracy:.4f} in "
                    f"epoch {epoch}, by more than tolerance={tolerance}; lower the rate or weight"
                )
    return EnergyFineTuned(model, low, high, tuple(curve))


def _margins(before: FineTuningStep) -> tuple[float, float]:
    gap = before.outlier_energy - before.known_energy
    return before.known_energy - 0.1 * gap, before.outlier_energy


class _Training:
    """One model in training, with its outliers."""

    def __init__(self, clf: WrappedClassifier, outliers: Any) -> None:
        self.clf, self.outliers = clf, outliers
        self.model = clf.network.inner

    def logits(self, inputs: Any) -> Tensor:
        return logits_of(call_model(self.model, self.clf.network.moved(inputs)))

    def trainable(self, head_only: bool) -> list[Any]:
        if not head_only:
            return [p for p in self.model.parameters() if p.requires_grad]
        head = self.clf.network.head_layer
        if head is None:
            raise InputError("head_only needs a head that is a layer of the model")
        return list(head.parameters())

    def batches(self, loader: Any) -> Iterator[tuple[Any, Tensor, Any]]:
        """Known inputs, labels and as many outliers as the outlier loader gives."""
        odd = self._endless() if self.outliers is not None else None
        for batch in iterate(loader, _BATCH):
            inputs, labels = self._labelled(batch)
            yield inputs, labels, next(odd) if odd else midpoints(inputs, labels)

    def _endless(self) -> Iterator[Any]:
        while True:
            empty = True
            for batch in iterate(self.outliers, _BATCH):
                empty = False
                yield split_batch(batch, self.clf.network.unpack)[0]
            if empty:
                raise InputError("the loader of outliers gave no batch")

    def _labelled(self, batch: Any) -> tuple[Any, Tensor]:
        import torch

        inputs, labels = split_batch(batch, self.clf.network.unpack)
        if labels is None:
            raise InputError("fine-tuning needs labelled inputs: batches of (inputs, labels)")
        return inputs, torch.as_tensor(labels).long()

    def step(
        self,
        optimizer: Any,
        trained: list[Any],
        batch: tuple[Any, Tensor, Any],
        terms: tuple[float, float, float],
        head_only: bool,
    ) -> None:
        import torch

        (inputs, labels, odd), (low, high, weight) = batch, terms
        everything = (lambda module: False) if head_only else (lambda module: True)
        with evaluating(self.model, everything), with_gradients():
            # one batch of both, so that a norm's statistics are those of neither alone
            both = self.logits(_joined(inputs, odd))
            known, strange = both[: len(labels)], both[len(labels) :]
            inside, outside = -known.logsumexp(1), -strange.logsumexp(1)
            hinges = (inside - low).clamp(min=0).pow(2).mean()
            hinges = hinges + (high - outside).clamp(min=0).pow(2).mean()
            loss = torch.nn.functional.cross_entropy(known, labels.to(known.device))
            gradients = torch.autograd.grad(loss + weight * hinges, trained)
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    def judged(self, epoch: int, validation: Any) -> FineTuningStep:
        """Accuracy and mean energies of the validation rows and of the outliers."""
        import torch

        right, energies, odd = [], [], []
        with evaluating(self.model), torch.no_grad():
            for batch in iterate(validation, _BATCH):
                inputs, labels = self._labelled(batch)
                z = self.logits(inputs)
                right.append(z.argmax(1).cpu() == labels)
                energies.append(-z.logsumexp(1).cpu())
                if self.outliers is None:
                    odd.append(-self.logits(midpoints(inputs, labels)).logsumexp(1).cpu())
            for batch in iterate(self.outliers, _BATCH) if self.outliers is not None else ():
                inputs, _ = split_batch(batch, self.clf.network.unpack)
                odd.append(-self.logits(inputs).logsumexp(1).cpu())
        if not energies or not odd:
            raise InputError("a loader gave no batch")
        accuracy, known, strange = (
            float(torch.cat(parts).double().mean()) for parts in (right, energies, odd)
        )
        return FineTuningStep(epoch, accuracy, known, strange)


def _joined(first: Any, second: Any) -> Any:
    """Two batches of inputs as one."""
    import torch

    if isinstance(first, dict):
        return {key: torch.cat([first[key], second[key]]) for key in first}
    return torch.cat([first, second])


def midpoints(inputs: Any, labels: Tensor) -> Tensor:
    """Halfway between rows of different classes: each row and the next one of another class.

    Raises
    ------
    InputError
        If inputs are no single tensor of floating-point numbers, or all of one class.
    """
    import torch

    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        raise InputError("midpoints are made of one tensor of numbers; give outliers=")
    size = len(labels)
    offsets = torch.arange(1, size)
    other = labels[(torch.arange(size)[:, None] + offsets) % size] != labels[:, None]
    rows = other.any(1) if size > 1 else torch.zeros(size, dtype=torch.bool)
    if not bool(rows.any()):
        raise InputError("a batch of one class has no midpoints; shuffle the loader")
    first = other.double().argmax(1) + 1
    partner = (torch.arange(size) + first) % size
    mixed: Tensor = (inputs[rows] + inputs[partner[rows]]) / 2
    return mixed
