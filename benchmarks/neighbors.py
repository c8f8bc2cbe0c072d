"""Exact nearest neighbours of 2,000 queries among 50,000, against their matrix product."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

import ood_toolkit as ood
from benchmarks.peers import MISSING, library
from benchmarks.results import Case
from benchmarks.timing import Calls, agree, interleaved
from ood_toolkit.neighbors import NeighborIndex

__all__ = ["candidates", "cases"]

BLOCK = 500
"""Queries multiplied at a time where the caller cuts them up."""

SIZES = {"full": (50_000, 512, 2_000, 50), "tiny": (600, 32, 40, 5)}

Floats = npt.NDArray[np.float32]


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Search with distances and indices; the product alone; the detector's score."""
    bank_rows, dims, rows, k = SIZES[scale]
    rng = np.random.default_rng(0)
    bank, queries = _unit_rows(rng, bank_rows, dims), _unit_rows(rng, rows, dims)
    calls = candidates(bank, queries, k)
    agree(candidates(bank, queries[:20], k), calls.keys() - {"product", "ours"}, 1e-3)
    peers = {"torch": "torch", "scikit-learn": "sklearn", "faiss": "faiss"}
    yield Case(
        "search",
        f"bank {bank_rows:,} × {dims} float32, {rows:,} queries, k = {k}",
        interleaved(calls, rounds),
        absent={name: MISSING for name, module in peers.items() if not library(module)},
        notes=[
            f"product: queries times bank by numpy, {BLOCK} queries at a time, into memory that "
            "is already there",
            "standard normal rows divided by their length",
        ],
    )


def _unit_rows(rng: np.random.Generator, rows: int, dims: int) -> Floats:
    x = rng.standard_normal((rows, dims), dtype=np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


def candidates(bank: Floats, queries: Floats, k: int) -> Calls:
    """Each answers with the distance to the k-th neighbour, but for the product."""
    index = NeighborIndex.build(bank)
    tile = np.empty((min(BLOCK, len(queries)), len(bank)), dtype=np.float32)
    starts = range(0, len(queries), BLOCK)

    def product() -> None:
        for start in starts:
            block = queries[start : start + BLOCK]
            np.matmul(block, bank.T, out=tile[: len(block)])

    knn = ood.KNN(k=k).fit(ood.Outputs(features=bank))
    record = ood.Outputs(features=queries)
    calls = {
        "product": product,
        "ours": lambda: index.search(queries, k).distances[:, -1],
        "detector, ours": lambda: -knn.score(record),
    }
    if torch := library("torch"):
        torch_bank, torch_queries = torch.from_numpy(bank).T, torch.from_numpy(queries)

        def by_torch() -> Floats:
            near = [(torch_queries[s : s + BLOCK] @ torch_bank).topk(k, dim=1) for s in starts]
            return (2 - 2 * torch.cat([found.values[:, -1] for found in near])).sqrt()

        calls["torch"] = by_torch
    if library("sklearn"):
        from sklearn.neighbors import NearestNeighbors

        brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank)
        calls["scikit-learn"] = lambda: brute.kneighbors(queries)[0][:, -1]
    if faiss := library("faiss"):
        flat = faiss.IndexFlatL2(bank.shape[1])
        flat.add(bank)
        calls["faiss"] = lambda: np.sqrt(flat.search(queries, k)[0][:, -1])
    return calls
