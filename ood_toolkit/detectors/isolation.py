"""Isolation forest: how few random splits set a feature apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import located, scored_features
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.detectors.training import feature_matrix, training_features
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require, seed_of_32_bits

__all__ = ["IsolationForest", "IsolationForestScorer"]

MOST = float(np.finfo(np.float32).max)
"""Largest size of a feature that a tree can read."""


def mean_path(rows: Array) -> Array:
    """Mean depth of an unsuccessful search in a binary tree of so many rows."""
    safe = np.maximum(rows, 2.0)
    many = 2.0 * (np.log(safe - 1.0) + np.euler_gamma) - 2.0 * (safe - 1.0) / safe
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, many))


@method(
    "isolation_forest",
    family="features",
    needs="features",
    train="features",
    reference="Liu et al., ICDM 2008",
)
@dataclass(frozen=True)
class IsolationForest:
    """Isolation forest: depth at which random splits set the feature apart.

    S = -2^(-mean depth / c(n)), in [-1, 0); larger = more in-distribution.  The depth in a
    tree is that of the leaf plus c(rows in the leaf); c(n) is the mean depth of an
    unsuccessful search among the n rows a tree is grown on.  Trees are grown by scikit-learn
    and equal its `score_samples`; they are kept as plain arrays, and split features as float32.

    Parameters
    ----------
    trees : int
        How many.
    samples : int
        Rows each tree is grown on, drawn without replacement; at most all.
    seed : int
        Of scikit-learn's generator.

    Notes
    -----
    Fit O(N D + t s log s) time, O(N D + t s) memory; score O(N D + N t log s) time, O(N + D)
    memory; t trees on s rows each.

    Works where outliers have extreme values in single columns; fails where only the combination is
    unusual, or where all activations of outliers are small and so in the midst of the training
    rows: they then score best.

    References
    ----------
    Liu, Ting & Zhou, "Isolation Forest", ICDM 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import IsolationForest, Outputs
    >>> train = Outputs(features=np.random.default_rng(0).normal(size=(200, 2)))
    >>> x = Outputs(features=np.array([[0.0, 0.0], [9.0, 9.0]]))
    >>> near, far = IsolationForest().fit(train).score(x)
    >>> bool(near > far)
    True
    """

    trees: int = 100
    samples: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.trees >= 1, f"isolation_forest.trees must be >= 1, got {self.trees}")
        require(self.samples >= 2, f"isolation_forest.samples must be >= 2, got {self.samples}")

    def fit(
        self, train: Outputs | None, validation: Outputs | None = None, /
    ) -> IsolationForestScorer:
        """Grow the trees."""
        from sklearn import ensemble

        record = training_features("isolation_forest", train)
        if len(record) == 1:
            raise InputError(located(record, "isolation_forest needs at least two training rows"))
        rows = feature_matrix(record)
        if np.abs(rows).max() > MOST:
            raise InputError(
                located(record, f"isolation_forest: a feature is beyond {MOST:.3g}; rescale them")
            )
        samples = min(self.samples, len(rows))
        forest = ensemble.IsolationForest(
            n_estimators=self.trees, max_samples=samples, random_state=seed_of_32_bits(self.seed)
        ).fit(rows.astype(np.float32))
        features, thresholds, children, depths, roots, size = [], [], [], [], [], 0
        for grown in forest.estimators_:
            tree = grown.tree_
            leaf = tree.children_left < 0
            own = np.arange(tree.node_count)
            sides = np.stack([tree.children_left, tree.children_right], axis=1)
            children.append(np.where(leaf[:, np.newaxis], own[:, np.newaxis], sides) + size)
            features.append(np.where(leaf, 0, tree.feature))
            thresholds.append(np.where(leaf, 0.0, tree.threshold))
            depths.append(_depths(sides) + mean_path(tree.n_node_samples))
            roots.append(size)
            size += tree.node_count
        return IsolationForestScorer(
            self,
            0,
            rows.shape[1],
            np.concatenate(features).astype(np.int32),
            np.concatenate(thresholds),
            np.concatenate(children).astype(np.int32),
            np.concatenate(depths),
            np.array(roots, dtype=np.int32),
            samples,
        )


def _depths(sides: Array) -> Array:
    """Edges between the root and each node; a parent comes before its children."""
    depth = np.zeros(len(sides))
    for node, (left, right) in enumerate(sides.tolist()):
        if left >= 0:
            depth[left] = depth[right] = depth[node] + 1
    return depth


@dataclass(frozen=True)
class IsolationForestScorer(FittedScorer):
    """Fitted `IsolationForest`: the nodes of all trees.

    Attributes
    ----------
    features : (M,) array of int32
        Which column a node splits; 0 at a leaf.
    thresholds : (M,) array of float64
        A feature up to this goes left.
    children : (M, 2) array of int32
        Left and right node; a leaf is its own child.
    depths : (M,) array of float64
        Edges from the root, plus the mean path among the node's training rows.
    roots : (T,) array of int32
        First node of each tree.
    samples : int
        Rows each tree was grown on.
    """

    features: Array
    thresholds: Array
    children: Array
    depths: Array
    roots: Array
    samples: int

    shapes = {
        "features": "M",
        "thresholds": "M",
        "children": "M 2",
        "depths": "M",
        "roots": "T",
    }

    def _score(self, x: Outputs) -> Array:
        scale = len(self.roots) * float(mean_path(np.array([self.samples]))[0])

        def judge(chunk: Array, _: slice) -> Array:
            with np.errstate(over="ignore"):  # beyond float32 a feature is right of every split
                rows = chunk.astype(np.float32)
            total = np.zeros(len(rows))
            for root in self.roots:
                total += self.depths[self._leaves(rows, int(root))]
            return -(2.0 ** (-total / scale))

        return scored_features(x, judge)

    def _leaves(self, rows: Array, root: int) -> Array:
        """The leaf of one tree that each row falls in.  (n, D) -> (n,)."""
        at, row = np.full(len(rows), root), np.arange(len(rows))
        while True:
            right = rows[row, self.features[at]] > self.thresholds[at]
            following = self.children[at, right.astype(np.intp)]
            if np.array_equal(following, at):
                return at
            at = following

    def report(self) -> Mapping[str, Any]:
        """Trees, their nodes, and the rows each was grown on."""
        return {"trees": len(self.roots), "nodes": len(self.depths), "samples": self.samples}
