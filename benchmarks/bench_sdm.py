"""Time SDM's fit and score against the same nearest-neighbour searches by faiss alone.

    python -m benchmarks.bench_sdm [--support 100000] [--dims 512] [--rows 10000]

Rows of Gaussian classes in twenty of the dimensions, faint noise in all, and the logits of a
linear classifier, float32.  "ours" fits on
the support and held-out rows and scores the test rows; faiss builds a flat index and searches
it for 64 neighbours of the held-out and of the test rows.  Each runs once a round; ratios are
medians over the rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

import ood_toolkit as ood

NEIGHBORS = 64
RANK = 20


def centres_of(classes: int, dims: int, apart: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (apart * rng.standard_normal((classes, RANK)) @ directions(dims)).astype(np.float32)


def directions(dims: int) -> np.ndarray:
    """A few orthogonal directions, in which classes and rows differ."""
    return np.linalg.qr(np.random.default_rng(1).standard_normal((dims, RANK)))[0].T


def draw(centres: np.ndarray, rows: int, seed: int) -> ood.Outputs:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(centres), rows)
    features = (rng.standard_normal((rows, RANK)) @ directions(centres.shape[1])).astype("f4")
    features += 0.05 * rng.standard_normal(features.shape, dtype=np.float32)
    features += centres[labels]
    logits = features @ centres.T - 0.5 * (centres**2).sum(axis=1)
    return ood.Outputs(features=features, logits=logits, labels=labels)


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--support", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=10_000, help="held-out, and test rows")
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--apart", type=float, default=1.5, help="classes, in units of their noise")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(argv)
    centres = centres_of(given.classes, given.dims, given.apart)
    train, held_out, test = (
        draw(centres, rows, seed)
        for seed, rows in enumerate((given.support, given.rows, given.rows))
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sdm = ood.SDM().fit(train, held_out)
    found = sdm.predict(test)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"numpy {np.__version__}, {os.cpu_count()} processors")
    print(f"peak memory above the arrays: {(after - before) / 1024:.0f} MiB")
    print(
        f"accuracy {(found.prediction == test.labels).mean():.3f}, runs of {NEIGHBORS} or more: "
        f"{(found.similarity >= NEIGHBORS).mean():.1%}, admitted {found.accept.mean():.1%}"
    )
    calls = {"ours": lambda: ood.SDM().fit(train, held_out).score(test)}
    if importlib.util.find_spec("faiss"):
        import faiss

        def flat() -> None:
            index = faiss.IndexFlatL2(given.dims)
            index.add(train.features)
            index.search(held_out.features, NEIGHBORS)
            index.search(test.features, NEIGHBORS)

        calls["faiss flat, k = 64"] = flat
    else:
        print("not installed, left out: faiss")
    print(f"support {given.support} x {given.dims}, {given.rows} held-out and test rows")
    rounds = [{name: seconds_of(call) for name, call in calls.items()} for _ in range(given.rounds)]
    for name in calls:
        each = [r[name] for r in rounds]
        print(f"  {name:<20}{np.median(each):8.2f} s   ({min(each):.2f} ... {max(each):.2f})")
    if len(calls) > 1:
        ratios = [r["ours"] / r["faiss flat, k = 64"] for r in rounds]
        print(f"ours / faiss: {np.median(ratios):.2f}   ({min(ratios):.2f} ... {max(ratios):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
