"""Rows of logits that a row kernel may get wrong, and how far it may be off."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    IMPURITY,
    LARGEST,
    LEAD,
    NONUNIFORMITY,
    PREDICTION,
    SATURATED,
    SECOND,
    TAIL,
    RowStatistics,
    Statistic,
    excess,
    generalized_entropy,
    kl_to_prior,
    log_sum_exp,
)
from tests.reference.rows_reference import exact_statistic

EXACT = (PREDICTION, LARGEST, SECOND, CLASSES, SATURATED)
SOFTMAX = (TAIL, ENTROPY, IMPURITY, NONUNIFORMITY, LEAD)
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def all_statistics(classes: int) -> tuple[Statistic, ...]:
    """One of each kind, and more where numbers matter."""
    ramp = np.arange(1.0, classes + 1.0)
    return (
        *EXACT,
        *SOFTMAX,
        *(log_sum_exp(t) for t in (1.0, 0.5, 1000.0)),
        *(excess(t) for t in (1.0, 3.0)),
        generalized_entropy(0.1, 100),
        generalized_entropy(0.5, 1),
        generalized_entropy(2.0, 3),
        kl_to_prior(ramp / ramp.sum()),
    )


def agree(found: float, exact: float, statistic: Statistic, dtype: np.dtype) -> bool:
    """Whether a value is as near the exact one as its kernel promises."""
    if statistic in EXACT or not np.isfinite(exact):
        return found == exact
    double = dtype == np.float64
    relative = 1e-13 if double else 5 * 2.0**-23
    absolute = np.finfo(np.float64).tiny
    if statistic == NONUNIFORMITY:  # a sum of differences from 1 / C
        absolute = 1e-15 if double else 4e-7
    elif statistic.name == "kl_to_prior":  # cancels near the prior
        absolute = 1e-13 if double else 1e-5
    elif statistic.name == "log_sum_exp":
        units, bits = (4.0, 53) if double else (2.5, 24)
        exponent = math.frexp(max(abs(exact), 1.0))[1]
        absolute, relative = math.ldexp(units, exponent - bits), 0.0
    return bool(abs(found - exact) <= absolute + relative * abs(exact))


def assert_rows_exact(
    logits: npt.NDArray, found: RowStatistics, rows: list[int] | None = None
) -> None:
    """Compare good rows with their twins."""
    wide = logits.astype(np.float64)
    for i in range(len(wide)) if rows is None else rows:
        for statistic, values in found.items():
            exact = exact_statistic(wide[i].tolist(), statistic)
            assert agree(values[i], exact, statistic, logits.dtype), (
                f"row {i} of {logits.shape} {logits.dtype}: {statistic.name}"
                f"{statistic.arguments[:3]} is {values[i]!r}, not {exact!r}"
            )


def cast(values: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
    """The nearest values of a type; ml_dtypes warns of -inf, which it keeps."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


def hard_rows(classes: int, dtype: npt.DTypeLike) -> npt.NDArray:
    """(n, C) good rows: ties, masks, gaps, and both ends of the number line."""
    rng = np.random.default_rng(classes)
    plain = rng.normal(0.0, 3.0, classes)
    ahead = plain.copy()
    at = classes // 3
    rows = [
        plain,
        np.zeros(classes),
        np.full(classes, -7.3),
        rng.integers(0, 3, classes).astype(float),  # many ties
        rng.normal(0.0, 1e-4, classes),  # nearly uniform
        rng.normal(-90.0, 30.0, classes),
        rng.normal(0.0, 1000.0, classes),
    ]
    for gap in (5.0, 17.0, 40.0, 85.0, 95.0, 300.0, 800.0):
        row = ahead.copy()
        row[at] = row.max() + gap
        rows.append(row)
    masked = plain.copy()
    masked[rng.permutation(classes)[: classes // 2]] = -np.inf
    one = np.full(classes, -np.inf)
    one[-1] = 2.5
    two = one.copy()
    two[0] = 1.5
    rows += [masked, one, two]
    far = np.float64(6e4) if np.dtype(dtype) == np.float16 else np.float64(3e38)
    top, bottom, ends = plain.copy(), plain.copy(), rng.choice([-far, far], classes)
    top[at], bottom[at] = far, -far
    tiny = rng.integers(-3, 4, classes) * float(np.finfo(np.float32).smallest_subnormal)
    rows += [top, bottom, ends, np.full(classes, -far), tiny]
    if np.dtype(dtype) == np.float64:
        rows += [rng.choice([-1e308, 1e308], classes), rng.integers(-3, 4, classes) * 5e-324]
    return cast(np.array(rows), dtype)
