"""How often the intervals and paired tests of an evaluation are right, by simulation.

    python -m benchmarks.interval_coverage [--only PART] [--write docs/evaluation.md]

Draws ID and OOD scores from known distributions, so that the true AUROC, FPR and AUPR are
known, and counts how often the 95 % intervals hold them; and draws pairs of methods that are
equally good, and counts how often a paired test at 5 % says otherwise.  With --write the
figures go to docs/interval-coverage.json, and as tables between the page's markers; with --only
the others stay as they were found.  A run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.known_scores import CASES, METRICS, NORMAL, NULLS, TESTED, TESTS, Case, Null
from ood_toolkit.metrics import (
    Ranking,
    auroc_difference,
    bootstrap_differences,
    bootstrap_intervals,
    delong_interval,
)

RESULTS = Path(__file__).parents[1] / "docs" / "interval-coverage.json"
SEED = 81_120_261  # fixed before the first run
RUNS = 2_000
DELONG_RUNS = 10_000
RESAMPLES = 400
PAIRED_RESAMPLES = 200
LEVEL = 0.95
BEGIN, END = "<!-- begin: interval coverage -->", "<!-- end: interval coverage -->"


def stream(part: str, name: str) -> np.random.Generator:
    """Random numbers of a case's own: no two share their luck."""
    return np.random.default_rng([SEED, *f"{part} {name}".encode()])


def coverage_of_delong(case: Case, runs: int) -> dict[str, float]:
    """Share of runs whose interval of the AUROC holds the truth; quick, so that runs are many."""
    truth = case.truth()[METRICS[0]]
    rng = stream("delong", case.name)
    held = 0
    for _ in range(runs):
        low, high = delong_interval(Ranking.of(*case.drawn(rng)), LEVEL)
        held += low <= truth + 1e-12 and truth <= high + 1e-12
    return {METRICS[0]: held / runs}


def coverage(case: Case, runs: int) -> dict[str, float]:
    """Share of runs whose interval holds the truth, by metric."""
    truth = case.truth()
    rng = stream("intervals", case.name)
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


def false_alarms(null: Null, runs: int) -> dict[str, float]:
    """Share of runs in which a paired test at 5 % tells two equally good methods apart."""
    rng = stream("tests", null.name)
    alarms = dict.fromkeys(null.tests, 0)
    for run in range(runs):
        methods = null.drawn(rng)
        for test in null.tests:
            if test == TESTS[0]:
                p_value = auroc_difference(*methods["a"], *methods["b"]).p_value
            else:
                p_value = bootstrap_differences(
                    methods, "a", TESTED[test], resamples=PAIRED_RESAMPLES, seed=run
                )["b"].p_value
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
            if column not in found:
                cells.append("")
                continue
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
    yield table("ID + OOD rows, normal scores unless said", METRICS, covered, LEVEL, runs)
    low, high = band(LEVEL, DELONG_RUNS)
    yield (
        f"The same for DeLong's interval of the AUROC alone, of {DELONG_RUNS:,} simulations.  "
        f"Bold: outside {100 * low:.2f} to {100 * high:.2f}."
    )
    yield table("ID + OOD rows, normal scores unless said", METRICS[:1], delong, LEVEL, DELONG_RUNS)
    low, high = band(1 - LEVEL, runs)
    yield (
        f"Share, in percent, of {runs:,} simulations in which a paired test at 5 % tells two "
        f"equally good methods apart ({PAIRED_RESAMPLES} resamples).  Bold: outside "
        f"{100 * low:.2f} to {100 * high:.2f}."
    )
    yield table("ID + OOD rows, normal scores unless said", TESTS, alarms, 1 - LEVEL, runs)


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
    choices = f"{SEED}-{arguments.runs}-{RESAMPLES}-{PAIRED_RESAMPLES}"
    unfinished = Path(tempfile.gettempdir()) / f"ood-toolkit-interval-coverage-{choices}.json"
    done = json.loads(unfinished.read_text("utf-8")) if unfinished.exists() else {}
    parts: tuple[tuple[str, Any, Any], ...] = (
        ("intervals", CASES, partial(coverage, runs=arguments.runs)),
        ("delong", CASES, partial(coverage_of_delong, runs=max(arguments.runs, DELONG_RUNS))),
        ("tests", NULLS, partial(false_alarms, runs=arguments.runs)),
    )
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as workers:
        for part, cases, simulate in parts:
            if arguments.only not in (None, part):
                continue
            named = {case.name: case for case in cases}
            kept = done.get(part, {})
            found[part] = {name: kept[name] for name in named if name in kept}
            left = [name for name in named if name not in found[part]]
            for name, shares in zip(left, workers.map(simulate, map(named.get, left)), strict=True):
                found[part][name] = shares
                print(name, shares, flush=True)
                unfinished.write_text(json.dumps(found), encoding="utf-8")
    unfinished.unlink(missing_ok=True)
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
