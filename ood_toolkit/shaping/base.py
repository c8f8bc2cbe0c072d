"""What every shaping shares: features in, features changed, logits recomputed by the head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ood_toolkit.chunks import located, numbered, refuse_bad_features
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.outputs import Array, Outputs

__all__ = ["finite_features", "refuse_overflow", "reshaped"]


def finite_features(x: Outputs) -> Array:
    """The features of a record, all finite.

    Raises
    ------
    InputError
        If there are none, or naming the first row that holds NaN or infinity.
    """
    if x.features is None:
        raise InputError("activation shaping needs features")
    for part in row_chunks(len(x)):
        finite = np.isfinite(x.features[part]).all(axis=1)
        if not finite.all():
            refuse_bad_features(x, part.start + int(np.argmin(finite)))
    return x.features


def refuse_overflow(name: str, x: Outputs, shaped: Outputs, first: int = 0) -> None:
    """Refuse finite rows that the shaping made infinite, or NaN, as such.

    Whoever reads the shaped record next would speak of its logits, which the file does not hold.

    Raises
    ------
    InputError
        Naming the row: `first` is the place in `x` of the first row of `shaped`.
    """
    assert shaped.logits is not None
    for part in row_chunks(len(shaped)):
        finite = np.isfinite(shaped.logits[part]).all(axis=1)
        if not finite.all():
            row = first + part.start + int(np.argmin(finite))
            what = (
                f"features: row {numbered(x, row)}: {name} gives it infinite or NaN logits, as "
                "its values are too large or, some of them negative, nearly cancel; take features "
                "after a ReLU, scale them down or remove the row"
            )
            raise InputError(located(x, what))


def reshaped(x: Outputs, change: Callable[[Array], Array]) -> Outputs:
    """The record with `change` applied to its features, and the logits the head then gives.

    Raises
    ------
    InputError
        If features or head are missing, or a row holds NaN or infinity.
    """
    features = finite_features(x)
    if x.head is None:
        raise InputError("activation shaping needs the head, to recompute the logits")
    wide = np.float64 if features.dtype == np.float64 else np.float32
    changed = np.empty(features.shape, dtype=wide)
    for part in row_chunks(len(x)):
        changed[part] = change(np.ascontiguousarray(features[part], dtype=wide))
    return replace(x, features=changed, logits=None)
