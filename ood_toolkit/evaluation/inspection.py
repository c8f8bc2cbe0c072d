"""What an outputs record holds, and what in it looks wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ood_toolkit.chunks import PROBABILITIES_GIVEN, look_like_probabilities
from ood_toolkit.errors import InputError
from ood_toolkit.kernels.products import row_chunks
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.softmax import softmax_rows
from ood_toolkit.kernels.statistics import LARGEST, PREDICTION, SECOND, TAIL
from ood_toolkit.outputs import Array, Outputs

__all__ = ["Inspection", "doubts_about_logits", "inspect_outputs"]

SAMPLE = 4096
"""Rows looked at to decide whether logits are probabilities."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts of an outputs record.

    Attributes
    ----------
    rows, classes : int
        Size of the record.
    accuracy : float or None
        Share of labelled rows predicted right; None without labels.
    ranges : dict
        Smallest and largest finite value of each float array that has one.
    facts : dict
        `saturated_softmax`: share of rows whose softmax is exactly one-hot in the file's
        own dtype, because no other term changes a sum of 1; `tied_confidence`: share of rows
        that tie there for the largest maximum probability; `duplicate_rows`;
        `constant_features`; `unknown_labels`.
    warnings : tuple of str
        One line each.
    """

    rows: int
    classes: int
    accuracy: float | None
    ranges: dict[str, tuple[float, float]]
    facts: dict[str, Any]
    warnings: tuple[str, ...]


def doubts_about_logits(x: Outputs) -> list[str]:
    """Reasons to doubt that the logits are logits, a line each; looks at the first rows."""
    if x.logits is None or len(x) == 0:
        return []
    sample = np.asarray(x.logits[:SAMPLE], dtype=np.float64)
    doubts = []
    with np.errstate(over="ignore"):
        masses = np.exp(sample).sum(axis=1)
    tolerance = 1e-2 if x.logits.dtype.itemsize == 2 else 1e-4
    if look_like_probabilities(x):
        doubts.append(PROBABILITIES_GIVEN)
    elif sample.max() <= 0 and (np.abs(masses - 1) < tolerance).all():
        doubts.append(
            "logits: the exponentials of each row sum to one: they look like log-probabilities; "
            "energy and max_logit need the logits before the log-softmax"
        )
    limit = np.finfo(np.float16).max
    if x.logits.dtype == np.float16 and (clipped := float((np.abs(sample) >= limit).mean())) > 0:
        doubts.append(
            f"logits: {clipped:.1%} of the float16 values sit at the type's limit "
            f"+-{limit:.0f} and tie; save them as float32"
        )
    return doubts


def inspect_outputs(x: Outputs) -> Inspection:
    """Look at every array of a record.

    Raises
    ------
    InputError
        If the record holds no rows of logits or features at all.
    """
    if not x.has() - {"head"}:
        raise InputError(f"{x.source}: holds no outputs, only a head" if x.source else "empty")
    warnings = doubts_about_logits(x)
    if x.has() == {"logits"} and x.classes > 2 * len(x) > 0:
        warnings.append(f"logits: {x.classes} classes for {len(x)} rows; is the array transposed?")
    facts: dict[str, Any] = {}
    ranges: dict[str, tuple[float, float]] = {}
    accuracy = None
    if x.logits is not None:
        ranges["logits"], bad = _range_and_bad_row(x.logits, allow_masked=True)
        if bad >= 0:
            warnings.append(f"logits: row {bad} holds NaN or +inf, or only -inf; score refuses it")
        elif len(x):
            accuracy = _look_at_softmax(x, facts, warnings)
        facts["duplicate_rows"] = _duplicates(x.logits)
    for name, array in {"features": x.features, **x.layers}.items():
        if array is not None:
            ranges[name], bad = _range_and_bad_row(array, allow_masked=False)
            if bad >= 0:
                warnings.append(
                    f"{name}: row {bad} holds NaN or infinity; methods that read {name} refuse it"
                )
    if x.members is not None and x.members.size:
        found = [_range_and_bad_row(member, allow_masked=True) for member in x.members]
        ranges["members"] = _span(bounds for bounds, _ in found)
        for m, (_, bad) in enumerate(found):
            if bad >= 0:
                what = "holds NaN or +inf, or only -inf; methods that read members refuse it"
                warnings.append(f"member {m}: logits: row {bad} {what}")
    if x.token_logits is not None and x.token_logits.size:
        # no row is looked for: padding may hold anything
        ranges["token_logits"] = _span(_range_and_bad_row(z)[0] for z in x.token_logits)
    ranges = {name: bounds for name, bounds in ranges.items() if bounds[0] <= bounds[1]}
    if x.features is not None and len(x) > 1:
        constant = int((np.ptp(np.asarray(x.features, dtype=np.float32), axis=0) == 0).sum())
        facts["constant_features"] = constant
        if constant:
            warnings.append(f"features: {constant} of {x.features.shape[1]} columns are constant")
        if "duplicate_rows" not in facts:
            facts["duplicate_rows"] = _duplicates(x.features)
    if facts.get("duplicate_rows"):
        warnings.append(f"{facts['duplicate_rows']} rows repeat an earlier row exactly")
    if x.labels is not None and (unknown := int((x.labels < 0).sum())):
        facts["unknown_labels"] = unknown
    return Inspection(len(x), x.classes, accuracy, ranges, facts, tuple(warnings))


def _look_at_softmax(x: Outputs, facts: dict[str, Any], warnings: list[str]) -> float | None:
    """Note saturation; return the accuracy where labels are there."""
    assert x.logits is not None
    rows = row_statistics(x.logits, (PREDICTION, TAIL, LARGEST, SECOND))
    dtype = x.logits.dtype.newbyteorder("=")
    # exp(-gap) is then too small to change a sum of 1
    gap = (ml_dtypes.finfo(dtype).nmant + 1) * math.log(2.0)
    saturated = float((rows[LARGEST] - rows[SECOND] >= gap).mean())
    facts["saturated_softmax"] = saturated
    confidence = (1.0 - rows[TAIL]).astype(dtype)
    at_most = int((confidence == confidence.max()).sum())
    facts["tied_confidence"] = at_most / len(x) if at_most > 1 else 0.0
    if saturated > 0.01:
        warnings.append(
            f"logits: the softmax of {saturated:.1%} of the rows is exactly one-hot in "
            f"{dtype.name}; msp and entropy computed in that type tie there, at the largest "
            f"value on {facts['tied_confidence']:.1%} of the rows (energy, max_logit and "
            "logit_margin do not)"
        )
    if x.labels is None or not (x.labels >= 0).any():
        return None
    known = x.labels >= 0
    return float((rows[PREDICTION][known] == x.labels[known]).mean())


def _span(ranges: Iterable[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _range_and_bad_row(
    array: Array, *, allow_masked: bool | None = None
) -> tuple[tuple[float, float], int]:
    """Smallest and largest finite value, and the first row that scoring would refuse.

    Unless it is said whether -inf is allowed, no row is refused.
    """
    low, high, first_bad = np.inf, -np.inf, -1
    for part in row_chunks(array.shape[0]):
        chunk = np.asarray(array[part], dtype=np.float64)
        finite = np.isfinite(chunk)
        if finite.any():
            low = min(low, float(chunk[finite].min()))
            high = max(high, float(chunk[finite].max()))
        if first_bad < 0 and allow_masked is not None:
            if allow_masked:
                bad = softmax_rows(chunk)[1]
            else:
                bad = int(np.argmin(finite.all(axis=1))) if not finite.all() else -1
            first_bad = part.start + bad if bad >= 0 else -1
    return (low, high), first_bad


def _duplicates(array: Array) -> int:
    """Rows equal, bit for bit, to an earlier row."""
    contiguous = np.ascontiguousarray(array)
    if contiguous.shape[0] == 0:
        return 0
    rows = contiguous.view(np.dtype((np.void, contiguous.strides[0]))).ravel()
    return int(rows.size - np.unique(rows).size)
