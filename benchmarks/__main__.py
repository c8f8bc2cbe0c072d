"""Time the toolkit against its peers on the same arrays.

    python -m benchmarks [--scale 1.0] [--rounds 5]

`make bench` runs it in an environment of its own.  Peers that are not installed are left
out and named.  Ratios are medians over interleaved rounds, with the smallest and largest.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable

import numpy as np

import ood_toolkit as ood
from benchmarks.timing import interleaved, report
from ood_toolkit.metrics import Ranking


def have(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def energy(scale: float, rounds: int, rng: np.random.Generator) -> None:
    from scipy.special import logsumexp

    for classes in (10, 100, 1000):
        n = max(1, int(2e7 * scale) // classes)
        z = rng.normal(0, 3, size=(n, classes)).astype(np.float32)
        calls: dict[str, Callable[[], object]] = {
            "ours": lambda z=z: ood.score(z, "energy"),
            "one read (numpy sum)": lambda z=z: z.sum(),
            "scipy": lambda z=z: logsumexp(z, axis=1),
        }
        if have("torch"):
            import torch

            t = torch.from_numpy(z)
            calls["torch"] = lambda t=t: torch.logsumexp(t, dim=1)
        report(f"energy, {n} rows x {classes} classes", interleaved(calls, rounds))


def ranking(scale: float, rounds: int, rng: np.random.Generator) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    n = int(5e5 * scale)
    a, b = rng.normal(1, 1, n), rng.normal(0, 1, n)
    scores, labels = np.concatenate([a, b]), np.repeat([1, 0], n)

    def ours() -> object:
        r = Ranking.of(a, b)
        return r.auroc(), r.aupr_in(), r.fpr_at_tpr()

    def sklearn() -> object:
        roc_curve(labels, scores)
        return roc_auc_score(labels, scores), average_precision_score(labels, scores)

    calls = {"ours": ours, "scikit-learn": sklearn, "np.sort": lambda: np.sort(scores)}
    report(f"AUROC + AUPR + FPR95, {n} + {n} scores", interleaved(calls, rounds))


def features(scale: float, rounds: int, rng: np.random.Generator) -> None:
    from sklearn.neighbors import NearestNeighbors

    n, m, d, classes = int(20_000 * scale), int(1_000 * scale), 256, 20
    y = rng.integers(0, classes, n)
    y[:classes] = np.arange(classes)
    f = (rng.normal(size=(n, d)) + 2 * rng.normal(size=(classes, d))[y]).astype(np.float32)
    q = rng.normal(size=(m, d)).astype(np.float32)
    train, x = ood.Outputs(features=f, labels=y), ood.Outputs(features=q)
    knn = ood.KNN(k=50, normalize=False).fit(train)
    peer = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(f)
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: knn.score(x),
        "one matrix product": lambda: q @ f.T,
        "scikit-learn": lambda: peer.kneighbors(q),
    }
    report(f"knn, bank {n} x {d}, {m} queries, k = 50", interleaved(calls, rounds))
    gauss = ood.Mahalanobis()
    calls = {
        "ours": lambda: gauss.fit(train),
        "one product (float64)": lambda: f.T.astype("f8") @ f,
    }
    report(f"mahalanobis fit, {n} x {d}", interleaved(calls, rounds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the arrays' sizes")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"numpy {np.__version__}, {os.cpu_count()} processors")
    for missing in [m for m in ("torch", "pytorch_ood") if not have(m)]:
        print(f"not installed, left out: {missing}")
    for part in (energy, ranking, features):
        part(arguments.scale, arguments.rounds, rng)
    return 0


if __name__ == "__main__":
    sys.exit(main())
