"""WeiPer: how usual the values of the feature, and of its logits under perturbed heads, are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.densities import Grid, divergence
from ood_toolkit.detectors.head_check import warn_if_head_disagrees
from ood_toolkit.detectors.training import finite
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import CHUNK
from ood_toolkit.outputs import Array, Head, Outputs
from ood_toolkit.parameters import require

__all__ = ["WeiPer", "WeiPerScorer"]

FEATURE_FLOOR, LOGIT_FLOOR = 0.01, 0.025
"""What is added to the bins of features and of perturbed logits; the authors' values."""

COLUMNS = 1024
"""Perturbed logits of an input that are worked out at a time, or those of one copy."""

BLOCK_ROWS = 64 * CHUNK
"""Inputs whose histograms are held at a time."""


@method(
    "weiper",
    family="features + head",
    needs="features",
    train="features head",
    reference="Granz et al., NeurIPS 2024",
    grid={"distance": (1.8, 2.0, 2.2, 2.4), "lambda_1": (0.1, 1.0, 2.5, 4.0)},
)
@dataclass(frozen=True)
class WeiPer:
    """WeiPer+KLD: divergence of a row's histogram of values from that of training.

    S = -KL_f - lambda_1 KL_w + lambda_2 m, unbounded; larger = more in-distribution.  KL_f is
    the symmetric KL divergence between the histogram of the row's D features and the mean
    histogram of training; KL_w that of its r C logits under r perturbed copies of the head; m
    the mean over the copies of the largest softmax probability.  Each copy moves the weight w
    of a class by `distance` ||w|| in a random direction.  Only the row's histogram is smoothed,
    as in the authors' code.  Copies are drawn anew from `seed` when they are needed and never
    stored; where the authors' code draws others for every batch, these stay the same.

    Parameters
    ----------
    copies : int
        r, perturbed copies of the head.
    distance : float
        delta, length of a perturbation in lengths of the weight, >= 0.
    bins : int
        Equal bins between the smallest and the largest training value.
    smoothing : int
        Bins that the moving average over the row's histogram of features spans.
    logit_smoothing : int
        Bins that the moving average over its histogram of perturbed logits spans.
    lambda_1 : float
        Weight of the perturbed logits' divergence.
    lambda_2 : float
        Weight of their confidence.
    seed : int
        Of the perturbations: copy j comes from numpy's `default_rng((seed, j))`.

    Notes
    -----
    Fit O(N C D r) time, O(C D + b) memory; score O(N C D r) time, O(N + C D + b) memory; r copies,
    b bins.

    Works where a wide layer gives outliers another mixture of large and small values; fails where D
    is small, for a histogram of few values is mostly noise, and where usual values occur in the
    wrong columns.

    References
    ----------
    Granz, Heurich & Landgraf, "WeiPer: OOD Detection using Weight Perturbations of Class
    Projections", NeurIPS 2024.  The defaults are those of its code for CIFAR-10, which has
    others for CIFAR-100 and ImageNet.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Head, Outputs, WeiPer
    >>> head = Head(np.eye(4))
    >>> train = Outputs(features=3 * np.eye(4)[[0, 1, 2, 3]] + 0.2, head=head)
    >>> x = Outputs(features=np.array([[3.1, 0.2, 0.2, 0.3], [1.5, 1.6, 1.4, 1.5]]))
    >>> scores = WeiPer(copies=8).fit(train).score(x)
    >>> bool(scores[0] > scores[1])
    True
    """

    copies: int = 100
    distance: float = 1.8
    bins: int = 100
    smoothing: int = 4
    logit_smoothing: int = 15
    lambda_1: float = 2.5
    lambda_2: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.copies >= 1, f"weiper.copies must be at least 1, got {self.copies}")
        require(self.distance >= 0, f"weiper.distance must not be negative, got {self.distance}")
        require(self.bins >= 1, f"weiper.bins must be at least 1, got {self.bins}")
        for name in ("smoothing", "logit_smoothing"):
            require(
                getattr(self, name) >= 1,
                f"weiper.{name} must be at least 1, got {getattr(self, name)}",
            )

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> WeiPerScorer:
        """Learn the mean histograms of features and of perturbed logits."""
        if train is None or train.features is None or train.head is None:
            raise InputError("weiper needs training outputs with features and head")
        if len(train) == 0:
            raise InputError(located(train, "weiper cannot be fitted on zero rows"))
        warn_if_head_disagrees("weiper", train)
        values = _range(f for _, f in feature_chunks(train))
        logits = _range(z for _, z in self.perturbed_logits(train, train.head))
        finite(logits, located(train, "weiper"), "features or the head")
        features_on, logits_on = (Grid.over(ends, self.bins) for ends in (values, logits))
        features_seen = sum(features_on.counts(f).sum(axis=0) for _, f in feature_chunks(train))
        logits_seen = sum(
            logits_on.counts(z).sum(axis=0) for _, z in self.perturbed_logits(train, train.head)
        )
        return WeiPerScorer(
            self,
            0,
            train.features.shape[1],
            train.head.weight,
            train.head.bias,
            values,
            logits,
            np.asarray(features_seen / np.sum(features_seen)),
            np.asarray(logits_seen / np.sum(logits_seen)),
        )

    def perturbed_logits(self, x: Outputs, head: Head) -> Iterator[tuple[slice, Array]]:
        """Logits under some copies at a time, chunk by chunk.  (n, copies C) each."""
        weight, bias = head.weight.astype(np.float64), head.bias.astype(np.float64)
        length = self.distance * np.linalg.norm(weight, axis=1, keepdims=True)
        together = max(1, COLUMNS // len(weight))
        for first in range(0, self.copies, together):
            copies = range(first, min(first + together, self.copies))
            moved = np.concatenate(
                [weight + length * _directions(weight.shape, self.seed, j) for j in copies]
            )
            offsets = np.tile(bias, len(copies))
            for part, f in feature_chunks(x):
                yield part, f @ moved.T + offsets


def _directions(shape: tuple[int, ...], seed: int, copy: int) -> Array:
    """Random unit vectors, one a row."""
    noise = np.random.default_rng((seed, copy)).standard_normal(shape)
    return np.asarray(noise / np.linalg.norm(noise, axis=1, keepdims=True))


def _range(chunks: Iterator[Array]) -> Array:
    """Smallest and largest value of all chunks.  (2,) float64."""
    ends = np.array([(chunk.min(), chunk.max()) for chunk in chunks])
    return np.array([ends[:, 0].min(), ends[:, 1].max()])


@dataclass(frozen=True)
class WeiPerScorer(FittedScorer):
    """Fitted `WeiPer`.

    Attributes
    ----------
    weight, bias : (C, D) and (C,) arrays of float
        The head's.
    feature_range, logit_range : (2,) array of float64
        Smallest and largest training value.
    feature_density, logit_density : (bins,) array of float64
        Mean share of a training row's values in each bin.
    """

    weight: Array
    bias: Array
    feature_range: Array
    logit_range: Array
    feature_density: Array
    logit_density: Array

    shapes = {
        "weight": "K D",
        "bias": "K",
        "feature_range": "R",
        "logit_range": "R",
        "feature_density": "B",
        "logit_density": "B",
    }

    def _score(self, x: Outputs) -> Array:
        scores, detector = np.empty(len(x)), self.detector
        grid = Grid.over(self.feature_range, detector.bins)
        for part, f in feature_chunks(x):
            density = grid.counts(f) / f.shape[1]
            scores[part] = -divergence(
                density, self.feature_density, detector.smoothing, FEATURE_FLOOR
            )
        for start in range(0, len(x), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            far, confidence = self._of_perturbed(x.rows(block))
            scores[block] += detector.lambda_2 * confidence - detector.lambda_1 * far
        return scores

    def _of_perturbed(self, x: Outputs) -> tuple[Array, Array]:
        """Divergence and mean confidence of the perturbed logits.  (n,) each."""
        detector, classes = self.detector, len(self.weight)
        grid = Grid.over(self.logit_range, detector.bins)
        counts = np.zeros((len(x), detector.bins), dtype=np.int64)
        confidence = np.zeros(len(x))
        for part, z in detector.perturbed_logits(x, Head(self.weight, self.bias)):
            counts[part] += grid.counts(z)
            copies = z.reshape(len(z), -1, classes)
            excess = np.exp(copies - copies.max(axis=2, keepdims=True)).sum(axis=2)
            confidence[part] += (1.0 / excess).sum(axis=1)
        density = counts / (detector.copies * classes)
        far = np.empty(len(x))
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            far[part] = divergence(
                density[part], self.logit_density, detector.logit_smoothing, LOGIT_FLOOR
            )
        return far, confidence / detector.copies

    def report(self) -> Mapping[str, Any]:
        """The ranges that the bins cover."""
        return {
            "feature_range": [float(end) for end in self.feature_range],
            "logit_range": [float(end) for end in self.logit_range],
        }
