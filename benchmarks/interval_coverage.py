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
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
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
SEED = 81_120_261  # fixed before the first run
RUNS = 2_000
DELONG_RUNS = 10_000
RESAMPLES = 400
PAIRED_RESAMPLES = 200
LEVEL = 0.95
BEGIN, END = "<!-- begin: interval coverage -->", "<!-- end: interval coverage -->"
METRICS = ("AUROC, DeLong", "FPR@95", "AUPR-in", "AUPR-out")
TESTED = {"FPR@95": "fpr", "AUPR-in, bootstrap": "aupr_in", "AUPR-out, bootstrap": "aupr_out"}
TESTS = ("AUROC, DeLong", *TESTED)
NORMAL = NormalDist()


def _survival(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(v / math.sqrt(2.0)) for v in z])


Draw = Callable[[np.random.Generator, int], np.ndarray]
SHAPES: dict[str, tuple[Draw, Draw, Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    # standard ID and OOD scores: how they are drawn, and how many are larger than z
    "normal": (
        lambda rng, n: rng.normal(size=n), lambda rng, n: rng.normal(size=n), _survival, _survival,
    ),
    "skewed": (  # tails towards each other, and beyond
        lambda rng, n: -rng.gumbel(size=n), lambda rng, n: rng.gumbel(size=n),
        lambda z: np.exp(-np.exp(np.clip(z, -700, 50))),
        lambda z: -np.expm1(-np.exp(-np.clip(z, -50, 700))),
    ),
    "logistic": (
        lambda rng, n: rng.logistic(size=n), lambda rng, n: rng.logistic(size=n),
        lambda z: 1 / (1 + np.exp(np.clip(z, -700, 700))),
        lambda z: 1 / (1 + np.exp(np.clip(z, -700, 700))),
    ),
    "half of OOD far off": (
        lambda rng, n: rng.normal(size=n),
        lambda rng, n: rng.normal(size=n) + np.where(rng.random(n) < 0.5, -3.0, 1.0),
        _survival, lambda z: 0.5 * _survival(z + 3.0) + 0.5 * _survival(z - 1.0),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """ID scores of a shape, moved up, against OOD scores; normal ones by their AUROC.

    `step` rounds both to a grid; `top` is where scores saturate.
    """

    auroc: float
    n_id: int
    n_ood: int
    spread: float = 1.0  # deviation of the ID scores
    step: float = 0.0
    shape: str = "normal"
    moved: float = 0.0
    top: float = math.inf

    @property
    def name(self) -> str:
        about = f"AUROC {self.auroc:g}, {self.n_id} + {self.n_ood}"
        about += f", {self.shape}" if self.shape != "normal" else ""
        about += f", ID deviation {self.spread:g}" if self.spread != 1 else ""
        about += f", saturated at {self.top:g}" if self.top < math.inf else ""
        return about + (f", rounded to {self.step:g}" if self.step else "")

    @property
    def shift(self) -> float:
        return self.moved or NORMAL.inv_cdf(self.auroc) * math.hypot(1.0, self.spread)

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        draw_id, draw_ood, _, _ = SHAPES[self.shape]
        inside = self.shift + self.spread * draw_id(rng, self.n_id)
        outside = draw_ood(rng, self.n_ood)
        if self.step:
            inside, outside = (np.round(x / self.step) * self.step for x in (inside, outside))
        return np.minimum(inside, self.top), np.minimum(outside, self.top)

    def truth(self) -> dict[str, float]:
        """The metrics of infinitely many rows, ID and OOD in the case's proportion."""
        step, reach = self.step or 2e-4, 12.0 if self.shape == "normal" else 40.0
        cuts = np.arange(reach, -reach, -step)  # a score lies at k * step within half a step
        cuts = np.append(np.inf, cuts[cuts <= self.top])
        _, _, of_id, of_ood = SHAPES[self.shape]
        hits = of_id((cuts - step / 2 - self.shift) / self.spread)
        misses = of_ood(cuts - step / 2)
        share = self.n_id / (self.n_id + self.n_ood)
        return {
            METRICS[0]: float(np.sum(np.diff(hits, prepend=0.0)
                                     * (1 - (misses + np.append(0.0, misses[:-1])) / 2))),
            METRICS[1]: float(misses[np.argmax(hits >= 0.95)]),
            METRICS[2]: _area(hits, misses, share),
            METRICS[3]: _area((1 - misses)[::-1], (1 - hits)[::-1], 1 - share),
        }  # fmt: skip


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
    Case(0.7, 100, 100),
    Case(0.9, 50, 50),
    Case(0.99, 200, 200),
    Case(0.95, 2000, 100),
    Case(0.95, 100, 2000),
    Case(0.85, 500, 500, step=0.25),
    Case(0.92, 400, 400, top=2.5),
    Case(0.79, 300, 300, shape="skewed", moved=2.5),
    Case(0.86, 400, 400, shape="logistic", moved=2.7),
    Case(0.88, 500, 300, shape="half of OOD far off", moved=2.0),
)


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


@dataclass(frozen=True)
class Null:
    """Two methods of the same case whose errors are correlated, and none is better.

    With `other`, the second method's ID scores have that deviation, about a mean with which
    the FPR at 95 % is the same; other metrics then differ.
    """

    case: Case
    correlation: float
    other: float = 0.0

    @property
    def name(self) -> str:
        alike = f", the other's ID deviation {self.other:g}" if self.other else ""
        return f"{self.case.name}, correlation {self.correlation:g}{alike}"

    @property
    def tests(self) -> tuple[str, ...]:
        return TESTS[1:2] if self.other else TESTS

    def drawn(self, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        case, root = self.case, math.sqrt(self.correlation)
        sets = []
        for n in (case.n_id, case.n_ood):
            shared = root * rng.normal(size=n)
            sets.append(shared + math.sqrt(1 - self.correlation) * rng.normal(size=(2, n)))
        inside = case.shift + case.spread * sets[0]
        if self.other:
            least = case.shift + case.spread * NORMAL.inv_cdf(0.05)
            inside[1] = least + self.other * (sets[0][1] - NORMAL.inv_cdf(0.05))
        if case.step:
            inside, sets[1] = (np.round(x / case.step) * case.step for x in (inside, sets[1]))
        return {"a": (inside[0], sets[1][0]), "b": (inside[1], sets[1][1])}


NULLS = (
    Null(Case(0.8, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.95),
    Null(Case(0.9, 1000, 200), 0.5),
    Null(Case(0.9, 500, 500, step=0.5), 0.5),
    Null(Case(0.96, 100, 100), 0.5),
    Null(Case(0.9, 200, 1000), 0.5),
    Null(Case(0.7, 200, 200), 0.0),
    Null(Case(0.9, 500, 500), 0.5, other=2.0),
)


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
