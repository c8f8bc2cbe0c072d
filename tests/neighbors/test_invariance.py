"""Bits do not depend on batches, blocks, threads, memory layout or a pair's place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ood_toolkit.errors import InputError
from ood_toolkit.kernels import blas
from ood_toolkit.kernels.distances import fill_distances
from ood_toolkit.neighbors import NeighborIndex, sweep, workers

K = 12


@pytest.fixture(scope="module", params=[np.float32, np.float64])
def case(request):
    random = np.random.default_rng(7)
    bank = random.standard_normal((3000, 37)).astype(request.param)
    bank[1500:1600] = bank[:100]
    queries = np.concatenate([bank[:150], random.standard_normal((150, 37))]).astype(request.param)
    exclude = np.concatenate([np.arange(150), np.full(150, -1)])
    return bank, queries, exclude


def bits(bank, queries, exclude):
    found = NeighborIndex.build(bank).search(queries, K, exclude=exclude)
    return found.distances.tobytes(), found.indices.tobytes()


def test_query_batches(case):
    bank, queries, exclude = case
    index = NeighborIndex.build(bank)
    whole = index.search(queries, K, exclude=exclude)
    for step in (1, 7, 128):
        for start in range(0, len(queries), step * (40 if step == 1 else 1)):
            part = slice(start, start + step)
            found = index.search(queries[part], K, exclude=exclude[part])
            assert found.distances.tobytes() == whole.distances[part].tobytes()
            assert found.indices.tobytes() == whole.indices[part].tobytes()


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize(("tile", "rows"), [(1, 2048), (1 << 16, 13), (1 << 19, 300)])
def test_block_sizes(case, monkeypatch, tile, rows, threads):
    expected = bits(*case)
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    monkeypatch.setattr(workers, "SIDE_BY_SIDE_ROWS", 1)
    monkeypatch.setattr(sweep, "TILE_BYTES", tile)
    monkeypatch.setattr(sweep, "QUERY_ROWS", rows)
    assert bits(*case) == expected


@pytest.mark.parametrize("threads", ["1", "2", "5"])
@pytest.mark.parametrize("least", [1, 10_000])
@pytest.mark.parametrize("told", [True, False])
def test_threads(case, monkeypatch, threads, least, told):
    expected = bits(*case)
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
    monkeypatch.setattr(workers, "SIDE_BY_SIDE_ROWS", least)
    if not told:
        monkeypatch.setattr(blas, "_controls", lambda of="numpy": None)
    assert bits(*case) == expected


def test_a_bad_row_is_named_whichever_thread_finds_it(case, monkeypatch):
    bank, queries, _ = case
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "3")
    monkeypatch.setattr(workers, "SIDE_BY_SIDE_ROWS", 1)
    queries = queries.copy()
    queries[[137, 250], 3] = np.nan
    before = threads_of_blas()
    with pytest.raises(InputError, match="queries: row 137 holds NaN"):
        NeighborIndex.build(bank).search(queries, 3)
    assert threads_of_blas() == before


def test_searches_at_once_leave_blas_as_it_was(case, monkeypatch):
    expected = bits(*case)
    monkeypatch.setenv("OOD_TOOLKIT_THREADS", "2")
    monkeypatch.setattr(workers, "SIDE_BY_SIDE_ROWS", 1)
    before = threads_of_blas()
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(bits, *case) for _ in range(8)]
        assert all(f.result() == expected for f in found)
    assert threads_of_blas() == before


def threads_of_blas():
    controls = blas._controls()
    return None if controls is None else controls.count()


def test_memory_layout(case, tmp_path):
    bank, queries, exclude = case
    expected = bits(*case)
    spaced = np.zeros((len(queries), 3 * queries.shape[1]), dtype=queries.dtype)
    spaced[:, ::3] = queries
    assert bits(np.asfortranarray(bank), spaced[:, ::3], exclude) == expected
    swapped = queries.astype(queries.dtype.newbyteorder())
    assert bits(bank.astype(bank.dtype.newbyteorder()), swapped, exclude) == expected
    np.save(tmp_path / "bank.npy", bank)
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    frozen = queries.copy()
    frozen.setflags(write=False)
    assert bits(mapped, frozen, exclude) == expected


def test_order_of_the_bank(case):
    bank, queries, _ = case
    order = np.random.default_rng(8).permutation(len(bank))
    plain = NeighborIndex.build(bank).search(queries, K)
    shuffled = NeighborIndex.build(bank[order]).search(queries, K)
    assert plain.distances.tobytes() == shuffled.distances.tobytes()


def test_more_neighbours_keep_the_first(case):
    bank, queries, exclude = case
    index = NeighborIndex.build(bank)
    few = index.search(queries, K, exclude=exclude)
    for k in (K + 1, 5 * K, 2999):
        many = index.search(queries, k, exclude=exclude)
        assert many.distances[:, :K].tobytes() == few.distances.tobytes()
        assert many.indices[:, :K].tobytes() == few.indices.tobytes()
    last = index.kth_distance(queries, K, exclude=exclude)
    assert last.tobytes() == few.distances[:, -1].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_pair_has_one_distance_wherever_it_stands(dtype):
    random = np.random.default_rng(9)
    for columns in (*range(1, 70), 127, 128, 129, 511, 512, 1000):
        rows = random.standard_normal((7, columns)).astype(dtype)
        query = random.standard_normal(columns)
        found = np.empty(7)
        fill_distances(query, rows, np.arange(7), found)
        for place in range(9):
            index = np.roll(np.array([0, 1, 2, 3, 4, 5, 6, 3, 5]), place)
            again = np.empty(9)
            fill_distances(query, rows, index, again)
            assert again.tobytes() == found[index].tobytes()
