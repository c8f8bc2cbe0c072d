"""How near to its level any interval of an FPR can come where scores tie in groups.

    python -m benchmarks.tied_bound [--write docs/evaluation.md]

Where ID scores come in groups, the FPR at a TPR is the rate of one group, and how many ID rows
reach each group says which.  In the limit of many rows a group is `width` deviations wide, the
wanted TPR lies `place` deviations inside it, and the rows show that place with a standard normal
error.  The rates of neighbouring groups are taken to be far apart against their own error.

An interval is then two ends, each of which misses the rate of a group with a probability that
follows from the place shown.  Asked of it is: an end moves one way only as the place does; it
lies at one rate at a time, so that where it may miss one group it misses the next; the rate of the
group shown is missed by neither end more than half the time; and wherever the true place is, the
interval holds the truth in 93.74 % at least.  A linear program finds, over all such intervals,
the least coverage that the place where it is largest can have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.stats import norm

from benchmarks.interval_coverage import LEVEL, RUNS, SEED, band
from benchmarks.known_scores import CASES, NORMAL, Case
from benchmarks.pages import put
from ood_toolkit.metrics import Ranking, fpr_interval

WIDTHS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
CELLS, PLACES, ENDS = 60, 25, 25
SHARE = 0.95


class _Side(NamedTuple):
    """An end that may miss a group while the place is up to `last` deviations into it.

    Attributes
    ----------
    surely : (P,) array
        Probability, by true place, that the group is out of question and missed.
    perhaps : (P, CELLS) array
        That the place lies in a cell where it may be missed.
    most : (CELLS,) array
        With which probability at most.
    """

    surely: np.ndarray
    perhaps: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, width: float, last: float, places: np.ndarray) -> _Side:
        edges = np.linspace(last - width, last, CELLS + 1)
        perhaps = np.diff(norm.cdf(edges[None, :] - places[:, None]), axis=1)
        most = np.where(0.5 * (edges[1:] + edges[:-1]) >= 0.0, 0.5, 1.0)
        return cls(norm.cdf(edges[0] - places), perhaps, most)


def least_coverage(width: float, least: float, at: float | None = None) -> float:
    """Least coverage at the place where it is largest, or at one place; NaN if none holds."""
    places = np.linspace(0.0, width, PLACES)
    if at is not None:
        places = np.sort(np.append(places, at))
    counted = np.ones(places.size, bool) if at is None else places == at
    lasts = np.linspace(max(-1.0, width - 3.0), width, ENDS)
    found = [
        _of_ends(
            _Side.of(width, above, places),
            _Side.of(width, below, width - places),
            least,
            counted,
        )
        for above in lasts
        for below in lasts
        if at is not None or below <= above
    ]
    return float(np.nanmin(found)) if np.isfinite(found).any() else np.nan


def _of_ends(above: _Side, below: _Side, least: float, counted: np.ndarray) -> float:
    surely = above.surely + below.surely
    if (surely > 1.0 - least).any():
        return np.nan
    missed = np.hstack([above.perhaps, below.perhaps])
    # unknown: how likely each end misses in each cell, and the least miss of the counted places
    one = np.ones((int(counted.sum()), 1))
    none = np.zeros((surely.size, 1))
    falls = np.eye(CELLS, k=1)[:-1] - np.eye(CELLS)[:-1]
    nothing = np.zeros_like(falls)
    ordered = np.block([[falls, nothing], [nothing, falls]])
    solution = linprog(
        np.append(np.zeros(2 * CELLS), -1.0),
        A_ub=np.vstack([
            np.hstack([missed, none]),
            np.hstack([-missed[counted], one]),
            np.hstack([ordered, np.zeros((len(ordered), 1))]),
        ]),
        b_ub=np.concatenate([1.0 - least - surely, surely[counted], np.zeros(len(ordered))]),
        bounds=[(0.0, most) for most in (*above.most, *below.most)] + [(0.0, 1.0)],
        method="highs",
    )  # fmt: skip
    return 1.0 + solution.fun if solution.status == 0 else np.nan


def place_of(case: Case) -> tuple[float, float]:
    """Width of the group whose rate a case's FPR is, and where in it the TPR lies."""
    cuts = np.arange(12.0, -12.0, -case.step) - case.step / 2
    reached = np.array([NORMAL.cdf(case.shift - cut) for cut in cuts])
    own = int(np.argmax(reached >= SHARE))
    deviation = float(np.sqrt(SHARE * (1.0 - SHARE) / case.n_id))
    return (
        float(reached[own] - reached[own - 1]) / deviation,
        float(SHARE - reached[own - 1]) / deviation,
    )


def coverage_of_ours(width: float, place: float) -> float:
    """Share of simulated sets whose interval holds the rate, group and place being as said."""
    rows, each = 5_000, 0.08
    deviation = float(np.sqrt(SHARE * (1.0 - SHARE) / rows))
    # groups from the strictest threshold to the last row, the fifth being the one wanted
    reached = SHARE + deviation * (width * np.arange(-4.0, 6.0) + width - place)
    of_id = np.diff(np.append(reached[reached < 1.0], 1.0), prepend=0.0)
    of_ood = np.append(np.full(of_id.size - 1, each), 1.0 - each * (of_id.size - 1))
    true = each * 5
    rng = np.random.default_rng([SEED, round(1000 * width), round(1000 * place)])
    held = 0
    scores = -np.arange(of_id.size, dtype=np.float64)
    for _ in range(RUNS):
        inside, outside = (np.repeat(scores, rng.multinomial(rows, p)) for p in (of_id, of_ood))
        low, high = fpr_interval(Ranking.of(inside, outside), LEVEL)
        held += low <= true <= high
    return held / RUNS


def lines(least: float) -> Iterator[str]:
    """Both tables as Markdown."""
    yield "| width of a group | any interval, somewhere at least | ours, least | ours, most |"
    yield "| ---: | ---: | ---: | ---: |"
    for width in WIDTHS:
        best = least_coverage(width, least)
        ours = [coverage_of_ours(width, place) for place in np.linspace(0.02, width - 0.02, 9)]
        yield f"| {width:g} | {percent(best)} | {percent(min(ours))} | {percent(max(ours))} |"
    yield ""
    yield "| case | width | place | any interval, there at least | ours |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for case in (case for case in CASES if case.step):
        width, place = place_of(case)
        best, ours = least_coverage(width, least, place), coverage_of_ours(width, place)
        at = f"{width:.2f} | {place:.2f}"
        yield f"| {case.name} | {at} | {percent(best)} | {percent(ours)} |"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    text = ""
    for line in lines(band(LEVEL, RUNS)[0]):
        print(line, flush=True)
        text += line + "\n"
    if arguments.write:
        put(arguments.write, "tied_bound", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
