"""How often conformal prediction sets miss the label, over draws from a known population."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.promises import Count
from ood_toolkit import Outputs, decision

SEED = 20_251_122
POPULATION = 100_000
SCORES = ("lac", "aps", "raps", "saps")


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
