"""From how many logits two threads are quicker than one: `python -m benchmarks.threshold`.

Blocks are made so small that both threads have work; the ratio is that of medians over rounds
in which one thread and two take turns.  `ood_toolkit.kernels.rows.PARALLEL_FROM` is set by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from benchmarks.peers import THREADS, limit_threads
from benchmarks.results import spread
from benchmarks.tables import aligned, duration
from benchmarks.timing import interleaved
from ood_toolkit.kernels import rows
from ood_toolkit.kernels.statistics import ENTROPY, IMPURITY, TAIL, Statistic, log_sum_exp

__all__ = ["main", "table"]

SIZES = tuple(1 << power for power in range(14, 23))
CLASSES = (10, 100, 1_000)
ASKED: dict[str, tuple[Statistic, ...]] = {
    "lse": (log_sum_exp(),),
    "all": (log_sum_exp(), TAIL, ENTROPY, IMPURITY),
}
HEAD = ("logits", "classes", "statistics", "one thread", f"{THREADS} threads", "quicker by")


def table(sizes: tuple[int, ...], rounds: int, least: float) -> list[tuple[str, ...]]:
    """A row of text for each size, number of classes and set of statistics."""
    lines = []
    for classes in CLASSES:
        for asked, wanted in ASKED.items():
            for size in sizes:
                z = np.random.default_rng(0).standard_normal((size // classes, classes), np.float32)
                one, two = _medians(z, wanted, rounds, least)
                about = (f"{size:,}", f"{classes:,}", asked)
                lines.append((*about, duration(one), duration(two), f"{one / two:.2f}"))
    return lines


def _medians(
    z: npt.NDArray[np.float32], wanted: tuple[Statistic, ...], rounds: int, least: float
) -> tuple[float, float]:
    """Seconds on one thread and on two, rows cut into as many blocks as threads."""
    share = max(1, -(-z.size // THREADS))

    def on(threads: int) -> Callable[[], Any]:
        return lambda: rows.row_statistics(z, wanted, threads=threads)

    with patch.object(rows, "BLOCK_ELEMENTS", share), patch.object(rows, "PARALLEL_FROM", 0):
        seconds = interleaved({"one": on(1), "two": on(THREADS)}, rounds, least=least)
    return spread(seconds["one"]).median, spread(seconds["two"]).median


def main() -> None:
    """Print the table."""
    limit_threads()
    print(aligned(HEAD, table(SIZES, rounds=9, least=0.01)))


if __name__ == "__main__":
    main()
