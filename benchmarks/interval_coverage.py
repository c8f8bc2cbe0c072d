"""How often the intervals and paired tests of an evaluation are right, by simulation.

    python -m benchmarks.interval_coverage [--only PART] [--write docs/evaluation.md]

Draws ID and OOD scores from known distributions, so that the true AUROC, FPR and AUPR are
known, and counts how often the 95 % intervals hold them; and draws pairs of methods that are
equally good, and counts how often a paired test at 5 % says otherwise.  With --write the
figures go to docs/interval-coverage.json, and as tables between the page's markers; with --only
the others stay as they were found.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from ood_toolkit.metrics import (
    Ranking,
    auroc_difference,
    bootstrap_differences,
    bootstrap_intervals,
    delong_interval,
)

RESULTS = Path(__file__).parents[1] / "docs" / "interval-coverage.json"
SEED = 20_261_122  # fixed before the first run
RUNS = 2_000
DELONG_RUNS = 10_000
RESAMPLES = 1_000
PAIRED_RESAMPLES = 200
LEVEL = 0.95
BEGIN, END = "<!-- begin: interval coverage -->", "<!-- end: interval coverage -->"
METRICS = ("AUROC, DeLong", "FPR@95", "AUPR-in", "AUPR-out")
TESTS = ("AUROC, DeLong", "FPR@95, bootstrap", "AUPR-in, bootstrap")
NORMAL = NormalDist()


@dataclass(frozen=True)
class Case:
    """Normal ID scores against standard normal OOD scores; `step` rounds both to a grid."""

    auroc: float
    n_id: int
    n_ood: int
    spread: float = 1.0  # deviation of the ID scores
    step: float = 0.0

    @property
    def name(self) -> str:
        extras = f", ID deviation {self.spread:g}" if self.spread != 1 else ""
        extras += f", rounded to {self.step:g}" if self.step else ""
        return f"AUROC {self.auroc:g}, {self.n_id} + {self.n_ood}{extras}"

    @property
    def shift(self) -> float:
        return NORMAL.inv_cdf(self.auroc) * math.hypot(1.0, self.spread)

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        inside = rng.normal(self.shift, self.spread, self.n_id)
        outside = rng.normal(0.0, 1.0, self.n_ood)
        if self.step:
            inside, outside = (np.round(x / self.step) * self.step for x in (inside, outside))
        return inside, outside

    def truth(self) -> dict[str, float]:
        """The metrics of infinitely many rows, ID and OOD in the case's proportion."""
        step = self.step or 1e-4
        cuts = np.arange(12.0, -12.0, -step)  # a score lies at k * step within half a step
        below = [NormalDist(mean, spread) for mean, spread in ((self.shift, self.spread), (0, 1))]
        hits, misses = (_survival((cuts - step / 2 - d.mean) / d.stdev) for d in below)
        share = self.n_id / (self.n_id + self.n_ood)
        return {
            METRICS[0]: float(np.sum(np.diff(hits, prepend=0.0)
                                     * (1 - (misses + np.append(0.0, misses[:-1])) / 2))),
            METRICS[1]: float(misses[np.argmax(hits >= 0.95)]),
            METRICS[2]: _area(hits, misses, share),
            METRICS[3]: _area((1 - misses)[::-1], (1 - hits)[::-1], 1 - share),
        }  # fmt: skip


def _survival(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(v / math.sqrt(2.0)) for v in z])


def _area(hits: np.ndarray, misses: np.ndarray, share: float) -> float:
    """Average precision of a curve of shares, positives being `share` of all rows."""
    called = share * hits + (1 - share) * misses
    precision = np.divide(share * hits, called, out=np.ones(hits.size), where=called > 0)
    return float(np.sum(np.diff(hits, prepend=0.0) * precision))


CASES = (
    Case(0.8, 500, 500),
    Case(0.9, 500, 500),
    Case(0.9, 2000, 2000),
    Case(0.9, 200, 200),
    Case(0.96, 500, 500),
    Case(0.96, 100, 100),
    Case(0.99, 1000, 1000),
    Case(0.9, 1000, 200),
    Case(0.9, 200, 1000),
    Case(0.9, 500, 500, spread=2.0),
    Case(0.9, 500, 500, step=0.5),
)


def coverage_of_delong(case: Case, runs: int, seed: int = SEED) -> float:
    """Share of runs whose interval of the AUROC holds the truth; quick, so that runs are many."""
    truth = case.truth()[METRICS[0]]
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(runs):
        low, high = delong_interval(Ranking.of(*case.drawn(rng)), LEVEL)
        held += low <= truth + 1e-12 and truth <= high + 1e-12
    return held / runs


def coverage(case: Case, runs: int, seed: int = SEED) -> dict[str, float]:
    """Share of runs whose interval holds the truth, by metric."""
    truth = case.truth()
    rng = np.random.default_rng(seed)
    held = dict.fromkeys(METRICS, 0)
    for run in range(runs):
        ranking = Ranking.of(*case.drawn(rng))
        resampled = bootstrap_intervals(ranking, RESAMPLES, run, LEVEL)
        intervals = (
            delong_interval(ranking, LEVEL),
            *(resampled[name] for name in ("fpr", "aupr_in", "aupr_out")),
        )
        for metric, (low, high) in zip(METRICS, intervals, strict=True):
            held[metric] += low <= truth[metric] + 1e-12 and truth[metric] <= high + 1e-12
    return {metric: count / runs for metric, count in held.items()}


@dataclass(frozen=True)
class Null:
    """Two methods of the same case whose errors are correlated, and none is better."""

    case: Case
    correlation: float

    @property
    def name(self) -> str:
        return f"{self.case.name}, correlation {self.correlation:g}"

    def drawn(self, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        case, root = self.case, math.sqrt(self.correlation)
        sets = []
        for shift, spread, n in ((case.shift, case.spread, case.n_id), (0.0, 1.0, case.n_ood)):
            shared = root * rng.normal(size=n)
            own = math.sqrt(1 - self.correlation) * rng.normal(size=(2, n))
            scores = shift + spread * (shared + own)
            sets.append(np.round(scores / case.step) * case.step if case.step else scores)
        return {"a": (sets[0][0], sets[1][0]), "b": (sets[0][1], sets[1][1])}


NULLS = (
    Null(Case(0.8, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.95),
    Null(Case(0.9, 1000, 200), 0.5),
    Null(Case(0.9, 500, 500, step=0.5), 0.5),
    Null(Case(0.96, 100, 100), 0.5),
)


def false_alarms(null: Null, runs: int, seed: int = SEED) -> dict[str, float]:
    """Share of runs in which a paired test at 5 % tells two equally good methods apart."""
    rng = np.random.default_rng(seed)
    alarms = dict.fromkeys(TESTS, 0)
    for run in range(runs):
        methods = null.drawn(rng)
        found = [auroc_difference(*methods["a"], *methods["b"]).p_value]
        for metric in ("fpr", "aupr_in"):
            tested = bootstrap_differences(
                methods, "a", metric, resamples=PAIRED_RESAMPLES, seed=run
            )
            found.append(tested["b"].p_value)
        for test, p_value in zip(alarms, found, strict=True):
            alarms[test] += p_value < 1 - LEVEL
    return {test: count / runs for test, count in alarms.items()}


def band(rate: float, runs: int) -> tuple[float, float]:
    """Within it lies, in 99 of 100 simulations, the share of `runs` with true rate `rate`."""
    reach = NORMAL.inv_cdf(0.995) * math.sqrt(rate * (1 - rate) / runs)
    return rate - reach, rate + reach


def table(title: str, columns: tuple[str, ...], rows: dict[str, dict[str, float]], rate: float,
          runs: int) -> str:  # fmt: skip
    """Percentages as Markdown; those outside the band are bold."""
    low, high = band(rate, runs)
    lines = [f"| {title} | {' | '.join(columns)} |", "|" + " --- |" * (len(columns) + 1)]
    for name, found in rows.items():
        cells = []
        for column in columns:
            text = f"{100 * found[column]:.2f}"
            cells.append(text if low <= found[column] <= high else f"**{text}**")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(
    covered: dict[str, Any], delong: dict[str, Any], alarms: dict[str, Any], runs: int
) -> Iterator[str]:
    """The part of the documentation that this writes."""
    low, high = band(LEVEL, runs)
    yield (
        f"Share, in percent, of {runs:,} simulations whose 95 % interval holds the true value "
        f"({RESAMPLES:,} resamples; seed {SEED}).  Bold: outside {100 * low:.2f} to "
        f"{100 * high:.2f}, where a true 95 % lies in 99 of 100 such simulations."
    )
    yield table("normal scores, ID + OOD rows", METRICS, covered, LEVEL, runs)
    low, high = band(LEVEL, DELONG_RUNS)
    yield (
        f"The same for DeLong's interval of the AUROC alone, of {DELONG_RUNS:,} simulations.  "
        f"Bold: outside {100 * low:.2f} to {100 * high:.2f}."
    )
    yield table("normal scores, ID + OOD rows", METRICS[:1], delong, LEVEL, DELONG_RUNS)
    low, high = band(1 - LEVEL, runs)
    yield (
        f"Share, in percent, of {runs:,} simulations in which a paired test at 5 % tells two "
        f"equally good methods apart ({PAIRED_RESAMPLES} resamples).  Bold: outside "
        f"{100 * low:.2f} to {100 * high:.2f}."
    )
    yield table("normal scores, ID + OOD rows", TESTS, alarms, 1 - LEVEL, runs)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--only", choices=["intervals", "delong", "tests"])
    arguments = parser.parse_args()
    found: dict[str, Any] = {"intervals": {}, "delong": {}, "tests": {}}
    if arguments.only and RESULTS.exists():
        found |= json.loads(RESULTS.read_text(encoding="utf-8"))
    parts: tuple[tuple[str, Any, Any], ...] = (
        ("intervals", CASES, coverage),
        ("delong", CASES, lambda case, _: {METRICS[0]: coverage_of_delong(case, DELONG_RUNS)}),
        ("tests", NULLS, false_alarms),
    )
    for part, cases, simulate in parts:
        if arguments.only not in (None, part):
            continue
        found[part] = {}
        for case in cases:
            begun = time.perf_counter()
            found[part][case.name] = simulate(case, arguments.runs)
            seconds = time.perf_counter() - begun
            print(case.name, found[part][case.name], f"{seconds:.0f} s", flush=True)
    text = "\n\n".join(page(found["intervals"], found["delong"], found["tests"], arguments.runs))
    print(text)
    if arguments.write:
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        before, _, rest = arguments.write.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
