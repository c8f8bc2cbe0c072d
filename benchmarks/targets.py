"""The bars: what each figure must reach, in one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Report, Spread, figure, magnitude

__all__ = ["TARGETS", "Target", "Verdict", "verdicts"]

AT_LEAST, AT_MOST = "≥", "≤"

READ, SCIPY, TORCH, JAX = "one read / ours", "scipy / ours", "torch / ours", "jax / ours"
SKLEARN, OOD = "scikit-learn / ours", "pytorch-ood / ours"


@dataclass(frozen=True)
class Target:
    """A figure and its bar.

    Attributes
    ----------
    subject, case : str
        The benchmark module, and the case in it.
    reading : str
        A candidate or figure of the case, or "A / B": the median over the rounds of A's
        number by B's.  "one read / ours" is the share of the read bandwidth that is reached.
    sense, bar : str and float
        At least or at most so much.
    """

    subject: str
    case: str
    reading: str
    sense: str
    bar: float

    def reached(self, value: float) -> bool:
        return value >= self.bar if self.sense == AT_LEAST else value <= self.bar

    def told(self) -> str:
        return f"{self.sense} {magnitude(self.bar)}"


def _energy() -> Iterator[Target]:
    bars = {
        "C = 21,841": {READ: 0.90, SCIPY: 60, TORCH: 15, JAX: 3},
        "C = 128,256": {READ: 0.90, SCIPY: 60, TORCH: 15, JAX: 3},
        "C = 1,000": {READ: 0.75, SCIPY: 60, TORCH: 15, OOD: 20, JAX: 8},
        "C = 100": {READ: 0.65, SCIPY: 60, TORCH: 15},
        "C = 10": {READ: 0.40, SCIPY: 100, TORCH: 12},
    }
    for classes, each in bars.items():
        for reading, bar in each.items():
            yield Target("energy", f"energy, {classes}", reading, AT_LEAST, bar)


def _fused() -> Iterator[Target]:
    bars = {"C = 1,000": 0.33, "C = 21,841": 0.33, "C = 10": 0.2, "C = 32": 0.2}
    for classes, bar in bars.items():
        yield Target("fused", f"scores, {classes}", "one read / ours, nine", AT_LEAST, bar)
    for classes in ("C = 1,000", "C = 21,841"):
        for reading, bar in {
            "torch, ten calls / ours, ten": 80,
            "torch, shared / ours, ten": 30,
        }.items():
            yield Target("fused", f"scores, {classes}", reading, AT_LEAST, bar)


def _latency() -> Iterator[Target]:
    yield Target("latency", "one row", "kernel", AT_MOST, 2e-6)
    yield Target("latency", "one row", "ours", AT_MOST, 20e-6)
    yield Target("latency", "one row", "numpy / kernel, from Python", AT_LEAST, 1)
    yield Target("latency", "one row", "torch / kernel, from Python", AT_LEAST, 1)


def _mahalanobis() -> Iterator[Target]:
    for dims in ("D = 512", "D = 2,048"):
        yield Target("mahalanobis", f"score, {dims}", "ours / products", AT_MOST, 1.08)
        yield Target("mahalanobis", f"score, {dims}", TORCH, AT_LEAST, 1.25)
        yield Target("mahalanobis", f"score, {dims}", OOD, AT_LEAST, 300)
    for dims in ("D = 512", "D = 2,048"):
        yield Target("mahalanobis", f"fit, {dims}", "ours, the pass / syrk", AT_MOST, 1.25)
        yield Target("mahalanobis", f"fit, {dims}", SKLEARN, AT_LEAST, 1)


def _neighbors() -> Iterator[Target]:
    yield Target("neighbors", "search", "ours / product", AT_MOST, 1.1)
    for reading, bar in {"faiss / ours": 1.5, TORCH: 1.4, SKLEARN: 2.3}.items():
        yield Target("neighbors", "search", reading, AT_LEAST, bar)


def _ranking() -> Iterator[Target]:
    for power in ("1e6", "1e7", "1e7 + 1e7"):
        for dtype in ("float32", "float64"):
            case = f"metrics, {power} {dtype}"
            yield Target("ranking", case, SKLEARN, AT_LEAST, 40)
            yield Target("ranking", case, "ours / np.sort", AT_MOST, 0.4)
    yield Target("ranking", "bootstrap", SKLEARN, AT_LEAST, 200)


def _rest() -> Iterator[Target]:
    yield Target("files", "npy to energy", "ours / cat", AT_MOST, 0.55)
    yield Target("files", "npy to energy", "peak in strict-memory mode, MB", AT_MOST, 250)
    yield Target("commands", "--help", "ours", AT_MOST, 0.15)
    yield Target("commands", "score", "ours", AT_MOST, 0.6)
    for command in ("--help", "score"):
        yield Target("commands", command, "of torch and scikit-learn, ms", AT_MOST, 0)
    yield Target("accuracy", "all", "ours, float32, ulp", AT_MOST, 2.5)
    yield Target("accuracy", "all", "ours, float64, ulp", AT_MOST, 4)
    for classes in ("C = 1,000", "C = 21,841"):
        for method in ("fdbd", "dice", "gradnorm", "gen"):
            yield from _memory(f"{method}, {classes}")
    yield from _memory("kl_matching, N = 50,000, C = 1,000")


def _memory(case: str) -> Iterator[Target]:
    for step in ("fit", "score"):
        reading = f"{step} beyond inputs and state, MiB"
        yield Target("head_methods", case, reading, AT_MOST, 512)


TARGETS = (
    *_energy(),
    *_fused(),
    *_latency(),
    *_mahalanobis(),
    *_neighbors(),
    *_ranking(),
    *_rest(),
)


@dataclass(frozen=True)
class Verdict:
    """A target and the figure that a report has for it.

    Attributes
    ----------
    target : Target
    found : Spread or None
        None where it was not measured.
    word : str
        "reached", "not reached", or why there is no figure.
    """

    target: Target
    found: Spread | None
    word: str


def verdicts(report: Report) -> list[Verdict]:
    """Each target of the subjects that a report holds."""
    return [_judge(target, report) for target in TARGETS if target.subject in report.subjects]


def _judge(target: Target, report: Report) -> Verdict:
    case = report.subjects[target.subject].case(target.case)
    if case is None:
        return Verdict(target, None, "not measured")
    found = figure(case, target.reading)
    if found is None:
        names = target.reading.split(" / ")
        reasons = [case.absent[name] for name in names if name in case.absent]
        return Verdict(target, None, "; ".join(["not measured", *reasons]))
    return Verdict(target, found, "reached" if target.reached(found.median) else "not reached")
