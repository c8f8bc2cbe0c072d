"""Class-wise Gaussians over blocks of feature columns, as HVCM scores its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.base import FittedScorer, training_labels
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.covariance import eigenpairs
from ood_toolkit.detectors.training import (
    feature_matrix,
    groups_of_features,
    training_features,
)
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require

__all__ = ["HVCMBlocks", "HVCMBlocksScorer"]

WIDTH = 32
"""Columns in an automatic block, at most; the authors' attributes have as many."""


@method(
    "hvcm_blocks",
    family="features",
    needs="features",
    train="features labels",
    reference="Li et al., ICCV 2023, on any feature",
    laws="class_permutation",
    grid={"blocks": ("auto", 1, 2, 4, 8, 16, 32)},
)
@dataclass(frozen=True)
class HVCMBlocks:
    """Mahalanobis distance to the nearest class, summed over blocks of columns.

    S = -min_c (1/K) sum_k (f_k - mu_ck)^T Sigma_ck^-1 (f_k - mu_ck) / 2, in (-inf, 0];
    larger = more in-distribution.  f_k is one of K contiguous blocks of columns, of sizes that
    differ by one at most, the larger ones first.  Sigma_ck is the unbiased covariance of the
    block over the rows of class c, plus `ridge` times its mean variance on the diagonal.  A
    block that does not vary within a class, as where the class has one row, takes the
    covariance pooled over the classes; one that varies in none counts 0.

    Parameters
    ----------
    blocks : int or "auto"
        K; 1 is one Gaussian a class, D has variances only.  "auto" takes the fewest with at
        most 32 columns each, the size of the authors' attributes.
    ridge : float
        Share of a block's mean variance that is added to each variance.

    Notes
    -----
    Fit O(N D w + C D w^2) time, O(N D + C D w) memory; score O(N C D w) time, O(N + D) memory; w
    columns in a block.

    Works where columns that vary together stand side by side, as learned attributes do; fails where
    their order means nothing, since covariance across blocks is left out, and where a class has few
    rows for the columns of a block.

    References
    ----------
    Li et al., "Hierarchical Visual Categories Modeling: A Joint Representation Learning and
    Density Estimation Framework for Out-of-Distribution Detection", ICCV 2023.  Theirs are
    learned attributes with learned weights; here features are cut and weights are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import HVCMBlocks, Outputs
    >>> f = np.array([[0.0, 0.0], [2.0, 1.0], [1.0, 3.0], [9.0, 9.0], [8.0, 7.0], [6.0, 8.0]])
    >>> train = Outputs(features=f, labels=[0, 0, 0, 1, 1, 1])
    >>> x = Outputs(features=np.array([[1.0, 1.0], [5.0, 0.0]]))
    >>> HVCMBlocks(blocks=2).fit(train).score(x).round(3)
    array([-0.012, -4.19 ])
    """

    blocks: int | Literal["auto"] = "auto"
    ridge: float = 1e-6

    def __post_init__(self) -> None:
        require(
            self.blocks == "auto" or self.blocks >= 1,
            f"hvcm_blocks.blocks must be at least 1, got {self.blocks}",
        )
        require(0 < self.ridge < np.inf, f"hvcm_blocks.ridge must be positive, got {self.ridge}")

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> HVCMBlocksScorer:
        """Learn mean and covariance of each block in each class."""
        record = training_features("hvcm_blocks", train)
        labels = training_labels("hvcm_blocks", record)
        assert record.features is not None
        dims = record.features.shape[1]
        count = -(-dims // WIDTH) if self.blocks == "auto" else self.blocks
        if count > dims:
            raise BadParameter(f"hvcm_blocks.blocks = {count} is more than the {dims} features")
        sizes = np.full(count, dims // count)
        sizes[: dims % count] += 1
        members = [np.flatnonzero(labels == c) for c in range(int(labels.max()) + 1)]
        means, scatters = [], []  # of each class, (K, B) and (K, B, B)
        for group in groups_of_features(record, members):
            rows = feature_matrix(group, dtype=np.float64)
            mean = rows.mean(axis=0, keepdims=True)
            means.append(in_blocks(mean, sizes)[:, 0])
            scatters.append(_scatter(in_blocks(rows - mean, sizes)))
        pooled = sum(scatters, np.zeros(1)) / max(len(record) - len(members), 1)
        if not np.trace(pooled, axis1=1, axis2=2).any():
            raise InputError(
                located(record, "hvcm_blocks: every training row equals the mean of its class")
            )
        axes = np.array(
            [
                self._whitening(scatter / max(len(at) - 1, 1), pooled, sizes)
                for scatter, at in zip(scatters, members, strict=True)
            ]
        )
        return HVCMBlocksScorer(
            self, 0, dims, sizes, np.array(means), axes, min(len(at) for at in members)
        )

    def _whitening(self, covariance: Array, pooled: Array, sizes: Array) -> Array:
        """Maps of one class after which each block has the identity as covariance.  (K, B, B)."""
        level = np.trace(covariance, axis1=1, axis2=2)
        least = np.finfo(np.float64).eps * np.trace(pooled, axis1=1, axis2=2)
        chosen = np.where((level > least)[:, np.newaxis, np.newaxis], covariance, pooled)
        values, vectors = eigenpairs(chosen, "hvcm_blocks")
        # eigenvalues that are rounding would drown in the ridge, or it in them
        rounding = values.shape[1] * np.finfo(np.float64).eps * values[:, -1:]
        values = np.where(values > rounding, values, 0.0)
        values += self.ridge * np.trace(chosen, axis1=1, axis2=2)[:, np.newaxis] / sizes[:, None]
        scale = np.where(values > 0, 1.0 / np.sqrt(np.where(values > 0, values, 1.0)), 0.0)
        return np.asarray(vectors * scale[:, np.newaxis, :])


def in_blocks(rows: Array, sizes: Array) -> Array:
    """Columns cut into blocks, the shorter ones filled up with zeros.  (n, D) -> (K, n, B)."""
    cut = np.zeros((len(sizes), len(rows), int(sizes[0])))
    start = 0
    for k, size in enumerate(sizes.tolist()):
        cut[k, :, :size] = rows[:, start : start + size]
        start += size
    return cut


def _scatter(blocks: Array) -> Array:
    return np.asarray(blocks.transpose(0, 2, 1) @ blocks)


@dataclass(frozen=True)
class HVCMBlocksScorer(FittedScorer):
    """Fitted `HVCMBlocks`.

    Attributes
    ----------
    sizes : (K,) array of int64
        Columns in each block.
    means : (C, K, B) array of float64
        Mean of each block of each class, filled up with zeros.
    axes : (C, K, B, B) array of float64
        (f_k - mean) @ axes has the identity as covariance.
    smallest : int
        Rows of the smallest class.
    """

    sizes: Array
    means: Array
    axes: Array
    smallest: int

    shapes = {"sizes": "K", "means": "P K B", "axes": "P K B B"}

    def _score(self, x: Outputs) -> Array:
        def judge(chunk: Array, _: slice) -> Array:
            blocks, nearest = in_blocks(chunk, self.sizes), np.full(len(chunk), np.inf)
            for mean, axes in zip(self.means, self.axes, strict=True):
                z = (blocks - mean[:, np.newaxis, :]) @ axes
                np.minimum(nearest, np.einsum("knb,knb->n", z, z), out=nearest)
            return nearest / (-2.0 * len(self.sizes))

        return scored_features(x, judge)

    def report(self) -> Mapping[str, Any]:
        """Blocks, columns in the largest, and rows of the smallest class."""
        return {
            "blocks": len(self.sizes),
            "largest_block": int(self.sizes[0]),
            "smallest_class": self.smallest,
        }
