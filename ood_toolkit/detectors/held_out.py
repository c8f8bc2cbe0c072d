"""Held-out rows where none are given: a fixed share of the training rows, by a fixed rule."""

from __future__ import annotations

import numpy as np

from ood_toolkit.chunks import located
from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array, Outputs

__all__ = ["GIVEN", "SPLIT_RULE", "held_out_or_split", "held_out_rows"]

OUT_OF = 5
"""One row of so many is held out."""

SPLIT_RULE = f"the second of every {OUT_OF} training rows of a class"
"""Which rows `held_out_or_split` takes out of the training set, in words."""

GIVEN = "id_val"
"""What stands in place of the rule where held-out rows were given."""


def held_out_rows(x: Outputs) -> Array:
    """Whether each row is held out: (N,) bool.

    The second, seventh, twelfth, ... row of each class in the order of the record, so that a
    class with a single row keeps it.  Without labels all rows are one class.
    """
    labels = x.labels if x.labels is not None else np.zeros(len(x), dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    starts = np.searchsorted(grouped, grouped)
    held = np.empty(len(x), dtype=bool)
    held[order] = (np.arange(len(x)) - starts) % OUT_OF == 1
    return held


def held_out_or_split(
    name: str, train: Outputs, validation: Outputs | None
) -> tuple[Outputs, Outputs, str]:
    """Rows to fit on, rows to measure on, and where the latter come from.

    Raises
    ------
    InputError
        If there is nothing to fit on, or nothing to measure on.
    """
    if len(train) == 0:
        raise InputError(located(train, f"{name} cannot be fitted on zero rows"))
    if validation is not None:
        if len(validation) == 0:
            raise InputError(located(validation, f"{name} needs held-out rows, got zero rows"))
        return train, validation, GIVEN
    held = held_out_rows(train)
    if not held.any():
        raise InputError(
            located(
                train,
                f"{name} needs held-out rows, and no class has two training rows to spare one; "
                "give more rows, or --id-val (validation)",
            )
        )
    return train.rows(np.flatnonzero(~held)), train.rows(np.flatnonzero(held)), SPLIT_RULE
