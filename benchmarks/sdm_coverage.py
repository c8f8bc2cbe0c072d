"""How often accuracy among the rows that SDM accepts falls below alpha, truth being known.

    python -m benchmarks.sdm_coverage [--resamples 200] [--write docs/sdm.md]

Three overlapping Gaussians in the plane and a classifier that knows only their centres: the
probability that a prediction is right is known for every point, so accuracy among accepted
rows is its mean there, without the noise of test labels.  Support, held-out rows and test rows
are drawn anew each time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

import ood_toolkit as ood
from benchmarks.pages import put
from ood_toolkit import Outputs

HEADER = (
    "| α | held-out rows | rule | accepts any | ID admitted | accuracy | below α: overall "
    "| in a true class | in a predicted class |"
)
CENTRES = np.array([[0.0, 0.0], [3.0, 0.0], [1.2, 2.6]])
SPREADS = np.array([0.9, 1.1, 1.3])
SHARES = np.array([0.5, 0.3, 0.2])


def posterior(f: np.ndarray) -> np.ndarray:
    squared = ((f[:, np.newaxis] - CENTRES) ** 2).sum(axis=2)
    density = SHARES * np.exp(-squared / (2 * SPREADS**2)) / SPREADS**2
    return density / density.sum(axis=1, keepdims=True)


def draw(rng: np.random.Generator, rows: int) -> Outputs:
    labels = rng.choice(3, size=rows, p=SHARES)
    f = CENTRES[labels] + SPREADS[labels, np.newaxis] * rng.normal(size=(rows, 2))
    squared = ((f[:, np.newaxis] - CENTRES) ** 2).sum(axis=2)
    return Outputs(features=f, logits=-1.5 * squared, labels=labels)


def below(found: ood.detectors.SDMPrediction, kept: np.ndarray, p: np.ndarray, alpha: float):
    """Share kept, accuracy there, and whether it is below alpha: at all, by true class, by
    predicted class."""
    right = p[np.arange(len(p)), found.prediction][kept]
    said = found.prediction[kept]
    of_class = np.bincount(said, right, minlength=3)
    overall = float(right.mean())
    return (
        float(kept.mean()),
        overall,
        overall < alpha,
        bool((of_class < alpha * p[kept].sum(axis=0)).any()),
        bool((of_class < alpha * np.bincount(said, minlength=3)).any()),
    )


def with_interval(hits: int, of: int) -> str:
    low, high = binomtest(hits, of).proportion_ci()
    return f"{hits / of:.1%} ({low:.1%} … {high:.1%})"


def simulate(alpha: float, resamples: int, support: int, held_out: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, float, bool, bool, bool]]] = {"region": [], "lower end": []}
    for _ in range(resamples):
        sdm = ood.SDM(alpha=alpha).fit(draw(rng, support), draw(rng, held_out))
        test = draw(rng, 5000)
        found, p = sdm.predict(test), posterior(np.asarray(test.features))
        for name, kept in (("region", found.accept), ("lower end", found.accept_lower)):
            if kept.any():
                rows[name].append(below(found, kept, p, alpha))
    for name, some in rows.items():
        cells = [f"{alpha:g}", f"{held_out}", name, f"{len(some)} of {resamples}"]
        if some:
            columns = np.array(some)
            cells += [f"{columns[:, i].mean():.1%}" for i in (0, 1)]
            cells += [with_interval(int(columns[:, i].sum()), len(some)) for i in (2, 3, 4)]
        yield f"| {' | '.join(cells + ['–'] * (9 - len(cells)))} |"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--support", type=int, default=2000)
    parser.add_argument("--held-out", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args(argv)
    lines = [HEADER, "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for held_out in given.held_out:
        for alpha in (0.8, 0.9, 0.95):
            lines += simulate(alpha, given.resamples, given.support, held_out)
    print("\n".join(lines))
    if given.write:
        put(given.write, "sdm_coverage", "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
