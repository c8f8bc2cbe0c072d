"""How often each promise of `ood_toolkit.decision` is broken, truth being known.

    python -m benchmarks.decision_guarantees [--repetitions 2000] [--write docs/decisions.md]

Every row of the table counts an event whose probability is promised, exactly or at most, over
independent draws of all the data that a user would have; the count must lie within the central
99 % of its binomial law, or below its upper end where the promise is "at most".  Every row has
a seed of its own, fixed before it was first run.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom

from benchmarks import monitor_delay, promises
from benchmarks.monitor_delay import delays
from benchmarks.pages import put
from benchmarks.promises import Check, Count, Mean
from benchmarks.set_guarantees import SEED, sets, sets_by_class, tuned_sets
from ood_toolkit import decision
from ood_toolkit.errors import ToolkitWarning

GUARANTEES = ((59, 0.95, 0.05), (500, 0.9, 0.1), (1000, 0.99, 0.05))
"""Rows, rate of acceptance, and how often it may be missed."""


def thresholds(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """Scores are normal, so the rate that a threshold accepts is known."""
    for rows, tpr, delta in GUARANTEES:
        missed = 0
        for _ in range(repetitions):
            found = decision.Threshold.guaranteed(rng.normal(size=rows), tpr, delta)
            missed += 1.0 - ndtr(found.value) < tpr
        setting = f"{rows} rows, TPR {tpr:g}, δ {delta:g}"
        event = f"TPR below {tpr:g}"
        yield Count("guaranteed threshold", setting, event, delta, True, missed, repetitions)


def laws(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """Ranks are whole numbers, so a guarantee fails less often than it may: exactly so often."""
    draws = 10 * repetitions
    for rows, tpr, delta in GUARANTEES:
        rank = decision.guaranteed_rank(rows, tpr, delta)
        exact = float(binom.cdf(rank - 1, rows, 1 - tpr))
        missed = 0
        for _ in range(10):
            scores = rng.normal(size=(repetitions, rows))
            values = np.partition(scores, rank - 1, axis=1)[:, rank - 1]
            missed += int(np.sum(1.0 - ndtr(values) < tpr))
        setting = f"{rows} rows, TPR {tpr:g}, δ {delta:g}; {draws} draws"
        event = f"TPR below {tpr:g}, exact law"
        yield Count("guaranteed threshold", setting, event, exact, False, missed, draws)


def p_values(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """One new row each time; with scores rounded to a decimal there are ties."""
    rows = 200
    draws = rng.normal(size=(2, repetitions, rows + 1))
    draws[1] = draws[1].round(1)
    for ties, sample in enumerate(draws):
        p = [decision.Threshold.at_tpr(row[:-1]).p_value(row[-1:])[0] for row in sample]
        for level in (0.01, 0.05, 0.5):
            exact = math.floor(level * (rows + 1) + 1e-9) / (rows + 1)
            yield Count(
                "p-value",
                f"{rows} rows, {'ties' if ties else 'no ties'}",
                f"p ≤ {level:g}",
                level if ties else exact,
                bool(ties),
                int(np.sum(np.array(p) <= level)),
                repetitions,
            )


def batches(rng: np.random.Generator, repetitions: int) -> Iterator[Mean]:
    """Forty rows that belong and ten that do not, judged together."""
    shares = np.empty(repetitions)
    for i in range(repetitions):
        threshold = decision.Threshold.at_tpr(rng.normal(size=500))
        scores = np.concatenate([rng.normal(size=40), rng.normal(-4.0, size=10)])
        flagged = decision.benjamini_hochberg(threshold.p_value(scores), 0.2)
        shares[i] = flagged[:40].sum() / max(flagged.sum(), 1)
    yield Mean(
        "Benjamini–Hochberg",
        "500 rows, batch of 50 with 10 outliers, level 0.2",
        "share of the flagged that belong",
        0.2 * 40 / 50,
        shares,
    )


def _judged(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence u, right with probability 1/2 + u/2: the risk above t is (1 - t) / 4."""
    confidence = rng.random(rows)
    return confidence, rng.random(rows) < 0.5 + 0.5 * confidence


def risks(rng: np.random.Generator, repetitions: int) -> Iterator[Count | Mean]:
    """Learn then test, and conformal risk control."""
    rows, delta = 500, 0.1
    broken, coverage = 0, 0.0
    for _ in range(repetitions):
        found = decision.selective_risk_threshold(*_judged(rng, rows), risk=0.15, delta=delta)
        broken += found.value < np.inf and (1 - found.value) / 4 > 0.15
        coverage += found.coverage / repetitions
    yield Count(
        "selective risk",
        f"{rows} rows, risk 0.15, δ {delta:g}; accepts {coverage:.0%} of 60 % possible",
        "risk above 0.15",
        delta,
        True,
        broken,
        repetitions,
    )
    lost = np.empty(repetitions)
    for i in range(repetitions):
        value = decision.expected_error_threshold(*_judged(rng, 200), risk=0.1).value
        lost[i] = (1 - min(value, 1.0)) ** 2 / 4  # P(u >= t) times the risk above t
    yield Mean(
        "expected error", "200 rows, risk 0.1", "share of rows accepted and wrong", 0.1, lost
    )


def monitors(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """Streams in which nothing changes."""
    rows, length = 500, 300
    for false_alarm in (0.01, 0.1):
        alarms = 0
        for i in range(repetitions):
            draws = rng.normal(size=rows + length)
            monitor = decision.Monitor(draws[:rows], false_alarm, seed=i)
            alarms += monitor.watch(draws[rows:]).alarm >= 0
        yield Count(
            "monitor",
            f"{rows} rows, a stream of {length}, false alarm {false_alarm:g}",
            "any alarm",
            false_alarm,
            True,
            alarms,
            repetitions,
        )


CHECKS: tuple[Check, ...] = (
    thresholds,
    p_values,
    sets,
    sets_by_class,
    tuned_sets,
    batches,
    risks,
    monitors,
    laws,
)


def counts(repetitions: int) -> Iterator[Count | Mean]:
    """Every promise, with the seed of its check."""
    for number, check in enumerate(CHECKS):
        yield from check(np.random.default_rng((SEED, number)), repetitions)


def main(argv: list[str] | None = None) -> int:
    """Print the tables; status 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=200, help="behind each delay")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args(argv)
    warnings.simplefilter("ignore", ToolkitWarning)
    begun = time.perf_counter()
    found = list(counts(given.repetitions))
    late = delays(np.random.default_rng((SEED, 100)), given.streams)
    text = [promises.HEADER, *(c.row() for c in found), "", monitor_delay.HEADER, *late]
    print("\n".join(text))
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if given.write:
        put(given.write, "decision_guarantees", "\n".join(text) + "\n")
    return 0 if all(c.holds for c in found) else 1


if __name__ == "__main__":
    sys.exit(main())
