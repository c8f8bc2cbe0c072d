"""GROOD: how the nearest-prototype loss of a row would change if the outlier prototype moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_toolkit.chunks import feature_chunks
from ood_toolkit.detectors.base import numbers_of
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models.batches import iterate, split_batch
from ood_toolkit.models.classifier import WrappedClassifier
from ood_toolkit.models.heads import find_module
from ood_toolkit.models.streaming import label_array
from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.outputs import Array, Outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Grood", "mixed_features", "prototype_gradients"]

_BATCH = 128
_ROWS = 1024


def prototype_gradients(features: Array, prototypes: Array, outlier: Array) -> Array:
    """Gradient of each row's nearest-prototype loss with respect to the outlier prototype.

    The loss is the cross-entropy of softmax(-||f - p_1||, ..., -||f - p_C||, -||f - o||) against
    the predicted class; its gradient in o is p_o (f - o) / ||f - o||, whatever that class is,
    with p_o the outlier prototype's probability, and 0 at the prototype itself.

    Parameters
    ----------
    features : (N, D) array
        What the head multiplies.
    prototypes : (C, D) array
        Class means.
    outlier : (D,) array
        The prototype of what lies outside.

    Returns
    -------
    (N, D) array of float64
        Of length p_o, at most 1.

    Examples
    --------
    >>> prototype_gradients(np.array([[3.0, 0.0]]), np.array([[3.0, 3.0]]), np.zeros(2)).round(3)
    array([[0.5, 0. ]])
    """
    gradients = np.empty(features.shape)
    origin = outlier.astype(np.float64)
    centres = prototypes.astype(np.float64) - origin
    lengths = (centres * centres).sum(axis=1)
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        away = features[rows].astype(np.float64) - origin
        # rows whose squares overflow become NaN
        with np.errstate(over="ignore", invalid="ignore"):
            own = (away * away).sum(axis=1)
            squared = own[:, None] - 2.0 * away @ centres.T + lengths
            own = np.sqrt(own)
            scores = np.column_stack([-np.sqrt(squared.clip(min=0.0)), -own])
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            outside = share[:, -1] / share.sum(axis=1)
            gradients[rows] = away * (outside / np.where(own > 0, own, 1.0))[:, None]
    return gradients


@dataclass(frozen=True)
class Grood:
    """Distance of a row's gradient (`prototype_gradients`) to the nearest one of training.

    S = -min_i ||g(x) - g_i||, in [-2, 0]; larger = more in-distribution.  Made by `fit`.

    Parameters
    ----------
    prototypes : (C, D) array of float64
        Mean feature of each class.
    outlier : (D,) array of float64
        The prototype of what lies outside.
    index : NeighborIndex
        Gradients of the training rows that are predicted right.

    Notes
    -----
    Score O(N D (C + B)) time, B being the training rows that are kept.

    Works where outliers lie between the classes; fails where the outlier prototype lies among
    them.

    References
    ----------
    ElAraby, Sahoo, Pequignot, Novello & Paull, "GROOD: Gradient-Aware Out-of-Distribution
    Detection", TMLR 2025, arXiv 2312.14427; what the text leaves open follows the first author's
    code in OpenOOD (`openood/postprocessors/grood.py`): mixing with the mean maps of the class
    with the second largest logit, in equal parts, and banks of rows that are predicted right.
    """

    prototypes: Array
    outlier: Array
    index: NeighborIndex

    @classmethod
    def fit(
        cls,
        clf: WrappedClassifier,
        train: Any,
        *,
        layer: str | None = None,
        outliers: Any = None,
        mix: float = 0.5,
    ) -> Grood:
        """Learn class means, the outlier prototype and the training rows' gradients.

        Parameters
        ----------
        clf : WrappedClassifier
            Left as it was found.
        train : iterable of (inputs, labels) that can be read again
            Labelled training inputs.
        layer : str, optional
            An early layer, whose maps are mixed with the mean maps of another class; the mean
            feature that follows is the outlier prototype.
        outliers : iterable of batches, tensor or Outputs, optional
            Takes the place of `layer`: their mean feature is the prototype.  They must not be
            those that are reported on.
        mix : float
            Share of a row's own maps, in [0, 1].

        Raises
        ------
        BadParameter
            If neither `layer` nor `outliers` is given, or both are; if `mix` is no share.
        InputError
            If labels are missing, a class has no row, none is predicted right, or features are
            not finite or too large.
        """
        if (layer is None) == (outliers is None):
            raise BadParameter("Grood.fit needs layer= or outliers=, and not both")
        if not 0 <= mix <= 1:
            raise BadParameter(f"mix must lie in [0, 1], got {mix}")
        x = clf.outputs(train, progress=False)
        if x.labels is None or (x.labels < 0).any():
            raise InputError("GROOD needs training inputs that are all labelled")
        assert x.features is not None
        assert x.logits is not None
        classes = x.logits.shape[1]
        prototypes = np.stack([_mean(x.features, x.labels == c, c) for c in range(classes)])
        if layer is not None:
            outside = mixed_features(clf, train, layer, mix)
        else:
            found = outliers if isinstance(outliers, Outputs) else clf.outputs(outliers)
            if found.features is None:
                raise InputError("the outliers have no features")
            outside = found.features
        outlier = outside.mean(axis=0, dtype=np.float64)
        right = x.logits.argmax(axis=1) == x.labels
        if not right.any():
            raise InputError("no training row is predicted right")
        gradients = _usable(x, right, prototypes, outlier)
        return cls(prototypes, outlier, NeighborIndex.build(gradients))

    def score(self, x: Outputs, /) -> Array:
        """(N,) float64 scores of a record with features; larger = more in-distribution.

        Raises
        ------
        InputError
            If there are no features, or naming the first row of NaN, of infinity, or of values
            so large that its score would be NaN.
        """
        if x.features is None:
            raise InputError("GROOD needs features")
        gradients = _usable(x, np.ones(len(x), bool), self.prototypes, self.outlier)
        return -self.index.kth_distance(gradients, 1)


def _usable(x: Outputs, wanted: Array, prototypes: Array, outlier: Array) -> Array:
    """`prototype_gradients` of the wanted rows, which must be finite and not too large."""
    for _ in feature_chunks(x):
        pass  # which refuses NaN and infinity
    assert x.features is not None
    gradients = prototype_gradients(x.features[wanted], prototypes, outlier)
    found = np.zeros(len(x))
    found[wanted] = gradients.sum(axis=1)
    numbers_of("GROOD", ["features"], x, found)
    return gradients


def _mean(features: Array, rows: Array, number: int) -> Array:
    if not rows.any():
        raise InputError(f"class {number} has no training row; GROOD needs rows of every class")
    return np.asarray(features[rows].mean(axis=0, dtype=np.float64))


def mixed_features(clf: WrappedClassifier, train: Any, layer: str, mix: float) -> Array:
    """Features that follow when each row's maps are mixed with another class's mean maps.

    The other class is the one with the second largest logit.  The loader is read twice.

    Returns
    -------
    (N, D) array of float64
    """
    import torch

    network = clf.network
    module = find_module(network.inner, layer, "layer")
    means = _mean_maps(clf, train, module)
    parts = []
    with network.running() as run:
        for batch in iterate(train, _BATCH):
            inputs, _ = split_batch(batch, network.unpack)
            second = run(inputs).logits.topk(2, dim=1).indices[:, 1]
            other = means[second]

            def mixed(_: Any, given: Any, maps: Tensor, other: Tensor = other) -> Tensor:
                return mix * maps + (1.0 - mix) * other.to(maps.dtype)

            handle = module.register_forward_hook(mixed)
            try:
                parts.append(run(inputs).features.double().cpu())
            finally:
                handle.remove()
    return np.asarray(torch.cat(parts).numpy())


def _mean_maps(clf: WrappedClassifier, train: Any, module: nn.Module) -> Tensor:
    """(C, D, ...) mean output of a layer for each class, in float64."""
    import torch

    sums: list[Tensor] = []
    counts = torch.zeros(0)
    for logits, maps, labels in _maps(clf, train, module):
        if not sums:
            sums.append(maps.new_zeros((logits.shape[1], *maps.shape[1:]), dtype=torch.float64))
            counts = torch.zeros(logits.shape[1], dtype=torch.float64, device=maps.device)
        sums[0].index_add_(0, labels, maps.double())
        counts.index_add_(0, labels, torch.ones_like(labels, dtype=torch.float64))
    return sums[0] / counts.view(-1, *(1 for _ in range(sums[0].dim() - 1)))


def _maps(
    clf: WrappedClassifier, train: Any, module: nn.Module
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits, a layer's whole output and labels, batch by batch."""
    import torch

    network = clf.network
    seen: list[Tensor] = []
    with network.running() as run, ExitStack() as stack:
        # a copy: what follows may work in place
        handle = module.register_forward_hook(lambda _, given, maps: seen.append(maps.clone()))
        stack.callback(handle.remove)
        for batch in iterate(train, _BATCH):
            inputs, labels = split_batch(batch, network.unpack)
            logits = run(inputs).logits
            if not seen:
                raise InputError("the layer takes no part in the forward pass")
            maps = seen[-1]
            seen.clear()
            yield logits, maps, torch.from_numpy(label_array(labels)).to(maps.device)
