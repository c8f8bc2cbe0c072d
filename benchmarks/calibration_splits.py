"""Every calibrator on real classifiers: random halves to fit on, the other halves to measure.

    python -m benchmarks.calibration_splits DATA [--splits 10] [--out docs/calibration-table.inc]

DATA holds the folders `cifar10_resnet20` and `clinc150_minilm`.  The calibrators see one
half of the held-out rows (and, for `dac`, training features); the figures are of the other
half.  Writes a Markdown table of means and standard deviations over the splits.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ood_toolkit as ood
from ood_toolkit.calibration import (
    changed_predictions,
    make_calibrator,
    probability_quality,
    registered_calibrators,
)
from ood_toolkit.errors import ToolkitWarning

SLOW = ("auto", "matrix", "dirichlet", "spc")
LINKS = ("sparse_softmax", "sparsemax", "stablemax")
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "CIFAR-10, ResNet-20": {},
    # 22,650 numbers from 3,750 rows: the strength is given, not cross-validated
    "CLINC150, MiniLM": {"matrix": {"off_diagonal": 1.0}, "dirichlet": {"off_diagonal": 1.0}},
}


def cases(data: Path) -> Iterable[tuple[str, ood.Outputs, ood.Outputs]]:
    """Name, held-out rows and training rows of each classifier."""
    cifar, clinc = data / "cifar10_resnet20", data / "clinc150_minilm"
    first, second = SETTINGS
    yield first, ood.load(cifar / "id_test.npz"), ood.load(cifar / "train.npz")
    parts = [ood.load(clinc / f"id_{name}.npz") for name in ("val", "test")]
    both = ood.Outputs(
        logits=np.concatenate([x.logits for x in parts]),
        features=np.concatenate([x.features for x in parts]),
        labels=np.concatenate([x.labels for x in parts]),
    )
    yield second, both, ood.load(clinc / "train.npz", head=clinc / "head.npz")


def measured(
    name: str, settings: dict[str, Any], x: ood.Outputs, train: ood.Outputs, splits: int
) -> np.ndarray:
    """NLL, Brier, ECE and share of changed predictions on the rows left out, by split."""
    found = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(x))
        fit_on, test = x.rows(order[: len(x) // 2]), x.rows(order[len(x) // 2 :])
        after = test
        if name:
            made: Any = make_calibrator(name, settings)
            after = made.fit(fit_on, train).apply(test)
        quality = probability_quality(after)
        changed = changed_predictions(test, after)
        found.append((quality.nll, quality.brier, quality.ece, changed))
    return np.array(found)


def table(name: str, rows: dict[str, np.ndarray]) -> str:
    """One case as Markdown."""
    lines = [
        f"**{name}**",
        "",
        "| calibrator | NLL | Brier | ECE, % | predictions changed, % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method, values in sorted(rows.items()):
        mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
        shown = [f"{mean[i]:.4f} ± {std[i]:.4f}" for i in (0, 1)]
        shown.append(f"{100 * mean[2]:.2f} ± {100 * std[2]:.2f}")
        shown.append(f"{100 * mean[3]:.2f}")
        lines.append(f"| {f'`{method}`' if method else 'none'} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ToolkitWarning)
    names = ["", *(r.name for r in registered_calibrators() if r.name not in LINKS)]
    held = {case: (x, replace(train, labels=None)) for case, x, train in cases(arguments.data)}
    rows: dict[str, dict[str, np.ndarray]] = {case: {} for case in held}
    for name in sorted(names, key=lambda name: name in SLOW):
        for case, (x, train) in held.items():
            begun = time.perf_counter()
            settings = SETTINGS[case].get(name, {})
            rows[case][name] = measured(name, settings, x, train, arguments.splits)
            print(case, name or "none", f"{time.perf_counter() - begun:.1f} s", file=sys.stderr)
        text = "\n\n".join(table(case, found) for case, found in rows.items()) + "\n"
        if arguments.out:  # after each, since the last ones take their time
            arguments.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
