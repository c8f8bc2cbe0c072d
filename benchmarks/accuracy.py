"""Error of log-sum-exp in units in the last place, against 40 digits by mpmath."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import ood_toolkit as ood
from benchmarks.energy import CLASSES
from benchmarks.peers import MISSING, library
from benchmarks.results import Case

__all__ = ["cases"]

ELEMENTS = {"full": 20_000, "tiny": 200}
MOST = {"full": 128_256, "tiny": 1_000}
DEEP = 80
"""Terms so far below the largest add less than the thirtieth digit."""

Array = npt.NDArray[Any]
Methods = Mapping[str, Callable[[Array], Array]]


def cases(scale: str, rounds: int) -> Iterator[Case]:
    """The largest error by number of classes, and the largest of all."""
    if not library("mpmath"):
        yield Case("all", absent={"ours, float32, ulp": MISSING})
        return
    worst: dict[str, float] = {}
    absent = {} if library("torch") else {"torch": MISSING}
    for classes in (c for c in CLASSES if c <= MOST[scale]):
        rows = -(-ELEMENTS[scale] // classes)
        figures: dict[str, float] = {}
        for dtype in (np.float32, np.float64):
            for z in _inputs(rows, classes, dtype):
                for method, largest in _errors(z).items():
                    name = f"{method}, {np.dtype(dtype)}, ulp"
                    figures[name] = max(figures.get(name, 0.0), largest)
        for name, largest in figures.items():
            worst[name] = max(worst.get(name, 0.0), largest)
        size = f"{rows} rows of each of 8 kinds"
        yield Case(
            f"C = {classes:,}", size, figures={k: [v] for k, v in figures.items()}, absent=absent
        )
    yield Case(
        "all",
        figures={k: [v] for k, v in worst.items()},
        absent=absent,
        notes=[
            "largest error over all rows, in units in the last place of max(|lse|, 1)",
            "normal logits of deviation 0.1, 1, 3 and 30, the same less 1,000, equal logits, "
            "subnormal logits, and logits up to 3e38",
            "ours answers in float64 whatever the logits; peers in the type of the logits",
        ],
    )


def _inputs(rows: int, classes: int, dtype: type) -> Iterator[Array]:
    rng = np.random.default_rng(classes)
    shape = (rows, classes)
    for deviation in (0.1, 1.0, 3.0, 30.0):
        yield (deviation * rng.standard_normal(shape)).astype(dtype)
    yield (3 * rng.standard_normal(shape) - 1000).astype(dtype)
    yield np.repeat(rng.standard_normal((rows, 1)), classes, axis=1).astype(dtype)
    smallest = float(np.finfo(dtype).smallest_subnormal)
    yield (99 * smallest * rng.standard_normal(shape)).astype(dtype)
    yield rng.uniform(-3e38, 3e38, shape).astype(dtype)


def _errors(z: Array) -> dict[str, float]:
    """Largest error of each method over the rows."""
    exact = [_exact(row) for row in z]
    unit = [float(np.spacing(z.dtype.type(max(abs(float(e)), 1.0)))) for e in exact]
    found = {}
    for name, method in _methods().items():
        answers = [float(value) for value in method(z)]
        found[name] = max(
            float(abs(a - e)) / u for a, e, u in zip(answers, exact, unit, strict=True)
        )
    return found


def _exact(row: Array) -> Any:
    mpmath = library("mpmath")
    with mpmath.workdps(40):
        top = float(row.max())
        near = row[row >= top - DEEP].astype(np.float64).tolist()
        return top + mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(x) - top) for x in near))


def _methods() -> Methods:
    from scipy.special import logsumexp

    methods = {
        "ours": lambda z: ood.score(z, "energy")["energy"],
        "scipy": lambda z: logsumexp(z, axis=1),
    }
    if torch := library("torch"):
        methods["torch"] = lambda z: torch.logsumexp(torch.from_numpy(z), dim=1).numpy()
    return methods
