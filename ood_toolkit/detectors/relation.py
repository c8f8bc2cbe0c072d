"""The relation graph: similarity to every training row, in features and in prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_toolkit.chunks import (
    feature_chunks,
    located,
    probability_chunks,
    refuse_bad_row,
    scored_features,
)
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.detectors.catalogue import method
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.parameters import require
from ood_toolkit.streamed import refuse_all_rows

__all__ = ["Relation", "RelationScorer"]

BANK_ROWS = 512
"""Training rows compared with a chunk of inputs at a time."""


@method(
    "relation",
    family="features + head",
    needs="logits features",
    train="logits features",
    reference="Kim et al., NeurIPS 2023",
    laws="class_permutation feature_rotation feature_scale logit_shift",
    grid={"power": (1.0, 2.0, 4.0, 6.0, 8.0)},
)
@dataclass(frozen=True)
class Relation:
    """Sum of the similarities, in features and in prediction, to all training rows.

    S = sum_i k_i^power over the training rows with k_i > threshold, k_i = max(cos(f, f_i), 0)
    <p, p_i>, in [0, N_train]; larger = more in-distribution.  The whole training set is the
    bank, N N_train (D + C) products in blocks of bounded memory.  A feature row of zeros has
    no direction and is refused.

    Parameters
    ----------
    power : float
        Temperature of the kernel, > 0; OpenOOD's default, of its grid 1, 2, 4, 6, 8.
    threshold : float
        Relations up to it do not count, in [0, 1).

    Notes
    -----
    Fit O(N (C + D)) time, O(N (C + D)) memory; score O(N B (C + D)) time, O(N + C + D) memory.

    Works where training rows that are alike in features are alike in prediction; fails where
    classes are unbalanced, for the sum counts rows and those of a rare class score low.

    References
    ----------
    Kim, Yun & Song, "Neural Relation Graph: A Unified Framework for Identifying Label Noise
    and Outlier Data", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ood_toolkit import Outputs, Relation
    >>> train = Outputs(logits=np.log([[0.9, 0.1], [0.2, 0.8]]), features=np.eye(2))
    >>> x = Outputs(logits=np.log([[0.6, 0.4]]), features=np.array([[3.0, 4.0]]))
    >>> Relation().fit(train).score(x).round(4)
    array([0.7])
    """

    power: float = 1.0
    threshold: float = 0.03

    def __post_init__(self) -> None:
        require(self.power > 0, f"relation.power must be positive, got {self.power}")
        require(
            0 <= self.threshold < 1,
            f"relation.threshold must lie in [0, 1), got {self.threshold}",
        )

    def fit(self, train: Outputs | None, validation: Outputs | None = None, /) -> RelationScorer:
        """Keep directions and probabilities of the training rows."""
        if train is None or train.features is None or train.logits is None:
            raise InputError("relation needs training outputs with logits and features")
        if len(train) == 0:
            raise InputError(located(train, "relation cannot be fitted on zero rows"))
        refuse_all_rows(train.features, 2)
        refuse_all_rows(train.logits, 2)
        wide = np.float64 in (train.features.dtype, train.logits.dtype)
        dtype = np.float64 if wide else np.float32
        directions = np.empty(train.features.shape, dtype)
        probabilities = np.empty(train.logits.shape, dtype)
        for part, f in feature_chunks(train, unit_length=True):
            directions[part] = f
        for part, p in probability_chunks(train):
            probabilities[part] = p
        return RelationScorer(
            self, train.classes, train.features.shape[1], directions, probabilities
        )


@dataclass(frozen=True)
class RelationScorer(FittedScorer):
    """Fitted `Relation`.

    Attributes
    ----------
    directions : (B, D) array of float32 or float64
        Training features divided by their length.
    probabilities : (B, C) array of the same type
        Softmax of the training logits.
    """

    directions: Array
    probabilities: Array

    shapes = {"directions": "B D", "probabilities": "B C"}

    def _score(self, x: Outputs) -> Array:
        dtype, power, threshold = (
            self.directions.dtype,
            self.detector.power,
            self.detector.threshold,
        )

        def judge(f: Array, part: slice) -> Array:
            assert x.logits is not None
            p, bad = softmax_rows(x.logits[part])
            refuse_bad_row(x, part.start + bad if bad >= 0 else -1)
            directions, probabilities = f.astype(dtype), p.astype(dtype)
            scores = np.zeros(len(f))
            for start in range(0, len(self.directions), BANK_ROWS):
                bank = slice(start, start + BANK_ROWS)
                relations = directions @ self.directions[bank].T
                relations *= probabilities @ self.probabilities[bank].T
                relations[relations <= threshold] = 0.0  # negative cosines too
                if power != 1.0:
                    relations **= power
                scores += relations.sum(axis=1, dtype=np.float64)
            return scores

        return scored_features(x, judge, unit_length=True)

    def report(self) -> Mapping[str, Any]:
        """Rows in the bank."""
        return {"rows": len(self.directions)}
