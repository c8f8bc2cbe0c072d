"""How long the metrics of many methods on many sets take, once their scores are there.

    python -m benchmarks.evaluation_speed [--methods 60] [--sets 8] [--rows 10000]

Scores are normal; every method's share the rows' difficulty.  Times the metrics without and
with bootstrap intervals, the paired tests of all methods, and both together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from ood_toolkit.evaluation import Convention, NoCache, compare_methods
from ood_toolkit.evaluation.pairs import PairMetrics
from ood_toolkit.kernels.pool import in_order
from ood_toolkit.kernels.threads import thread_count


def timed(label: str, work: Callable[[], object]) -> float:
    """Print and return how long the work took."""
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    print(f"{label}: {seconds:.2f} s", flush=True)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("methods", 60), ("sets", 8), ("rows", 10_000), ("resamples", 1_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    keys = [f"set{i}" for i in range(arguments.sets)]
    hard = {key: rng.normal(size=arguments.rows) for key in ("", *keys)}
    scores = {
        f"method{k}": {
            key: rows + rng.normal(size=rows.size) + (0.0 if key else 2.0)
            for key, rows in hard.items()
        }
        for k in range(arguments.methods)
    }
    names = list(scores)

    def measure(resamples: int, count: int) -> None:
        pairs = PairMetrics(Convention(), resamples, 0, NoCache())

        def of(start: int, stop: int) -> object:
            own = dict(scores[names[start]])
            inside = own.pop("")
            return pairs.of_method(names[start], inside, own, {}, inside > 0)

        for _ in in_order(of, count, 1, thread_count()):
            pass

    measure(2, 1)  # compiled before anything is timed
    print(f"{len(names)} methods, {len(keys)} sets, {arguments.rows:,} rows each, "
          f"{thread_count()} threads")  # fmt: skip
    timed("metrics and DeLong intervals", lambda: measure(0, len(names)))
    timed(
        f"and bootstrap intervals, {arguments.resamples:,} resamples",
        lambda: measure(arguments.resamples, len(names)),
    )
    timed(
        "paired tests of all methods, sets and means",
        lambda: compare_methods(
            names, lambda n: scores[n][""], lambda n, key: scores[n][key], {"all": keys}
        ).to_json(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
