"""How often the intervals and paired tests of an evaluation are right, by simulation.

    python -m benchmarks.interval_coverage [--only PART] [--write docs/evaluation.md]

Draws ID and OOD scores from known distributions, so that the true AUROC, FPR and AUPR are
known, and counts how often the 95 % intervals hold them; and draws pairs of methods that are
equally good, and counts how often a paired test at 5 % says otherwise.  With --write the
figures go to docs/interval-coverage.json, and as tables between the page's markers; with --only
the others stay as they were found.  A run that was killed goes on where it was.

The parts `intervals` and `tests` are the short runs; `more intervals` and `more tests` the same
cases in other, longer ones, which say what of the short ones is chance; `ties` and `tied tests`
have scores in groups that stand closer and closer to where an FPR jumps.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.known_scores import (
    CASES,
    METRICS,
    NORMAL,
    NULLS,
    TESTED,
    TESTS,
    TIED,
    TIED_NULLS,
    Case,
    Null,
)
from benchmarks.pages import put
from ood_toolkit.metrics import (
    Ranking,
    auroc_difference,
    bootstrap_differences,
    bootstrap_intervals,
    delong_interval,
    fpr_interval,
)

RESULTS = Path(__file__).parents[1] / "docs" / "interval-coverage.json"
SEED = 81_120_261  # fixed before the first run
RUNS, MORE_RUNS = 2_000, 10_000
RESAMPLES = 1_000
LEVEL = 0.95
INTERVALS = dict(zip(METRICS[:2], (delong_interval, fpr_interval), strict=True))
"""Those that take no resamples."""


def stream(part: str, name: str) -> np.random.Generator:
    """Random numbers of a case's own: no two share their luck."""
    return np.random.default_rng([SEED, *f"{part} {name}".encode()])


def coverage(case: Case, part: str, runs: int) -> dict[str, float]:
    """Share of runs whose interval holds the truth, by metric."""
    truth = case.truth()
    rng = stream(part, case.name)
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


def coverage_of_one(case: Case, part: str, runs: int, metric: str) -> dict[str, float]:
    """As `coverage`, of one metric whose interval takes no resamples; quick."""
    truth, interval = case.truth()[metric], INTERVALS[metric]
    rng = stream(part, case.name)
    held = 0
    for _ in range(runs):
        low, high = interval(Ranking.of(*case.drawn(rng)), LEVEL)
        held += low <= truth + 1e-12 and truth <= high + 1e-12
    return {metric: held / runs}


def false_alarms(null: Null, part: str, runs: int) -> dict[str, float]:
    """Share of runs in which a paired test at 5 % tells two equally good methods apart."""
    rng = stream(part, null.name)
    alarms = dict.fromkeys(null.tests, 0)
    for run in range(runs):
        methods = null.drawn(rng)
        for test in null.tests:
            if test == TESTS[0]:
                p_value = auroc_difference(*methods["a"], *methods["b"]).p_value
            else:
                p_value = bootstrap_differences(
                    methods, "a", TESTED[test], resamples=RESAMPLES, seed=run
                )["b"].p_value
            alarms[test] += p_value < 1 - LEVEL
    return {test: count / runs for test, count in alarms.items()}


def band(rate: float, runs: int) -> tuple[float, float]:
    """Within it lies, in 99 of 100 simulations, the share of `runs` with true rate `rate`."""
    reach = NORMAL.inv_cdf(0.995) * math.sqrt(rate * (1 - rate) / runs)
    return rate - reach, rate + reach


class Part(NamedTuple):
    """One table: what is simulated, how often, and what it is to be compared with."""

    cases: Sequence[Case | Null]
    simulate: Callable[..., dict[str, float]]
    runs: int
    columns: tuple[str, ...]
    rate: float
    says: str


HOLDS = "whose 95 % interval holds the true value"
ALARMS = "in which a paired test at 5 % tells two equally good methods apart"
PARTS = {
    "intervals": Part(CASES, coverage, RUNS, METRICS, LEVEL, HOLDS),
    "more intervals": Part(CASES, coverage, MORE_RUNS, METRICS, LEVEL, HOLDS),
    "ties": Part(
        TIED, partial(coverage_of_one, metric=METRICS[1]), MORE_RUNS, METRICS[1:2], LEVEL, HOLDS
    ),
    "tests": Part(NULLS, false_alarms, RUNS, TESTS, 1 - LEVEL, ALARMS),
    "more tests": Part(NULLS, false_alarms, MORE_RUNS, TESTS, 1 - LEVEL, ALARMS),
    "tied tests": Part(TIED_NULLS, false_alarms, MORE_RUNS, TESTS[1:2], 1 - LEVEL, ALARMS),
}


def table(title: str, part: Part, rows: dict[str, dict[str, float]]) -> str:
    """Percentages as Markdown; those outside the band are bold."""
    low, high = band(part.rate, part.runs)
    lines = [f"| {title} | {' | '.join(part.columns)} |", "|" + " --- |" * (len(part.columns) + 1)]
    for name, found in rows.items():
        cells = []
        for column in part.columns:
            if column not in found:
                cells.append("")
                continue
            text = f"{100 * found[column]:.2f}"
            cells.append(text if low <= found[column] <= high else f"**{text}**")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """The part of the documentation that this writes."""
    for name, part in PARTS.items():
        figures = [v for shares in found[name].values() for v in shares.values()]
        low, high = band(part.rate, part.runs)
        outside = sum(not low <= v <= high for v in figures)
        yield (
            f"Share, in percent, of {part.runs:,} simulations {part.says} ({RESAMPLES:,} "
            f"resamples; seed {SEED}, stream `{name}`).  Bold: outside {100 * low:.2f} to "
            f"{100 * high:.2f}, where a true {100 * part.rate:g} % lies in 99 of 100 such "
            f"simulations: {outside} of {len(figures)}."
        )
        yield table("ID + OOD rows, normal scores unless said", part, found[name])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", metavar="PART")
    arguments = parser.parse_args()
    found: dict[str, Any] = {name: {} for name in PARTS}
    if arguments.only and RESULTS.exists():
        found |= json.loads(RESULTS.read_text(encoding="utf-8"))
    unfinished = Path(tempfile.gettempdir()) / f"ood-toolkit-interval-coverage-{SEED}.json"
    done = json.loads(unfinished.read_text("utf-8")) if unfinished.exists() else {}
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
        for name, part in PARTS.items():
            if arguments.only and name not in arguments.only:
                continue
            named = {case.name: case for case in part.cases}
            kept = done.get(name, {})
            found[name] = {case: kept[case] for case in named if case in kept}
            left = [case for case in named if case not in found[name]]
            simulate = partial(part.simulate, part=name, runs=part.runs)
            for case, shares in zip(left, workers.map(simulate, map(named.get, left)), strict=True):
                found[name][case] = shares
                print(name, case, shares, flush=True)
                unfinished.write_text(json.dumps(found), encoding="utf-8")
            found[name] = {case: found[name][case] for case in named}
    unfinished.unlink(missing_ok=True)
    found = {name: found[name] for name in PARTS}
    text = "\n\n".join(page(found))
    print(text)
    if arguments.write:
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        put(arguments.write, "interval_coverage", text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
