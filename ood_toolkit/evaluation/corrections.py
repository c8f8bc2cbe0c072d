"""P-values of many tests at once, adjusted so that they can be read as those of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_toolkit.errors import InputError
from ood_toolkit.outputs import Array

__all__ = ["CORRECTIONS", "adjusted", "benjamini_hochberg", "holm"]


def holm(p_values: Any) -> Array:
    """Adjust p-values so that all their false rejections together are as rare as one's.

    Parameters
    ----------
    p_values : array of float
        Any shape, each in [0, 1]; dependence between the tests does no harm.

    Returns
    -------
    array of float64
        Of the same shape; a test whose adjusted value is below 0.05 is rejected at a
        family-wise level of 5 %.

    Raises
    ------
    InputError
        If a value is not in [0, 1].

    References
    ----------
    Holm, Scandinavian Journal of Statistics 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    return _put_back(np.minimum(np.maximum.accumulate(scaled), 1.0), order, np.shape(p_values))


def benjamini_hochberg(p_values: Any) -> Array:
    """Adjust p-values so that only a small share of the rejections is false.

    Parameters
    ----------
    p_values : array of float
        Any shape, each in [0, 1], of tests that are independent or positively dependent.

    Returns
    -------
    array of float64
        Of the same shape; of the tests whose adjusted value is below 0.05, no more than 5 %
        are expected to be false rejections.

    Raises
    ------
    InputError
        If a value is not in [0, 1].

    References
    ----------
    Benjamini & Hochberg, Journal of the Royal Statistical Society B 1995.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    values = _checked(p_values)
    order = np.argsort(values, kind="stable")
    # the quotient first: it is exactly 1 for the largest, which must not grow by a last digit
    scaled = values[order] * (values.size / np.arange(1, values.size + 1))
    least = np.minimum.accumulate(scaled[::-1])[::-1]
    return _put_back(np.minimum(least, 1.0), order, np.shape(p_values))


CORRECTIONS = {"holm": holm, "bh": benjamini_hochberg}
"""Corrections by the name that `compare` and the results document give them."""


def adjusted(p_values: Any, correction: str) -> Array:
    """P-values adjusted by the correction of that name.

    Raises
    ------
    InputError
        If there is no such correction, or a value is not in [0, 1].
    """
    if correction not in CORRECTIONS:
        raise InputError(f"correction is one of {', '.join(CORRECTIONS)}, got {correction!r}")
    return CORRECTIONS[correction](p_values)


def _checked(p_values: Any) -> Array:
    values = np.asarray(p_values, dtype=np.float64).ravel()
    bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if bad.size:
        raise InputError(f"p-value {bad[0]} is {values[bad[0]]}; it must lie in [0, 1]")
    return values


def _put_back(ordered: Array, order: Array, shape: tuple[int, ...]) -> Array:
    found = np.empty_like(ordered)
    found[order] = ordered
    return found.reshape(shape)
