"""Interleaved timing: every candidate once a round, so that a slow spell hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["interleaved", "report"]


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 5
) -> dict[str, np.ndarray]:
    """Seconds of each candidate in each round; one round before counts for nothing."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def report(title: str, seconds: Mapping[str, np.ndarray], ours: str = "ours") -> dict[str, float]:
    """Print median times and the median of the ratios to ours; return those ratios."""
    print(f"\n{title}")
    ratios = {}
    for name, values in seconds.items():
        each = values / seconds[ours]
        ratios[name] = float(np.median(each))
        print(
            f"  {name:<24}{np.median(values):>10.4f} s   {ratios[name]:>8.2f} x ours"
            f"   ({each.min():.2f} ... {each.max():.2f})"
        )
    return ratios
