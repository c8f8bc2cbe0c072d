"""AUROC, AUPR and FPR95 of a million to twenty million scores, and bootstrap resamples."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from benchmarks.peers import MISSING, THREADS, library
from benchmarks.results import Case
from benchmarks.timing import Calls, agree, interleaved
from ood_toolkit.metrics import Ranking, bootstrap_intervals

__all__ = ["cases"]

SIZES = {"full": (1_000_000, 10_000_000, 20_000_000), "tiny": (2_000, 4_000, 6_000)}
RESAMPLED = {"full": 1_000_000, "tiny": 2_000}
BATCH = 20
"""Resamples that ours makes in a call, since threads take one each."""

LEAST = {"full": 0.05, "tiny": 0.0}

Scores = npt.NDArray[np.floating]


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """Metrics by number and type of the scores; then the bootstrap."""
    for power, size in zip(("1e6", "1e7", "1e7 + 1e7"), SIZES[scale], strict=True):
        for dtype in (np.float32, np.float64):
            first, second = _scores(size, dtype)
            agree(_metrics(first[:1_000], second[:1_000]), ["scikit-learn"], 1e-6)
            yield Case(
                f"metrics, {power} {np.dtype(dtype)}",
                f"{len(first):,} + {len(second):,} {np.dtype(dtype)} scores",
                interleaved(_metrics(first, second), rounds, least=LEAST[scale]),
                absent={} if library("sklearn") else {"scikit-learn": MISSING},
            )
    first, second = _scores(RESAMPLED[scale], np.float64)
    seconds = interleaved(_resamples(first, second), rounds)
    for name in seconds.keys() & {"ours", "ours, four metrics"}:
        seconds[name] = [batch / BATCH for batch in seconds[name]]
    yield Case(
        "bootstrap",
        f"{len(first):,} + {len(second):,} float64 scores",
        seconds,
        absent={} if library("sklearn") else {"scikit-learn": MISSING},
        notes=[
            "one resample of each set with replacement, and its AUROC; four metrics: with FPR95, "
            "AUPR-in and AUPR-out",
            f"ours: {BATCH} resamples on {THREADS} threads, divided by {BATCH}",
        ],
    )


def _scores(size: int, dtype: type) -> tuple[Scores, Scores]:
    rng = np.random.default_rng(0)
    half = size // 2
    return tuple(rng.normal(shift, 1, half).astype(dtype) for shift in (1, 0))


def _metrics(first: Scores, second: Scores) -> Calls:
    together = np.concatenate([first, second])
    positive = np.repeat(np.array([1, 0], np.int8), [len(first), len(second)])

    def ours() -> tuple[float, float, float]:
        ranking = Ranking.of(first, second)
        return ranking.auroc(), ranking.aupr_in(), ranking.fpr_at_tpr(0.95)

    calls: Calls = {"np.sort": lambda: np.sort(together), "ours": ours}
    if library("sklearn"):
        from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

        def theirs() -> tuple[float, float, float]:
            false, true, _ = roc_curve(positive, together, drop_intermediate=False)
            return (
                roc_auc_score(positive, together),
                average_precision_score(positive, together),
                false[np.searchsorted(true, 0.95)],
            )

        calls["scikit-learn"] = theirs
    return calls


def _resamples(first: Scores, second: Scores) -> Calls:
    """A batch of ours, one of scikit-learn's."""
    ranking = Ranking.of(first, second)

    def ours() -> list[float]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda state: ranking.resampled(state).auroc(), range(BATCH)))

    calls: Calls = {
        "ours": ours,
        "ours, four metrics": lambda: bootstrap_intervals(ranking, BATCH),
    }
    if library("sklearn"):
        from sklearn.metrics import roc_auc_score

        rng = np.random.default_rng(0)
        positive = np.repeat(np.array([1, 0], np.int8), [len(first), len(second)])

        def theirs() -> float:
            drawn = [s[rng.integers(0, len(s), len(s))] for s in (first, second)]
            return roc_auc_score(positive, np.concatenate(drawn))

        calls["scikit-learn"] = theirs
    return calls
