"""Rows that belong to no class, made from in-distribution rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.chunks import checked_statistics, located
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.statistics import PREDICTION
from ood_toolkit.outputs import Array, Outputs

__all__ = ["SEED", "pseudo_outliers"]

SEED = 0
"""Of the permutation that pairs the rows."""


def pseudo_outliers(x: Outputs) -> Outputs:
    """Midpoints between rows of different classes.

    Each row is paired with another by a fixed permutation; pairs of one class are left out.
    Features, further layers, logits and the logits of members are halved and added: where the
    head is linear, the logits of a midpoint are the midpoint of the logits, so that methods of
    either see the same rows.

    Parameters
    ----------
    x : Outputs
        In-distribution rows; a row without a label counts as the class it is predicted as.

    Returns
    -------
    Outputs
        At most as many rows, in float64, without labels and without tokens.

    Raises
    ------
    InputError
        If there is nothing that says which class a row is of, or all pairs are of one class.

    Notes
    -----
    A midpoint lies where the classifier has seen nothing, close to what it has seen: harder to
    tell from in-distribution rows than most real sets.  What is best for midpoints is not the
    best for every set; `docs/tuning.md` says how well the choice carried over.
    """
    classes = _classes(x)
    partner = np.random.default_rng(SEED).permutation(len(x))
    first = np.flatnonzero(classes != classes[partner])
    if first.size == 0:
        raise InputError(
            located(x, "pseudo-outliers lie between classes, and all rows are of one class")
        )
    second = partner[first]

    def middle(array: Array | None, axis: int = 0) -> Any:
        if array is None:
            return None
        pair = (np.take(array, rows, axis=axis).astype(np.float64) for rows in (first, second))
        return 0.5 * next(pair) + 0.5 * next(pair)

    return Outputs(
        logits=middle(x.logits),
        features=middle(x.features),
        layers={name: middle(array) for name, array in x.layers.items()},
        members=middle(x.members, axis=1),
        head=x.head,
        source=located(x, "pseudo-outliers"),
    )


def _classes(x: Outputs) -> Array:
    """The label of each row, or its prediction where the label is unknown."""
    if x.labels is not None and (x.labels >= 0).all():
        return x.labels
    if x.logits is None:
        raise InputError(
            located(x, "pseudo-outliers lie between classes: give labels or logits of every row")
        )
    predicted: Array = checked_statistics(x, (PREDICTION,))[PREDICTION]
    return predicted if x.labels is None else np.where(x.labels >= 0, x.labels, predicted)
