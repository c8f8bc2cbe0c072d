"""Sums and scatter of rows, what threads do in turn, and the small kernels beside them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from ood_toolkit.detectors import feature_moments as module
from ood_toolkit.detectors.feature_moments import feature_moments
from ood_toolkit.errors import InputError
from ood_toolkit.kernels import moments
from ood_toolkit.kernels.differences import largest_difference
from ood_toolkit.kernels.divergences import divergences
from ood_toolkit.kernels.pool import Turns, in_order
from ood_toolkit.kernels.prototypes import nearest_squared_distances
from ood_toolkit.kernels.scratch import Scratch
from ood_toolkit.outputs import Outputs

RNG = np.random.default_rng(0)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "PANEL", 5)
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "GROUP", 16)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dims", [1, 4, 5, 6, 13])
@pytest.mark.parametrize("rows", [1, 8, 50, 300])
def test_moments_are_the_sums_of_their_definition(
    dims: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = RNG.standard_normal((rows, dims))
    labels = RNG.integers(0, 3, rows)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
        found.append(feature_moments(Outputs(features=features), labels, 3))
    scatter, sums = np.zeros((dims, dims)), np.zeros((3, dims))
    for row, label in zip(features - found[0].origin, labels, strict=True):
        scatter += np.outer(row, row)
        sums[label] += row
    np.testing.assert_allclose(found[0].scatter, scatter, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[0].sums, sums, rtol=1e-12, atol=1e-12)
    assert found[0].counts.tolist() == np.bincount(labels, minlength=3).tolist()
    np.testing.assert_array_equal(found[0].scatter, found[0].scatter.T)
    for other in found[1:]:
        np.testing.assert_array_equal(other.scatter, found[0].scatter)
        np.testing.assert_array_equal(other.sums, found[0].sums)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("bad", [[280], [90, 91, 200], [17, 290], [8, 16, 24, 32, 299]])
def test_the_first_bad_row_of_several_blocks_is_named(
    bad: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "3")
    features = RNG.standard_normal((300, 4)).astype(np.float32)
    features[bad, 2] = np.nan
    with pytest.raises(InputError, match=f"row {bad[0]} holds NaN"):
        feature_moments(Outputs(features=features))


def test_turns_come_first_block_first_however_long_blocks_take() -> None:
    turns, order, waiting = Turns(), [], threading.Event()

    def work(start: int, stop: int) -> None:
        with turns.of(start, stop) as my_turn:
            if start == 0:
                waiting.wait(5)
            elif start == 2:
                waiting.set()
            my_turn()
            order.append(start)

    assert len(list(in_order(work, 20, 1, threads=3))) == 20
    assert order == list(range(20))


def test_blocks_behind_one_that_failed_do_not_wait() -> None:
    turns, order = Turns(), []

    def work(start: int, stop: int) -> None:
        with turns.of(start, stop) as my_turn:
            if start == 4:
                raise ValueError("block 4")
            my_turn()
            order.append(start)

    with pytest.raises(ValueError, match="block 4"):
        list(in_order(work, 30, 1, threads=3))
    assert order == [0, 1, 2, 3]


def test_scratch_is_kept_by_a_thread_and_is_its_own() -> None:
    scratch = Scratch()
    mine = scratch.array("x", (3, 4), np.float64)
    others: list[Any] = []
    thread = threading.Thread(target=lambda: others.append(scratch.array("x", (3, 4), np.float64)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, others[0])
    assert np.shares_memory(mine, scratch.array("x", (2, 2), np.float64))
    assert scratch.array("x", (9, 9), np.float64).shape == (9, 9)
    assert scratch.array("x", (2, 2), np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("points", [1, 2, 31, 32, 33, 64, 100])
def test_the_first_of_equally_near_points_is_found(points: int, dtype: Any) -> None:
    rows = RNG.integers(-3, 4, (40, 3)).astype(dtype)
    centres = RNG.integers(-3, 4, (points, 3)).astype(dtype)
    expected = [min(float(((row - c) ** 2).sum()) for c in centres) for row in rows]
    assert nearest_squared_distances(rows, centres).tolist() == expected


def test_the_largest_difference_passes_over_what_is_not_finite() -> None:
    given = np.array([[1.0, -7.0, np.inf], [np.nan, -np.inf, 2.0]], dtype=np.float32)
    made = np.array([[1.5, -7.0, 3.0], [0.0, 9.0, np.nan]])
    assert largest_difference(made, given) == (0.5, 7.0)
    assert largest_difference(made[:, :0], given[:, :0]) == (0.0, 0.0)


def test_divergences_are_the_sums_of_their_definition() -> None:
    p = RNG.dirichlet(np.full(6, 0.3), 20)
    p[0], p[1] = [0, 0, 1, 0, 0, 0], [0.5, 0, 0.5, 0, 0, 0]
    templates = RNG.dirichlet(np.ones(6), 4)
    chosen = RNG.integers(0, 4, 20)
    expected = [
        sum(a * np.log(a / b) for a, b in zip(row, templates[k], strict=True) if a > 0)
        for row, k in zip(p, chosen, strict=True)
    ]
    found = divergences(p, np.log(templates), chosen, np.empty_like(p))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
