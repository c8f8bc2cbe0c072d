"""Runs of agreement are what ranking the whole bank gives."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ood_toolkit.neighbors import NeighborIndex
from ood_toolkit.neighbors.runs import matching_runs
from tests.neighbors.reference import nearest_by_loops


def counted(indices, distances, groups, wanted):
    """Length, nearest distance and breaking row, from a full ranking."""
    if not len(indices):
        return 0, np.inf, -1
    for length, row in enumerate(indices):
        if groups[row] != wanted:
            return length, distances[0], row
    return len(indices), distances[0], -1


def assert_counted(runs, indices, distances, groups, wanted):
    for i in range(len(wanted)):
        expected = counted(indices[i], distances[i], groups, wanted[i])
        assert (runs.length[i], runs.nearest[i], runs.breaker[i]) == expected


@st.composite
def problems(draw):
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    whole = st.integers(-2, 2).map(float)
    bank = draw(hnp.arrays(np.float64, (rows, columns), elements=whole))
    queries = draw(hnp.arrays(np.float64, (draw(st.integers(0, 4)), columns), elements=whole))
    some = st.integers(-1, 1)
    groups = draw(hnp.arrays(np.int64, rows, elements=some))
    wanted = draw(hnp.arrays(np.int64, len(queries), elements=st.integers(0, 1)))
    exclude = draw(
        st.none() | hnp.arrays(np.int64, len(queries), elements=st.integers(-1, rows - 1))
    )
    return bank, queries, groups, wanted, exclude


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(),
    dtype=st.sampled_from([np.float16, ml_dtypes.bfloat16, np.float32, np.float64]),
    offset=st.sampled_from([0.0, 8.0, 120.0]),
)
def test_integer_grids_are_counted_exactly(problem, dtype, offset):
    bank, queries, groups, wanted, exclude = problem
    bank, queries = (bank + offset).astype(dtype), (queries + offset).astype(dtype)
    runs = matching_runs(NeighborIndex.build(bank), queries, groups, wanted, exclude=exclude)
    distances, indices = nearest_by_loops(queries, bank, len(bank), exclude)
    assert_counted(runs, indices, distances, groups, wanted)


def clustered(rows, columns, dtype, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, rows)
    bank = (4.0 * np.eye(3, columns)[group] + rng.normal(size=(rows, columns))).astype(dtype)
    group[rng.uniform(size=rows) < 0.02] = -1
    wanted = rng.integers(0, 3, 40)
    queries = 4.0 * np.eye(3, columns)[wanted] + rng.normal(size=(40, columns))
    return bank, queries.astype(dtype), group, wanted


def moved(x, change):
    return (x.astype(np.float64) * change[0] + change[1]).astype(x.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [63, 64, 65, 1000])
@pytest.mark.parametrize(
    "change", [(1.0, 0.0), (1e-3, 1.0), (1.0, 300.0), (1e-25, 0.0), (1e18, 0.0)], ids=str
)
def test_as_the_engine_ranks(dtype, rows, change):
    """Rows that rounding hides from each other, far from the origin, tiny and huge."""
    bank, queries, group, wanted = clustered(rows, 20, dtype)
    bank, queries = moved(bank, change), moved(queries, change)
    index = NeighborIndex.build(bank)
    found = index.search(queries, rows)
    runs = matching_runs(index, queries, group, wanted)
    assert_counted(runs, found.indices.tolist(), found.distances.tolist(), group, wanted)
    assert runs.length.max() > 5


def test_near_duplicates_and_duplicates():
    bank, queries, group, wanted = clustered(400, 20, np.float32)
    bank[100:200] = bank[:100] * np.float32(1 + 1e-6)
    bank[200:300] = bank[:100]
    queries[:20] = bank[:20]
    index = NeighborIndex.build(bank)
    found = index.search(queries, 400)
    runs = matching_runs(index, queries, group, wanted)
    assert_counted(runs, found.indices.tolist(), found.distances.tolist(), group, wanted)


def test_queries_beyond_all_bounds():
    bank, _, group, wanted = clustered(300, 20, np.float32)
    queries = np.full((40, 20), 1e30)
    queries[::2] *= -1
    index = NeighborIndex.build(bank)
    found = index.search(queries, 300)
    runs = matching_runs(index, queries, group, wanted)
    assert_counted(runs, found.indices.tolist(), found.distances.tolist(), group, wanted)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_blocks_and_threads_change_nothing(threads, monkeypatch):
    bank, queries, group, wanted = clustered(500, 20, np.float32)
    queries, wanted = np.tile(queries, (60, 1)), np.tile(wanted, 60)
    index = NeighborIndex.build(bank)
    whole = matching_runs(index, queries, group, wanted)
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    monkeypatch.setattr("ood_toolkit.neighbors.runs.MOST_ROWS", 77)
    parts = matching_runs(index, queries, group, wanted)
    for name in ("length", "nearest", "breaker"):
        assert (getattr(whole, name) == getattr(parts, name)).all()


def test_no_queries():
    index = NeighborIndex.build(np.ones((3, 2)))
    runs = matching_runs(index, np.empty((0, 2)), [0, 0, 1], np.empty(0, dtype=int))
    assert len(runs.length) == len(runs.nearest) == len(runs.breaker) == 0
