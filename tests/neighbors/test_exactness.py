"""What a search returns is what measuring every pair returns."""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.neighbors import NeighborIndex
from tests.neighbors.reference import (
    nearest_by_differences,
    nearest_by_loops,
    root,
    squared_distance,
)

DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


@st.composite
def problems(draw, elements, dtype):
    columns, rows = draw(st.integers(1, 5)), draw(st.integers(1, 25))
    bank = draw(hnp.arrays(dtype, (rows, columns), elements=elements))
    queries = draw(hnp.arrays(dtype, (draw(st.integers(0, 4)), columns), elements=elements))
    exclude = draw(
        st.none() | hnp.arrays(np.int64, len(queries), elements=st.integers(-1, rows - 1))
    )
    return bank, queries, draw(st.integers(1, rows + 3)), exclude


def search(bank, queries, k, exclude=None):
    found = NeighborIndex.build(bank).search(queries, k, exclude=exclude)
    left = len(bank) - (exclude is not None and bool((np.asarray(exclude) >= 0).any()))
    assert found.distances.shape == found.indices.shape == (len(queries), min(k, left))
    assert found.distances.dtype == np.float64
    assert found.indices.dtype == np.int64
    return found


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(st.integers(-3, 3).map(float), np.float64),
    dtype=st.sampled_from(DTYPES),
    offset=st.sampled_from([0.0, 8.0, 120.0]),
)
def test_integer_grids_are_ranked_exactly_with_ties_by_lowest_index(problem, dtype, offset):
    bank, queries, k, exclude = problem
    bank, queries = (bank + offset).astype(dtype), (queries + offset).astype(dtype)
    found = search(bank, queries, k, exclude)
    distances, indices = nearest_by_loops(queries, bank, found.indices.shape[1], exclude)
    assert found.indices.tolist() == indices
    assert found.distances.tolist() == distances


@settings(max_examples=100, deadline=None)
@given(
    problem=problems(st.integers(-3, 3).map(float), np.float64),
    dtype=st.sampled_from((np.float32, np.float64)),
    scale=st.sampled_from([1e-30, 1e-20, 1e-12, 3.0, 1e12, 1e20, 1e32]),
    offset=st.sampled_from([0.0, 1e4, -7e5]),
)
def test_scale_and_offset_do_not_cost_exactness(problem, dtype, scale, offset):
    bank, queries, k, exclude = problem
    bank = ((bank + offset) * scale).astype(dtype)
    queries = ((queries + offset) * scale).astype(dtype)
    found = search(bank, queries, k, exclude)
    assert_ranked(found, bank, queries, exclude)


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(
        st.tuples(st.integers(-9, 9), st.integers(-60, 60)).map(lambda p: p[0] * 2.0 ** p[1]),
        np.float32,
    )
)
def test_rows_of_very_different_lengths(problem):
    bank, queries, k, exclude = problem
    assert_ranked(search(bank, queries, k, exclude), bank, queries, exclude)


@settings(max_examples=100, deadline=None)
@given(problem=problems(st.floats(-(2.0**1021), 2.0**1021), np.float64))
def test_any_float64_whose_distances_are_finite(problem):
    bank, queries, k, exclude = problem
    assert_ranked(search(bank, queries, k, exclude), bank, queries, exclude)


@settings(max_examples=100, deadline=None)
@given(
    problem=problems(st.floats(allow_nan=False, allow_infinity=False, width=32), np.float32),
)
def test_any_finite_float32(problem):
    bank, queries, k, exclude = problem
    assert_ranked(search(bank, queries, k, exclude), bank, queries, exclude)


def assert_ranked(found, bank, queries, exclude):
    """Distances are right to float64's rounding, and no row left out is nearer than the last."""
    slack = (bank.shape[1] + 4) * 2.0**-52
    for i, query in enumerate(queries):
        exact = [root(squared_distance(query, row)) for row in bank]
        near, distances = found.indices[i].tolist(), found.distances[i].tolist()
        assert len(set(near)) == len(near)
        assert exclude is None or exclude[i] not in near
        for j, distance in zip(near, distances, strict=True):
            assert distance == pytest.approx(exact[j], rel=slack, abs=5e-324)
        assert sorted(zip(distances, near, strict=True)) == list(zip(distances, near, strict=True))
        for j in set(range(len(bank))) - set(near):
            if near and (exclude is None or exclude[i] != j):
                assert exact[j] >= distances[-1] * (1.0 - slack)
                if (bank[j] == bank[near[-1]]).all():
                    assert j > near[-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 7, 60, 700, 1999, 2000])
def test_many_rows_many_ties(dtype, k):
    random = np.random.default_rng(k)
    bank = random.integers(0, 4, (2000, 3)).astype(dtype)
    queries = random.integers(0, 4, (30, 3)).astype(dtype)
    exclude = random.integers(-1, 2000, 30) if k < 2000 else None
    found = search(bank, queries, k, exclude)
    distances, indices = nearest_by_differences(queries, bank, k, exclude)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, distances)


def test_identical_rows_come_in_order():
    bank = np.repeat(np.array([[1.5, -2.0]], dtype=np.float32), 3000, axis=0)
    found = search(bank, bank[:4], 5, exclude=np.array([0, 1, 2, -1]))
    assert found.indices.tolist() == [
        [1, 2, 3, 4, 5],
        [0, 2, 3, 4, 5],
        [0, 1, 3, 4, 5],
        [0, 1, 2, 3, 4],
    ]
    assert not found.distances.any()


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("spread", [1e-2, 1e-3])
def test_near_duplicates_that_expanded_squares_confuse(offset, spread):
    random = np.random.default_rng(1)
    centres = random.standard_normal((3, 64)) * 10.0
    bank = centres[random.integers(0, 3, 3000)] + spread * random.standard_normal((3000, 64))
    bank = (bank + offset).astype(np.float32)
    queries = bank[:40]
    found = search(bank, queries, 10, exclude=np.arange(40))
    distances, indices = nearest_by_differences(queries, bank, 10, np.arange(40))
    if offset < 1e4:
        np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-13)
    squares = (bank**2).sum(axis=1)
    expanded = squares[:40, None] - 2.0 * queries @ bank.T + squares
    confused = np.argsort(expanded, axis=1)[:, 1:11]
    assert (confused != indices).mean() > 0.1, "the case is not hard"


def test_a_row_far_from_all_others_does_not_spoil_the_bounds():
    random = np.random.default_rng(2)
    bank = random.standard_normal((5000, 16)).astype(np.float32)
    bank[1234] *= 1e12
    queries = random.standard_normal((20, 16)).astype(np.float32)
    queries[3] *= 1e15
    queries[4] *= 1e30
    found = search(bank, queries, 9)
    distances, indices = nearest_by_differences(queries, bank, 9)
    np.testing.assert_array_equal(found.indices[:3], indices[:3])
    np.testing.assert_array_equal(found.indices[5:], indices[5:])
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)


def test_queries_far_outside_the_range_of_products():
    bank = np.array([[3.0], [1.0], [2.0]], dtype=np.float64)
    found = search(bank, np.array([[1e300], [-1e300], [1e18]]), 3)
    assert found.indices.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert found.distances.tolist() == [[1e300] * 3, [1e300] * 3, [1e18] * 3]


@pytest.mark.parametrize("columns", [1, 2, 8, 65, 512])
def test_scikit_learn_agrees(columns):
    neighbors = pytest.importorskip("sklearn.neighbors")
    random = np.random.default_rng(columns)
    bank, queries = random.standard_normal((1500, columns)), random.standard_normal((70, columns))
    found = search(bank, queries, 20)
    peer = neighbors.NearestNeighbors(n_neighbors=20, algorithm="brute", metric="euclidean")
    distances, indices = peer.fit(bank).kneighbors(queries)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-7)


DATA = os.environ.get("OOD_TOOLKIT_DATA")


@pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA is not set")
@pytest.mark.parametrize("normalize", [False, True])
def test_features_of_a_trained_network(normalize):
    folder = Path(str(DATA)) / "cifar10_resnet20"
    bank = np.load(folder / "train.npz")["features"].astype(np.float32)
    queries = np.load(folder / "id_test.npz")["features"][:15].astype(np.float32)
    if normalize:
        bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    found = search(bank, queries, 200)
    distances, indices = nearest_by_differences(queries, bank, 200)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)


def test_float32_distances_are_those_of_float64():
    random = np.random.default_rng(5)
    bank = random.standard_normal((400, 33)).astype(np.float32)
    queries = random.standard_normal((9, 33))
    distances, indices = nearest_by_differences(queries, bank, 6)
    found = search(bank, queries, 6)  # float64 queries are not rounded to the bank's type
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)
