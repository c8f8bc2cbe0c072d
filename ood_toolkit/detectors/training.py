"""Training features, checked and stacked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ood_toolkit.chunks import feature_chunks, located
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs
from ood_toolkit.streamed import refuse_all_rows

__all__ = ["feature_matrix", "finite", "groups_of_features", "training_features"]


def training_features(name: str, train: Outputs | None) -> Outputs:
    """The training record, which has rows of features.

    Raises
    ------
    InputError
        If there is no record, or no features or no row in it.
    """
    if train is None:
        raise InputError(f"{name} needs training outputs with features")
    if train.features is None:
        raise InputError(located(train, f"{name} needs features to be fitted"))
    if len(train) == 0:
        raise InputError(located(train, f"{name} cannot be fitted on zero rows"))
    return train


def finite(found: Array, name: str, what: str = "features") -> Array:
    """What a fit found, none of which has overflowed.

    Raises
    ------
    InputError
        If a number of it is not finite, as sums of squares beyond 1e154 are.
    """
    if not np.isfinite(found).all():
        raise InputError(
            f"{name}: the training {what} are too large: sums of their products overflow; "
            f"divide {what} by a constant, here and where they are scored"
        )
    return found


def feature_matrix(x: Outputs, *, dtype: Any = None, unit_length: bool = False) -> Array:
    """Checked features as one contiguous matrix, normalised in float64 where asked.

    Without a `dtype`, float64 features stay so and all others become float32.
    """
    assert x.features is not None
    refuse_all_rows(x.features, 2)
    if dtype is None:
        dtype = np.float64 if x.features.dtype == np.float64 else np.float32
    matrix = np.empty(x.features.shape, dtype=dtype)
    for part, chunk in feature_chunks(x, unit_length=unit_length):
        matrix[part] = chunk
    return matrix


def groups_of_features(
    x: Outputs, groups: Iterable[Array], *, unit_length: bool = False
) -> Iterator[Outputs]:
    """One record of features for each array of row numbers, made when it is asked for.

    Raises
    ------
    InputError
        Naming the first bad row of `x`, before any group is made.
    """
    assert x.features is not None
    refuse_all_rows(x.features)
    for _ in feature_chunks(x, unit_length=unit_length):
        pass
    for at in groups:
        yield Outputs(features=x.features[at])
