"""Gram: how far the correlations inside layers leave the range that they have in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import iterate, split_batch
from ood_toolkit.models.capture import Capture
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.heads import find_module
from ood_toolkit.models.streaming import label_array
from ood_toolkit.models.torch_library import to_array
from ood_toolkit.outputs import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["POWERS", "Gram", "gram_vectors"]

POWERS = tuple(range(1, 11))
"""The powers of the paper."""

_BATCH = 128
_FLOOR = 1e-6
"""Added to a bound that a deviation is divided by, as in the paper's code."""


def gram_vectors(maps: Tensor, powers: Sequence[int] = POWERS) -> Tensor:
    """Row sums of the Gram matrices of a layer's maps at several powers, rooted.

    g_p(i) = sgn(s) |s|^(1/p) with s = sum_j sum_k F_ik^p F_jk^p: i and j are channels, k places.
    The matrix itself is never made.

    Parameters
    ----------
    maps : (N, D, ...) tensor
        Maps; (N, T, D) where tokens take the place of places, and (N, D) where there is one.
    powers : sequence of int
        P different ones, each at least 1.

    Returns
    -------
    (N, P, D) tensor of float64

    References
    ----------
    Sastry & Oore, "Detecting Out-of-Distribution Examples with Gram Matrices", ICML 2020.

    Examples
    --------
    >>> import torch
    >>> gram_vectors(torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]), [1])
    tensor([[[ 8., 12.]]], dtype=torch.float64)
    """
    import torch

    wide = maps.detach().double()
    if wide.dim() < 2:
        raise InputError(f"a layer's output must be (N, D, ...), got shape {tuple(maps.shape)}")
    if wide.dim() == 3:
        wide = wide.mT
    flat = wide.flatten(2) if wide.dim() > 2 else wide[:, :, None]
    found = {}
    power = flat
    for p in range(1, max(powers) + 1):
        power = power * flat if p > 1 else flat
        if p in powers:
            sums = (power @ power.sum(dim=1)[:, :, None])[:, :, 0]
            found[p] = sums.sign() * sums.abs() ** (1.0 / p)
    return torch.stack([found[p] for p in powers], dim=1)


@dataclass(frozen=True)
class Gram:
    """Total deviation of a row's Gram vectors from the range of its class; made by `fit`.

    S = -sum_l d_l / E[d_l], in [-inf, 0]; larger = more in-distribution.  d_l sums, over powers
    and channels of layer l, how far a value lies outside the training rows' range of the
    predicted class, divided by the bound that it passes, and is divided by the predicted
    class's probability; E[d_l] is its mean over held-out rows.

    Parameters
    ----------
    layers : tuple of str
        Modules whose output is looked at; one that is called several times counts as often.
    powers : tuple of int
        Powers of the Gram matrices.
    low, high : tuples of (C, P, D_l) arrays of float64
        Range of every value in training, for each call of a layer.
    expected : (L,) array of float64
        Mean deviation of held-out rows.
    confidence : bool
        Whether deviations are divided by the probability of the predicted class.

    Notes
    -----
    Fit and score O(N P sum_l D_l K_l) time beside the network's, K_l being the places of a
    layer; 16 C P sum_l D_l bytes are kept.

    Works where the outliers differ in texture or style; fails where the held-out rows are so few
    that a layer's expected deviation is chance.

    References
    ----------
    Sastry & Oore, "Detecting Out-of-Distribution Examples with Gram Matrices", ICML 2020.  The
    ranges are those of the released code: of the rows that are predicted as a class; others take
    those of a label and leave the confidence out, `classes="labels", confidence=False`.
    """

    layers: tuple[str, ...]
    powers: tuple[int, ...]
    low: tuple[Array, ...]
    high: tuple[Array, ...]
    expected: Array
    confidence: bool = True

    @classmethod
    def fit(
        cls,
        clf: WrappedClassifier,
        train: Any,
        id_val: Any,
        *,
        layers: Sequence[str] | None = None,
        powers: Sequence[int] = POWERS,
        classes: Literal["predicted", "labels"] = "predicted",
        confidence: bool = True,
    ) -> Gram:
        """Learn the ranges from training inputs, and usual deviations from held-out ones.

        Parameters
        ----------
        clf : WrappedClassifier
            Left as it was found.
        train, id_val : iterables of batches, or tensors
            Inputs; labels are read only if `classes` asks for them.
        layers : sequence of str, optional
            By default every convolution and every rectifier.
        powers : sequence of int
            Powers of the Gram matrices.
        classes : "predicted" or "labels"
            Whose rows make the range of a class.
        confidence : bool
            Whether deviations are divided by the probability of the predicted class.

        Raises
        ------
        BadParameter
            If a power is not at least 1, or `classes` is neither.
        UnknownName
            If there is no such layer.
        InputError
            If a class has no training row, labels are wanted and missing, or a value is not
            finite.
        """
        chosen = tuple(powers)
        if not chosen or any(p != int(p) or p < 1 for p in chosen):
            raise BadParameter(f"powers must be whole numbers of at least 1, got {list(chosen)}")
        if classes not in ("predicted", "labels"):
            raise BadParameter(f"classes must be predicted or labels, got {classes!r}")
        named = tuple(_usual_layers(clf) if layers is None else layers)
        if not named:
            raise InputError("the model has no convolution and no rectifier: name layers=")
        low, high = _ranges(clf, train, named, chosen, classes == "labels")
        begun = cls(named, chosen, low, high, np.ones(len(low)), confidence)
        expected = begun._deviations(clf, id_val, "held-out inputs: ").mean(axis=0) + 1e-7
        return cls(named, chosen, low, high, expected, confidence)

    def deviations(self, clf: WrappedClassifier, loader: Any) -> Array:
        """(N, L) float64: what each layer adds to the total, before it is normalised.

        Raises
        ------
        InputError
            If layers are called otherwise than in the fit, or a value is not finite.
        """
        return self._deviations(clf, loader)

    def _deviations(self, clf: WrappedClassifier, loader: Any, whose: str = "") -> Array:
        """The same, of inputs that messages call `whose`."""
        import torch

        parts = []
        for logits, _, vectors in _passes(clf, loader, self.layers, self.powers, whose):
            if len(vectors) != len(self.low):
                raise InputError(
                    f"the layers were called {len(self.low)} times a batch in the fit, and "
                    f"{len(vectors)} times now"
                )
            top = logits.double().softmax(1).max(1)
            columns = []
            for values, low, high in zip(vectors, self.low, self.high, strict=True):
                least, most = (
                    torch.from_numpy(bound).to(values.device)[top.indices] for bound in (low, high)
                )
                below = (least - values).clamp(min=0.0) / (least + _FLOOR).abs()
                above = (values - most).clamp(min=0.0) / (most + _FLOOR).abs()
                columns.append((below + above).sum((1, 2)))
            stacked = torch.stack(columns, dim=1)
            parts.append(to_array(stacked / top.values[:, None] if self.confidence else stacked))
        found = np.concatenate(parts)
        if not np.isfinite(found).all():
            row = int(np.argmin(np.isfinite(found).all(axis=1)))
            raise InputError(f"{whose}row {row}: a Gram deviation is not finite; remove the row")
        return found

    def score(self, clf: WrappedClassifier, loader: Any) -> Array:
        """(N,) float64 scores of everything in a loader; larger = more in-distribution."""
        return -np.asarray((self.deviations(clf, loader) / self.expected).sum(axis=1))


def _usual_layers(clf: WrappedClassifier) -> list[str]:
    """Every convolution and every rectifier, in the order in which they were registered."""
    from torch import nn

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ReLU)
    return [n for n, m in clf.network.inner.named_modules() if isinstance(m, kinds)]


def _passes(
    clf: WrappedClassifier, loader: Any, layers: Sequence[str], powers: Sequence[int], whose: str
) -> Iterator[tuple[Tensor, Any, list[Tensor]]]:
    """Logits, labels and the Gram vectors of each call of a layer, batch by batch; all finite."""
    network = clf.network
    modules: dict[str, nn.Module] = {n: find_module(network.inner, n, "layers") for n in layers}
    vectors: Callable[[Tensor], Tensor] = lambda maps: gram_vectors(maps, powers)  # noqa: E731
    rows = 0
    with network.running() as run, Capture({}, modules, vectors) as capture:
        for batch in iterate(loader, _BATCH):
            inputs, labels = split_batch(batch, network.unpack)
            network.settle(inputs)
            capture.take_all()  # what settling has called
            logits = run(inputs).logits
            seen = capture.take_all()
            if unused := [name for name in layers if name not in seen]:
                raise InputError(f"layer {unused[0]!r} takes no part in the forward pass")
            found = [each for name in layers for each in seen[name]]
            _refuse_overflow(found, rows, max(powers), whose)
            rows += len(logits)
            yield logits, labels, found
    if not rows:
        raise InputError("the loader gave no batch; a record needs at least one row")


def _refuse_overflow(vectors: Sequence[Tensor], first: int, power: int, whose: str) -> None:
    """Refuse Gram values that are not finite, as every comparison with them would be idle."""
    import torch

    finite = torch.stack([v.isfinite().flatten(1).all(1).cpu() for v in vectors]).all(0)
    if not bool(finite.all()):
        row = first + int(finite.int().argmin())
        raise InputError(
            f"{whose}row {row}: a layer's output holds NaN, infinity, or values too large for the "
            f"Gram matrix of power {power}; remove the row, or scale it down"
        )


def _ranges(
    clf: WrappedClassifier,
    train: Any,
    layers: Sequence[str],
    powers: Sequence[int],
    by_label: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Least and largest value of each class: (C, P, D_l) for each call of a layer."""
    import torch

    low: list[Tensor] = []
    high: list[Tensor] = []
    for logits, labels, vectors in _passes(clf, train, layers, powers, "training inputs: "):
        if by_label and labels is None:
            raise InputError("ranges of labels need labelled training inputs")
        rows = torch.from_numpy(label_array(labels)) if by_label else logits.argmax(1)
        rows = rows.to(logits.device)
        if not low:
            low, high = (
                [v.new_full((logits.shape[1], *v.shape[1:]), edge) for v in vectors]
                for edge in (float("inf"), -float("inf"))
            )
        for values, least, most in zip(vectors, low, high, strict=True):
            places = rows[:, None, None].expand_as(values)
            least.scatter_reduce_(0, places, values, "amin")
            most.scatter_reduce_(0, places, values, "amax")
    empty = torch.isinf(low[0]).flatten(1).all(1)
    if bool(empty.any()):
        kind = "labelled" if by_label else "predicted"
        raise InputError(
            f"no training row is {kind} as class {int(empty.int().argmax())}; Gram needs rows of "
            "every class"
        )
    return tuple(map(to_array, low)), tuple(map(to_array, high))
