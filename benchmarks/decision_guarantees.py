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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import beta, binom, norm

import ood_toolkit as ood
from benchmarks.sdm_tables import put
from ood_toolkit import Outputs, decision
from ood_toolkit.errors import ToolkitWarning

SEED = 20_251_122
POPULATION = 100_000
SCORES = ("lac", "aps", "raps", "saps")
HEADER = "| promise | setting | event | promised | seen | 99 % band | holds |"


@dataclass(frozen=True)
class Count:
    """How often something happened, and how often it may."""

    promise: str
    setting: str
    event: str
    promised: float
    at_most: bool
    seen: int
    repetitions: int

    @property
    def band(self) -> tuple[float, float]:
        """Shares between which the one seen must lie."""
        law = binom(self.repetitions, self.promised)
        if self.at_most:
            return 0.0, float(law.ppf(0.99)) / self.repetitions
        low, high = law.ppf([0.005, 0.995]) / self.repetitions
        return float(low), float(high)

    @property
    def holds(self) -> bool:
        low, high = self.band
        return low <= self.seen / self.repetitions <= high

    def row(self) -> str:
        low, high = self.band
        cells = [
            self.promise,
            self.setting,
            self.event,
            ("≤ " if self.at_most else "") + f"{self.promised:.4f}",
            f"{self.seen / self.repetitions:.4f}",
            f"{low:.4f} … {high:.4f}",
            "yes" if self.holds else "**no**",
        ]
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Mean:
    """A promise on an average: its band is that of the mean over the repetitions."""

    promise: str
    setting: str
    event: str
    promised: float
    values: np.ndarray

    @property
    def band(self) -> tuple[float, float]:
        error = self.values.std(ddof=1) / math.sqrt(self.values.size)
        return 0.0, float(self.promised + norm.ppf(0.99) * error)

    @property
    def holds(self) -> bool:
        return bool(self.values.mean() <= self.band[1])

    def row(self) -> str:
        cells = [
            self.promise,
            self.setting,
            self.event,
            f"≤ {self.promised:.4f}",
            f"{self.values.mean():.4f}",
            f"0 … {self.band[1]:.4f}",
            "yes" if self.holds else "**no**",
        ]
        return f"| {' | '.join(cells)} |"


Check = Callable[[np.random.Generator, int], Iterator[Count | Mean]]


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


@cache
def population() -> Outputs:
    """Ten classes; the classifier is three times too sure."""
    rng = np.random.default_rng(SEED)
    true = rng.normal(size=(POPULATION, 10)) * 1.2
    p = np.exp(true)
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random(POPULATION)[:, np.newaxis]).sum(axis=1)
    return Outputs(logits=3 * true, labels=np.minimum(labels, 9))


def sets(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """Calibration rows, and one new row, are drawn from the population."""
    rows, alpha = 100, 0.1
    whole = population()
    labels = np.asarray(whole.labels)
    for score in SCORES:
        penalty = {"raps": 0.1, "saps": 0.2}.get(score, 0.0)
        missed, low = 0, 0
        own = np.sort(_label_scores(score, penalty))
        spare = math.floor((rows + 1) * alpha + 1e-9)
        limit = beta(rows + 1 - spare, spare).ppf(0.05)
        for i in range(repetitions):
            drawn = rng.integers(0, POPULATION, rows + 1)
            rule = _rule(score, penalty, alpha, seed=2 * i)
            fitted = rule.fit(whole.rows(drawn[:-1]))
            held = fitted.sets(whole.rows(drawn[-1:]))[0, labels[drawn[-1]]]
            missed += not held
            covered = np.searchsorted(own, fitted.quantiles[0], side="right") / POPULATION
            low += covered < limit
        setting = f"{rows} rows, α {alpha:g}"
        yield Count(
            f"{score} sets",
            setting,
            "a new label outside",
            1 - math.ceil((rows + 1) * (1 - alpha) - 1e-9) / (rows + 1),
            False,
            missed,
            repetitions,
        )
        event = "coverage in the lowest 5 % of its Beta law"
        yield Count(f"{score} sets", setting, event, 0.05, False, low, repetitions)


def sets_by_class(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """As many rows of each class, so that what is promised of each is one number."""
    each, alpha = 30, 0.2
    whole = population()
    labels = np.asarray(whole.labels)
    members = [np.flatnonzero(labels == c) for c in range(10)]
    missed = np.zeros(10, dtype=int)
    for i in range(repetitions):
        drawn = np.stack([rng.choice(m, each + 1) for m in members])
        fitted = _rule("aps", 0.0, alpha, seed=2 * i, by_class=True).fit(
            whole.rows(drawn[:, :-1].ravel())
        )
        held = fitted.sets(whole.rows(drawn[:, -1]))
        missed += ~held[np.arange(10), np.arange(10)]
    promised = 1 - math.ceil((each + 1) * (1 - alpha) - 1e-9) / (each + 1)
    setting = f"{each} rows a class, α {alpha:g}"
    for c in (0, 9):
        event = f"a new label {c} outside"
        yield Count(
            "aps sets by class", setting, event, promised, False, int(missed[c]), repetitions
        )
    # classes are drawn independently, so all of them together are more trials
    yield Count(
        "aps sets by class",
        setting,
        "a new label outside, all 10 classes",
        promised,
        False,
        int(missed.sum()),
        10 * repetitions,
    )


def tuned_sets(rng: np.random.Generator, repetitions: int) -> Iterator[Count]:
    """The penalty is chosen on 30 % of the rows, the quantile taken of the others."""
    rows, alpha = 100, 0.1
    whole = population()
    labels = np.asarray(whole.labels)
    for score in ("raps", "saps"):
        missed = 0
        for i in range(repetitions):
            drawn = rng.integers(0, POPULATION, rows + 1)
            fitted = decision.tuned_sets(
                _rule(score, 0.0, alpha, seed=2 * i), whole.rows(drawn[:-1])
            )
            missed += not fitted.sets(whole.rows(drawn[-1:]))[0, labels[drawn[-1]]]
        yield Count(
            f"{score} sets, penalty chosen",
            f"{rows} rows, α {alpha:g}",
            "a new label outside",
            1 - math.ceil(71 * (1 - alpha) - 1e-9) / 71,
            False,
            missed,
            repetitions,
        )


def _rule(score: Any, penalty: float, alpha: float, **more: Any) -> decision.ConformalSets:
    return decision.ConformalSets(alpha, score, penalty=penalty, rank_free=2, **more)


@cache
def _label_scores(score: str, penalty: float) -> np.ndarray:
    whole = population()
    scores = _rule(score, penalty, 0.1).scores(whole, SEED)
    found: np.ndarray = scores[np.arange(POPULATION), whole.labels]
    return found


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


# Delay of the monitor


def delays(streams: int) -> Iterator[str]:
    """Rows until the alarm where one in ten is an outlier, as lines of a table."""
    rng = np.random.default_rng((SEED, 100))

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
    text = [HEADER, "| --- | --- | --- | ---: | ---: | ---: | --- |", *(c.row() for c in found)]
    text += ["", "| stream | changes at | median delay | 10 % … 90 % | alarm before the change |",
             "| --- | --- | ---: | ---: | ---: |", *delays(given.streams)]  # fmt: skip
    print("\n".join(text))
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if given.write:
        put(given.write, "decision_guarantees", "\n".join(text) + "\n")
    return 0 if all(c.holds for c in found) else 1


if __name__ == "__main__":
    sys.exit(main())
