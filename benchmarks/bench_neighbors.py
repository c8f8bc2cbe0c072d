"""Time the nearest-neighbour search against its own matrix product and against peers.

    python -m benchmarks.bench_neighbors [--bank 50000] [--dims 512] [--queries 2000] [-k 50]

Standard normal rows, scaled to length 1, float32.  Every candidate runs once a round;
ratios are medians over the rounds.  "matrix product" is numpy's, in blocks of 500 queries
into memory that is already there: the least that a search by products can take.  Peers
that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.timing import interleaved, report
from ood_toolkit.neighbors import NeighborIndex

BLOCK = 500

Calls = dict[str, Callable[[], object]]


def unit_rows(rng: np.random.Generator, rows: int, dims: int) -> np.ndarray:
    x = rng.standard_normal((rows, dims), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def candidates(bank: np.ndarray, queries: np.ndarray, k: int) -> Calls:
    index = NeighborIndex.build(bank)
    tile = np.empty((min(BLOCK, len(queries)), len(bank)), dtype=np.float32)
    starts = range(0, len(queries), BLOCK)

    def product() -> None:
        for start in starts:
            block = queries[start : start + BLOCK]
            np.matmul(block, bank.T, out=tile[: len(block)])

    return {"ours": lambda: index.search(queries, k), "matrix product": product} | peers(
        bank, queries, k
    )


def peers(bank: np.ndarray, queries: np.ndarray, k: int) -> Calls:
    calls: Calls = {}
    starts = range(0, len(queries), BLOCK)
    if importlib.util.find_spec("torch"):
        import torch

        torch_bank, torch_queries = torch.from_numpy(bank).T, torch.from_numpy(queries)
        calls["torch top-k"] = lambda: [
            (torch_queries[s : s + BLOCK] @ torch_bank).topk(k, dim=1) for s in starts
        ]
    if importlib.util.find_spec("sklearn"):
        from sklearn.neighbors import NearestNeighbors

        brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank)
        calls["scikit-learn"] = lambda: brute.kneighbors(queries)
    if importlib.util.find_spec("faiss"):
        import faiss

        flat = faiss.IndexFlatL2(bank.shape[1])
        flat.add(bank)
        calls["faiss flat"] = lambda: flat.search(queries, k)
    return calls


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=int, default=50_000, help="rows in the bank")
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("-k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    calls = candidates(
        unit_rows(rng, given.bank, given.dims), unit_rows(rng, given.queries, given.dims), given.k
    )
    print(f"numpy {np.__version__}, {os.cpu_count()} processors")
    for missing in {"torch top-k", "scikit-learn", "faiss flat"} - set(calls):
        print(f"not installed, left out: {missing}")
    seconds = interleaved(calls, given.rounds)
    title = f"bank {given.bank} x {given.dims}, {given.queries} queries, k = {given.k}"
    report(title, seconds)
    each = seconds["ours"] / seconds["matrix product"]
    print(f"ours / matrix product: {np.median(each):.2f} ({each.min():.2f} ... {each.max():.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
