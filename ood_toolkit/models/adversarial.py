"""Clean, noisy and adversarial versions of the same inputs, and how well scores tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.metrics import auroc
from ood_toolkit.models.attacks import Attack
from ood_toolkit.models.batches import call_model, iterate, logits_of, split_batch
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.state import left_as_found, with_gradients
from ood_toolkit.outputs import Outputs
from ood_toolkit.protocols import Scorer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AdversarialInputs", "adversarial_auroc", "adversarial_inputs"]

_BATCH = 128


@dataclass(frozen=True, slots=True)
class AdversarialInputs:
    """Three versions of rows that are told right clean and noisy, and wrong when attacked.

    Attributes
    ----------
    clean, noisy, adversarial : (N, ...) tensors
        The same rows in each.
    labels : (N,) tensor of int64
        Their classes.
    tried : int
        Rows that were attacked, of which these are left.
    """

    clean: Tensor
    noisy: Tensor
    adversarial: Tensor
    labels: Tensor
    tried: int


def adversarial_inputs(
    clf: WrappedClassifier, data: Any, attack: Attack, *, noise: float | None = None, seed: int = 0
) -> AdversarialInputs:
    """Attack every labelled input, and keep the rows that the protocol asks for.

    Parameters
    ----------
    clf : WrappedClassifier
        What is attacked; it is left as it was found.
    data : iterable of (inputs, labels)
        Real inputs.
    attack : Attack
        `FGSM`, `BIM`, `DeepFool` or `CW`.
    noise : float, optional
        Standard deviation of the noise; by default as large as the attack's change, in the
        root mean square over all coordinates.
    seed : int
        Of the noise.

    Returns
    -------
    AdversarialInputs
        Rows whose clean and noisy versions are predicted right and whose attacked one wrong.

    Raises
    ------
    InputError
        If labels are missing, or no row is left.

    References
    ----------
    Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
    and Adversarial Attacks", NeurIPS 2018.
    """
    import torch

    network = clf.network

    def logits(inputs: Tensor) -> Tensor:
        return logits_of(call_model(network.inner, inputs))

    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with left_as_found(network.inner), with_gradients():
        for batch in iterate(data, _BATCH):
            inputs, labels = split_batch(batch, network.unpack)
            if labels is None:
                raise InputError("an attack needs labelled inputs: batches of (inputs, labels)")
            x = network.moved(inputs).clone()
            y = torch.as_tensor(labels, device=x.device).long()
            parts.append((x, attack.run(logits, x, y).detach(), y))
    if not parts:
        raise InputError("the loader gave no batch")
    clean, changed, classes = (torch.cat(column) for column in zip(*parts, strict=True))
    size = float((changed - clean).pow(2).mean().sqrt()) if noise is None else noise
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(clean.shape, generator=generator).to(clean)
    noisy = attack.clipped(clean + size * random)
    said = [_predicted(clf, version) for version in (clean, noisy, changed)]
    known = classes.cpu()
    kept = (said[0] == known) & (said[1] == known) & (said[2] != known)
    if not bool(kept.any()):
        raise InputError(
            f"{type(attack).__name__}: no row is right clean and noisy and wrong when attacked; "
            "attack harder, or with less noise"
        )
    index = kept.to(clean.device)
    return AdversarialInputs(
        clean[index], noisy[index], changed[index], classes[index], len(classes)
    )


def _predicted(clf: WrappedClassifier, inputs: Tensor) -> Tensor:
    import torch

    x = clf.outputs(inputs, keep=["logits"], progress=False)
    assert x.logits is not None
    return torch.from_numpy(x.logits.argmax(1))


def adversarial_auroc(
    clf: WrappedClassifier, versions: AdversarialInputs, scorers: Mapping[str, Scorer]
) -> dict[str, float]:
    """Area under the ROC curve of clean and noisy rows against adversarial ones, by scorer.

    Parameters
    ----------
    clf : WrappedClassifier
        Runs the versions.
    versions : AdversarialInputs
        As `adversarial_inputs` makes them.
    scorers : mapping of str to Scorer
        Fitted; larger = more in-distribution.

    Returns
    -------
    dict of str to float
        In [0, 1]; 0.5 is chance.
    """
    tame = [clf.outputs(x, progress=False) for x in (versions.clean, versions.noisy)]
    attacked: Outputs = clf.outputs(versions.adversarial, progress=False)
    return {
        name: float(auroc(np.concatenate([scorer.score(x) for x in tame]), scorer.score(attacked)))
        for name, scorer in scorers.items()
    }
