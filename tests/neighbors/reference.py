"""Nearest neighbours by measuring every pair: slow twins of the engine."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def squared_distance(query, row) -> Fraction:
    """Exactly, without any rounding."""
    return sum(
        ((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(query, row, strict=True)),
        Fraction(0),
    )


def nearest_by_loops(queries, bank, k, exclude=None):
    """Sort all rows by exact distance, then index; distances are rounded once."""
    distances, indices = [], []
    for i, query in enumerate(queries):
        ranked = sorted(
            (squared_distance(query, row), j)
            for j, row in enumerate(bank)
            if exclude is None or exclude[i] != j
        )
        distances.append([root(square) for square, _ in ranked[:k]])
        indices.append([j for _, j in ranked[:k]])
    return distances, indices


def nearest_by_differences(queries, bank, k, exclude=None):
    """The same in float64, whole rows at a time; exact where the sums of squares are."""
    bank = np.asarray(bank, dtype=np.float64)
    distances, indices = [], []
    for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
        distance = np.sqrt(((bank - query) ** 2).sum(axis=1))
        order = np.lexsort((np.arange(len(bank)), distance))
        if exclude is not None:
            order = order[order != exclude[i]]
        indices.append(order[:k])
        distances.append(distance[order[:k]])
    return np.array(distances), np.array(indices)


def root(square: Fraction) -> float:
    """The square root of a fraction, far inside or outside the range of float squares."""
    if square == 0:
        return 0.0
    # An even shift that leaves about 200 bits, of which isqrt gives 100.
    shift = (200 - square.numerator.bit_length() + square.denominator.bit_length()) // 2 * 2
    scaled = square * Fraction(2) ** shift
    return float(
        Fraction(math.isqrt(scaled.numerator // scaled.denominator)) / Fraction(2) ** (shift // 2)
    )
