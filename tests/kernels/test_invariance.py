"""A row has the same bits wherever it stands and whoever computes it."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from ood_toolkit.kernels import rows
from ood_toolkit.kernels.rows import row_statistics
from ood_toolkit.kernels.statistics import (
    CLASSES,
    ENTROPY,
    LARGEST,
    NONUNIFORMITY,
    PREDICTION,
    TAIL,
    RowStatistics,
    Statistic,
    excess,
    generalized_entropy,
    log_sum_exp,
)
from tests.kernels.row_cases import DTYPES, all_statistics, cast, hard_rows

ENERGY = (log_sum_exp(), PREDICTION)
MANY = (TAIL, ENTROPY, NONUNIFORMITY, CLASSES, excess(), log_sum_exp(), generalized_entropy(0.1, 5))
SHAPES = 2500
"""Random shapes in all."""


def bits(found: RowStatistics, part: slice = slice(None)) -> dict[Statistic, bytes]:
    return {statistic: values[part].tobytes() for statistic, values in found.items()}


def random_logits(rng: np.random.Generator, n: int, c: int, dtype: np.dtype) -> npt.NDArray:
    logits = cast(rng.standard_normal((n, c)) * rng.choice([0.1, 3.0, 40.0], (n, 1)), dtype)
    logits[rng.random((n, c)) < 0.01] = -np.inf
    logits[:, 0] = 1.0  # no row is bad
    return logits


@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_shapes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    dtype = [DTYPES["float32"], DTYPES["float64"]][seed % 2]
    for _ in range(SHAPES // 10):
        n, c = int(rng.integers(1, 60)), int(np.exp(rng.uniform(0.0, 6.5)))
        wanted = ENERGY if rng.random() < 0.5 else MANY
        logits = random_logits(rng, n, max(c, 1), dtype)
        expected = row_statistics(logits, wanted)
        start = int(rng.integers(0, n))
        part = slice(start, int(rng.integers(start + 1, n + 1)))
        assert bits(row_statistics(logits[part], wanted)) == bits(expected, part)
        monkeypatch.setattr(rows, "BLOCK_ELEMENTS", int(rng.integers(1, 40 * c)))
        monkeypatch.setattr(rows, "PARALLEL_FROM", 0)
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", str(rng.integers(1, 5)))
        assert bits(row_statistics(logits, wanted)) == bits(expected)
        monkeypatch.undo()


@pytest.mark.parametrize("classes", [56, 57, 112, 5003, 70_001, 200_000])
def test_many_classes(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(classes)
    logits = random_logits(rng, 21 if classes < 10_000 else 5, classes, DTYPES["float32"])
    for wanted in (ENERGY, MANY):
        expected = bits(row_statistics(logits, wanted))
        for i in (0, 3, len(logits) - 1):
            alone = row_statistics(logits[i : i + 1], wanted)
            whole = row_statistics(logits, wanted)
            assert bits(alone) == bits(whole, slice(i, i + 1))
        monkeypatch.setattr(rows, "BLOCK_ELEMENTS", 3 * classes)
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", "2")
        assert bits(row_statistics(logits, wanted)) == expected
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 2, 10, 100, 130])
def test_company_changes_nothing(classes: int, name: str) -> None:
    """What else is asked for: log-sum-exp alone has a kernel of its own."""
    dtype = DTYPES[name]
    logits = cast(np.linspace(-3.0, 5.0, 40 * classes).reshape(classes, 40).T, dtype)
    if classes > 1:
        logits = np.concatenate([logits, hard_rows(classes, dtype)])
    wanted = all_statistics(classes)
    together = row_statistics(logits, wanted)
    pairs = itertools.chain(((s,) for s in wanted), itertools.combinations(wanted[-6:], 2))
    for some in pairs:
        found = row_statistics(logits, some)
        assert bits(found) == {s: b for s, b in bits(together).items() if s in some}


def test_what_precedes_a_row_changes_nothing() -> None:
    """The anchor that a row leaves behind, and the threshold that GEN starts from."""
    rng = np.random.default_rng(0)
    for classes in (20, 400):
        logits = rng.standard_normal((64, classes)).astype(np.float32)
        logits += rng.choice([-500.0, -30.0, 0.0, 30.0, 500.0], (64, 1)).astype(np.float32)
        wanted = (*MANY, LARGEST, generalized_entropy(0.5, 17))
        for ask in (ENERGY, wanted):
            expected = row_statistics(logits, ask)
            order = rng.permutation(64)
            shuffled = row_statistics(logits[order], ask)
            for statistic in ask:
                assert shuffled[statistic].tobytes() == expected[statistic][order].tobytes()
