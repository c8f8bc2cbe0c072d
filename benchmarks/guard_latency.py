"""What a guard adds to the network's own time for one image: a ResNet-20 at 32 × 32.

    python -m benchmarks.guard_latency [--rounds 200]

Prints, for scores of logits, the guard's time and its ratio to a plain forward pass, both timed
in turns on one thread.  Status 1 says that a median is 1.3 or more.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from benchmarks.shipped_network import residual_network
from ood_toolkit.models import wrap

METHODS = ("msp", "energy", "max_logit", "entropy", "gen", "label_non_uniformity")
BAR = 1.3


def main(arguments: list[str] | None = None) -> int:
    """Time, print; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args(arguments).rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = residual_network()
    clf, image = wrap(network), torch.randn(1, 3, 32, 32)
    held = torch.randn(50, 3, 32, 32)
    worst = 0.0
    for name in METHODS:
        guard = clf.guard(name, id_val=held)
        plain, guarded = [], []
        for _ in range(rounds):
            with torch.no_grad():
                plain.append(_timed(lambda: network(image)))
            guarded.append(_timed(lambda: guard(image)))  # noqa: B023
        middle = [float(np.median(each[rounds // 10 :])) for each in (plain, guarded)]
        ratio = middle[1] / middle[0]
        worst = max(worst, ratio)
        print(f"{name:22} {1e3 * middle[1]:.2f} ms, {ratio:.2f} of a plain forward, "
              f"{1e3 * middle[0]:.2f} ms")  # fmt: skip
    return int(worst >= BAR)


def _timed(call: object) -> float:
    begin = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
