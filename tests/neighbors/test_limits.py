"""Edges of the interface, refusals, memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ood_toolkit.errors import InputError
from ood_toolkit.neighbors import NeighborIndex

SQUARE = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]])


def test_four_way_tie_and_self_exclusion():
    index = NeighborIndex.build(SQUARE)
    assert len(index) == 4
    found = index.search(np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 1.0]]), 4)
    assert found.indices.tolist() == [[0, 1, 2, 3], [2, 3, 0, 1], [0, 1, 2, 3]]
    assert found.distances[:, 0].tolist() == [1.0, 1.0, np.sqrt(2.0)]
    alone = index.search(SQUARE[1:2], 4, exclude=[1])
    assert alone.indices.tolist() == [[0, 3, 2]]
    assert alone.distances[0, 0] == 2.0


def test_duplicates_of_a_query_stay_when_it_is_excluded():
    index = NeighborIndex.build(np.array([[1.0], [1.0], [5.0]]))
    found = index.search(np.array([[1.0], [1.0]]), 1, exclude=np.array([0, 1]))
    assert found.indices.tolist() == [[1], [0]]
    assert found.distances.tolist() == [[0.0], [0.0]]


def test_no_queries():
    found = NeighborIndex.build(SQUARE).search(np.empty((0, 2)), 3)
    assert found.distances.shape == found.indices.shape == (0, 3)
    assert NeighborIndex.build(SQUARE).kth_distance(np.empty((0, 2)), 3).shape == (0,)


def test_k_is_clamped_to_what_is_left():
    index = NeighborIndex.build(SQUARE)
    assert index.search(SQUARE, 9).indices.shape == (4, 4)
    assert index.search(SQUARE, 9, exclude=[-1, 1, -1, -1]).indices.shape == (4, 3)
    np.testing.assert_array_equal(index.kth_distance(SQUARE, 9), np.full(4, np.sqrt(8.0)))


def test_nothing_is_left():
    index = NeighborIndex.build(SQUARE[:1])
    assert index.search(SQUARE[:1], 1, exclude=[0]).indices.shape == (1, 0)
    with pytest.raises(InputError, match="no neighbour is left"):
        index.kth_distance(SQUARE[:1], 1, exclude=[0])


def test_the_bank_is_not_copied_where_it_serves_as_it_is():
    bank = np.random.default_rng(0).standard_normal((50, 3))
    index = NeighborIndex.build(bank)
    assert np.shares_memory(index.bank, bank)
    assert np.shares_memory(index.prepared.rows, bank)
    assert not index.bank.flags.writeable
    assert bank.flags.writeable
    moved = NeighborIndex.build(bank + 100.0)
    assert not np.shares_memory(moved.prepared.rows, moved.bank)
    assert np.abs(moved.prepared.rows).max() <= 1.0


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        (np.empty((0, 2)), r"bank must have rows .* got shape \(0, 2\)"),
        (np.empty((2, 0)), r"bank must have rows .* got shape \(2, 0\)"),
        (np.zeros(3), r"bank must be \(rows, columns\), got shape \(3,\)"),
        (np.zeros((2, 2), dtype=int), "bank: dtype int64 is not one of"),
        (np.array([[0.0], [1.0], [np.nan]]), "bank: row 2 holds NaN or infinity"),
        (np.array([[0.0], [-np.inf]], dtype=np.float32), "bank: row 1 holds NaN"),
    ],
)
def test_banks_that_are_refused(bank, message):
    with pytest.raises(InputError, match=message):
        NeighborIndex.build(bank)


@pytest.mark.parametrize(
    ("queries", "k", "exclude", "message"),
    [
        (np.zeros((1, 3)), 1, None, "queries have 3 columns but the bank has 2"),
        (np.zeros(2), 1, None, r"queries must be \(rows, columns\)"),
        (np.zeros((1, 2), dtype=bool), 1, None, "queries: dtype bool"),
        (np.array([[0.0, 0.0], [np.inf, 0.0]]), 1, None, "queries: row 1 holds NaN or inf"),
        (np.zeros((1, 2)), 0, None, "k must be 1 or larger, got 0"),
        (np.zeros((1, 2)), 1, [0, 1], r"exclude must be \(1,\) integers"),
        (np.zeros((1, 2)), 1, [0.0], r"exclude must be \(1,\) integers"),
        (np.zeros((2, 2)), 1, [-1, 4], "exclude: row 1 is 4, expected -1 ... 3"),
        (np.zeros((2, 2)), 1, [-2, 0], "exclude: row 0 is -2, expected -1 ... 3"),
    ],
)
def test_searches_that_are_refused(queries, k, exclude, message):
    with pytest.raises(InputError, match=message):
        NeighborIndex.build(SQUARE).search(queries, k, exclude=exclude)


MEMORY = """
import resource
import numpy as np
from ood_toolkit.neighbors import NeighborIndex

random = np.random.default_rng(0)
bank = random.standard_normal((100_000, 16), dtype=np.float32)
queries = random.standard_normal((4_000, 16), dtype=np.float32)
index = NeighborIndex.build(bank)
index.search(queries[:1], {k})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = index.search(queries, {k})
results = found.distances.nbytes + found.indices.nbytes
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(after * 1024 - before * 1024 - results)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux only")
@pytest.mark.parametrize("k", [50, 500])
def test_memory_stays_bounded(k):
    """All pairs at once would take 1.6 GB."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY.format(k=k)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 256 << 20


PLAIN = """
import numpy as np
from ood_toolkit.kernels import topk
from ood_toolkit.neighbors import NeighborIndex
from tests.neighbors.reference import nearest_by_differences

assert not hasattr(topk.shortlist, "py_func"), "the compiler is on"
random = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    bank = random.integers(0, 5, (700, 3)).astype(dtype)
    bank[::2] += 0.25 * random.standard_normal((350, 3)).round(2).astype(dtype)
    queries, exclude = bank[:6], np.arange(6)
    for k in (1, 40):
        found = NeighborIndex.build(bank).search(queries, k, exclude=exclude)
        distances, indices = nearest_by_differences(queries, bank, k, exclude)
        np.testing.assert_allclose(found.distances, distances, rtol=1e-14, atol=0)
"""


def test_the_kernels_as_plain_python(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    subprocess.run([sys.executable, "-W", "error", "-c", PLAIN], check=True)
