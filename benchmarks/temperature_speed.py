"""Temperature scaling against the usual loop: torch's L-BFGS on the cross-entropy.

    python -m benchmarks.temperature_speed [--rows 50000] [--classes 1000] [--rounds 3]

The loop is that of Guo et al.'s published code: T from 1.5, learning rate 0.01, at most 50
iterations, in float32.  Both run in every round; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import ood_toolkit as ood


def loop(logits: np.ndarray, labels: np.ndarray) -> float:
    import torch

    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    temperature = torch.nn.Parameter(torch.full((1,), 1.5))
    optimizer = torch.optim.LBFGS([temperature], lr=0.01, max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / temperature, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(temperature.detach())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.rows, arguments.classes)
    true = rng.normal(size=shape).astype(np.float32) * 2
    noise = rng.gumbel(size=shape).astype(np.float32)
    labels = (true + noise).argmax(axis=1).astype(np.int64)
    logits = 2.5 * true
    x = ood.Outputs(logits=logits, labels=labels)
    ratios = []
    for i in range(arguments.rounds + 1):
        begun = time.perf_counter()
        ours = ood.Temperature().fit(x).temperature
        middle = time.perf_counter()
        theirs = loop(logits, labels)
        took = middle - begun, time.perf_counter() - middle
        if i:  # the first round warms up
            ratios.append(took[1] / took[0])
        print(f"ours {took[0]:.2f} s, T {ours:.9f}; loop {took[1]:.2f} s, T {theirs:.9f}")
    print(f"the loop takes {np.median(ratios):.1f} ({min(ratios):.1f} ... {max(ratios):.1f}) times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
