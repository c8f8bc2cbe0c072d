"""Neuron activation coverage: whether training ever brought the neurons into these states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, logit_chunks
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["NAC", "NACScorer"]

BASE = 1000.0
"""Base of the logarithm that spaces the bins; theirs."""


@method(
    "nac",
    family="features + head",
    needs="logits features",
    train="logits features labels head",
    reference="Liu et al., ICLR 2024",
    laws="class_permutation logit_shift",
    grid={"filled": (10, 50, 500), "bins": (50, 500), "steepness": (100.0, 1000.0, 3000.0)},
)
@dataclass(frozen=True)
class NAC:
    """Neuron activation coverage of the penultimate layer, NAC-UE.

    S = mean over neurons d of min(n_d / filled, 1), in [0, 1]; larger = more in-distribution.
    n_d counts the training rows whose state of neuron d lies in the same bin as that of the
    input.  The state is the sigmoid of steepness f_d g_d, with g = W^T (p - 1/C) the gradient of
    the KL divergence from uniform to p; for this layer it has a closed form.  The bins are
    those of the authors' code: `bins` edges, close together near 0, 1/2 and 1 by a logarithm
    of base 1000.

    Parameters
    ----------
    filled : int
        Rows that fill a bin, O* in the paper.
    bins : int
        Edges of the bins of a neuron, at least 4; even, as half of them lie on either side of 1/2.
    steepness : float
        alpha of the sigmoid, > 0.  The authors have 100 for CIFAR and 3000 for ImageNet.
    samples : int
        Training rows counted: equally many of each class, at least one, taken at even steps
        through the class.  The authors draw as many at random.

    Notes
    -----
    Fit O(N C D) time, O(N + D (C + b)) memory; score O(N D (C + log b)) time, O(N + C + D) memory;
    b bins.

    Works where outliers drive single neurons into states that training seldom saw; fails where each
    state is usual and only their combination is not, and where `steepness` and `bins` do not suit
    the layer.

    References
    ----------
    Liu, Tian, Li et al., "Neuron Activation Coverage: Rethinking Out-of-distribution Detection
    and Generalization", ICLR 2024, arXiv 2306.02879.  The defaults are those of its code for
    CIFAR-10 and the average-pooling layer.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import NAC, Head, Outputs
    >>> f = np.array([[2.0, 0.0], [2.1, 0.1], [0.0, 2.0], [0.1, 2.2]])
    >>> train = Outputs(features=f, labels=[0, 0, 1, 1], head=Head(np.eye(2)))
    >>> x = Outputs(features=np.array([[2.05, 0.05], [4.0, 3.0]]), head=Head(np.eye(2)))
    >>> NAC(filled=2, steepness=1.0).fit(train).score(x)
    array([0.25, 0.  ])
    """

    filled: int = 50
    bins: int = 50
    steepness: float = 100.0
    samples: int = 1000

    def __post_init__(self) -> None:
        require(self.filled >= 1, f"nac.filled must be at least 1, got {self.filled}")
        require(
            self.bins >= 4 and self.bins % 2 == 0,
            f"nac.bins must be even and at least 4, got {self.bins}",
        )
        require(self.steepness > 0, f"nac.steepness must be positive, got {self.steepness}")
        require(self.samples >= 1, f"nac.samples must be at least 1, got {self.samples}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> NACScorer:
        """Count the training rows in each bin of each neuron."""
        if train is None or train.features is None or train.head is None:
            raise InputError("nac needs training outputs with logits, features and head")
        labels = training_labels("nac", train)
        warn_if_head_disagrees("nac", train)
        weight = train.head.weight.astype(np.float64)
        edges = bin_edges(self.bins)
        counted = train.rows(balanced_rows(labels, self.samples))
        dims = weight.shape[1]
        counts = np.zeros((dims, edges.size + 1), dtype=np.int64)
        for _, drives in _drives(counted, weight):
            found = np.searchsorted(edges, self.steepness * drives, side="right")
            np.add.at(counts, (np.arange(dims), found), 1)
        return NACScorer(
            self, train.classes, dims, weight, edges, np.minimum(counts / self.filled, 1.0)
        )


def bin_edges(bins: int) -> Array:
    """Where one bin of the state ends and the next begins, as values before the sigmoid.

    The authors' edges of the state are logarithms of base 1000 of even steps from 1 to its
    root, which lie in [0, 1/2], and their mirror images in [1/2, 1]; here without 0 and 1,
    which no state leaves.  Before the sigmoid, because behind it states near 1/2 and 1 are
    rounded together.
    """
    steps = np.linspace(1.0, np.sqrt(BASE), bins // 2)
    lower = np.log(steps[1:-1]) / np.log(BASE)
    upper = 1.0 - lower[::-1]
    states = np.concatenate([lower, [0.5], upper])
    return np.asarray(np.log(states) - np.log1p(-states))


def balanced_rows(labels: Array, samples: int) -> Array:
    """Equally many rows of each class, `samples` in all or nearly so, at even steps."""
    present = np.bincount(labels)
    each = max(1, min(int(present.min()), samples // present.size))
    order = np.argsort(labels, kind="stable")
    starts = np.cumsum(present) - present
    picked = starts[:, None] + np.arange(each) * present[:, None] // each
    return np.sort(order[picked.ravel()])


def _drives(x: Outputs, weight: Array) -> Iterator[tuple[slice, Array]]:
    """Each neuron's activation times the gradient of KL(uniform, p).  Chunks (n, D)."""
    for (part, f), (_, z) in zip(feature_chunks(x), logit_chunks(x), strict=True):
        p, _ = softmax_rows(z)
        live = z > -np.inf
        p -= live / live.sum(axis=1, keepdims=True)
        yield part, f * (p @ weight)


@dataclass(frozen=True)
class NACScorer(FittedScorer):
    """Fitted `NAC`.

    Attributes
    ----------
    weight : (C, D) array of float64
        The head's.
    edges : (B - 1,) array of float64
        Between the bins, before the sigmoid.
    coverage : (D, B) array of float64
        How far each bin of each neuron is filled, in [0, 1].
    """

    weight: Array
    edges: Array
    coverage: Array

    shapes = {"weight": "C D", "edges": "E", "coverage": "D B"}

    def _score(self, x: Outputs) -> Array:
        scores = np.empty(len(x))
        neurons = np.arange(self.dims)
        for part, drives in _drives(x, self.weight):
            found = np.searchsorted(self.edges, self.detector.steepness * drives, side="right")
            scores[part] = self.coverage[neurons, found].mean(axis=1)
        return scores

    def report(self) -> Mapping[str, Any]:
        """Share of bins that training reached at all."""
        return {"bins_reached": float((self.coverage > 0).mean())}
