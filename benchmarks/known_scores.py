"""Scores of one method whose metrics are known, and of two of which none is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

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

    `step` rounds both to a grid; `top` is where scores saturate.  With `reaching`, that share of
    all ID scores is rounded to 0 or more, and the AUROC is what follows from it.
    """

    auroc: float
    n_id: int
    n_ood: int
    spread: float = 1.0  # deviation of the ID scores
    step: float = 0.0
    shape: str = "normal"
    moved: float = 0.0
    top: float = math.inf
    reaching: float = 0.0

    @property
    def name(self) -> str:
        if self.reaching:
            at_group = f"{100 * self.reaching:g} % of ID reach a group"
            return f"{self.n_id} + {self.n_ood}, rounded to {self.step:g}, {at_group}"
        about = f"AUROC {self.auroc:g}, {self.n_id} + {self.n_ood}"
        about += f", {self.shape}" if self.shape != "normal" else ""
        about += f", ID deviation {self.spread:g}" if self.spread != 1 else ""
        about += f", saturated at {self.top:g}" if self.top < math.inf else ""
        return about + (f", rounded to {self.step:g}" if self.step else "")

    @property
    def shift(self) -> float:
        if self.reaching:
            return NORMAL.inv_cdf(self.reaching) - self.step / 2
        return self.moved or NORMAL.inv_cdf(self.auroc) * math.hypot(1.0, self.spread)

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        draw_id, draw_ood, _, _ = SHAPES[self.shape]
        inside = self.shift + self.spread * draw_id(rng, self.n_id)
        outside = draw_ood(rng, self.n_ood)
        if self.step:
            inside, outside = (np.round(x / self.step) * self.step for x in (inside, outside))
        return np.minimum(inside, self.top), np.minimum(outside, self.top)

    def threshold(self) -> float:
        """Score that 95 % of infinitely many ID rows of a grid reach."""
        least = self.shift + self.spread * NORMAL.inv_cdf(0.05)
        return float(np.round(least / self.step) * self.step)

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

TIED = tuple(
    Case(0.0, 500, 500, step=step, reaching=share)
    for step in (0.5, 0.25)
    for share in (0.93, 0.94, 0.949, 0.951, 0.96, 0.97)
)
"""Scores in groups, of which one is all but the one that an FPR at a TPR of 95 % is read at."""


@dataclass(frozen=True)
class Null:
    """Two methods of the same case whose errors are correlated, and none is better.

    With `other`, the second method's ID scores have that deviation, about a mean with which
    the FPR at 95 % is the same; other metrics then differ.  With `beside`, the methods agree at
    the FPR wanted alone: OOD scores that tie with the threshold or just below it are, in the
    second, those of the group beyond.
    """

    case: Case
    correlation: float
    other: float = 0.0
    beside: bool = False

    @property
    def name(self) -> str:
        alike = f", the other's ID deviation {self.other:g}" if self.other else ""
        alike += ", alike at that FPR alone" if self.beside else ""
        return f"{self.case.name}, correlation {self.correlation:g}{alike}"

    @property
    def tests(self) -> tuple[str, ...]:
        return TESTS[1:2] if self.other or self.beside or self.case.reaching else TESTS

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
        if self.beside:
            wanted, moved = case.threshold(), sets[1][1]
            at, below = (np.isclose(moved, wanted - k * case.step) for k in (0, 1))
            moved[at], moved[below] = wanted + case.step, wanted - 2.0 * case.step
        return {"a": (inside[0], sets[1][0]), "b": (inside[1], sets[1][1])}


NULLS = (
    Null(Case(0.8, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.5),
    Null(Case(0.9, 500, 500), 0.95),
    Null(Case(0.9, 1000, 200), 0.5),
    Null(Case(0.9, 500, 500, step=0.5), 0.5),
    Null(Case(0.9, 500, 500, step=0.5), 0.5, beside=True),
    Null(Case(0.96, 100, 100), 0.5),
    Null(Case(0.9, 200, 1000), 0.5),
    Null(Case(0.7, 200, 200), 0.0),
    Null(Case(0.9, 500, 500), 0.5, other=2.0),
)

TIED_NULLS = tuple(
    Null(case, 0.5, beside=beside)
    for case in TIED
    if case.reaching in {0.5: (0.93, 0.949, 0.951, 0.96), 0.25: (0.949,)}[case.step]
    for beside in (False, True)
)
"""Methods whose scores come in groups, which agree at all of them or at the one wanted alone."""
