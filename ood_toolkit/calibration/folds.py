"""Parts of labelled rows for cross-validation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ood_toolkit.outputs import Array

__all__ = ["stratified_folds"]


def stratified_folds(labels: Array, folds: int) -> Iterator[Array]:
    """Masks of the rows to leave out, one a fold; each class is dealt out evenly.

    A class's rows go to the folds in turn, in a shuffled order that is the same in every
    call, so that rows sorted by anything do no harm.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    place = np.empty(len(labels), dtype=np.int64)
    begin = 0
    for c in np.unique(labels):
        rows = order[labels[order] == c]
        # classes begin at different folds: else all small classes would meet in the first
        place[rows] = (begin + np.arange(len(rows))) % folds
        begin += len(rows)
    for fold in range(folds):
        left_out: Array = place == fold
        yield left_out
