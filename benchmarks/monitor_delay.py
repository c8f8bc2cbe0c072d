"""How long the monitor takes to notice that one row in ten comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import ood_toolkit as ood
from ood_toolkit import decision

HEADER = """\
| stream | changes at | median delay | 10 % … 90 % | alarm before the change |
| --- | --- | ---: | ---: | ---: |"""


def delays(rng: np.random.Generator, streams: int) -> Iterator[str]:
    """Rows until the alarm where one in ten is an outlier, as lines of a table."""

    def simulated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return rng.normal(size=1000), rng.normal(size=5000), rng.normal(-4.0, size=5000)

    fashion = ood.load_benchmark("fashion")
    scorer = ood.RelativeMahalanobis().fit(fashion.train)
    inside, more = scorer.score(fashion.id_val), scorer.score(fashion.id)
    strange = scorer.score(fashion.ood["photographs"])

    def photographs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return rng.permutation(inside)[:1000], rng.permutation(more), rng.permutation(strange)

    for name, draw in (("normal scores, outliers 4 σ lower", simulated),
                       ("`fashion`, relative Mahalanobis, photographs", photographs)):  # fmt: skip
        for begin in (0, 1000):
            found = [_delay(rng, *draw(), begin) for _ in range(streams)]
            late = np.array([d for d in found if d is not None])
            early = sum(d is None for d in found)
            low, middle, high = np.percentile(late, [10, 50, 90])
            yield (
                f"| {name} | row {begin} | {middle:.0f} | {low:.0f} … {high:.0f} | {early} of "
                f"{streams} |"
            )


def _delay(
    rng: np.random.Generator,
    held: np.ndarray,
    more: np.ndarray,
    strange: np.ndarray,
    begin: int,
    length: int = 2000,
) -> int | None:
    """Rows from the change to the alarm, `length` where none came; None if it came before."""
    stream = more[: begin + length].copy()
    other = np.flatnonzero(rng.random(length) < 0.1)
    stream[begin + other] = strange[: other.size]
    alarm = decision.Monitor(held, false_alarm=0.01, seed=int(rng.integers(2**31))).watch(stream)
    if alarm.alarm < 0:
        return length
    return None if alarm.alarm < begin else alarm.alarm - begin
