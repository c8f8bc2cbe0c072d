"""Every calibrator on real classifiers: random halves to fit on, the other halves to measure.

    python -m benchmarks.calibration_splits DATA [--splits 10] [--only NAME ...] [--case WORD]
        [--out docs/calibration-table.inc]

DATA holds the folders `cifar10_resnet20` and `clinc150_minilm`.  The calibrators see one
half of the held-out rows (and, for `dac`, training features); the figures are of the other
half.  Writes a Markdown table of means and standard deviations over the splits.  With
`--only` or `--case`, the other lines of an existing table stay as they are.
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


def line(name: str, values: np.ndarray) -> str:
    """One calibrator as a line of Markdown."""
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    shown = [f"{mean[i]:.4f} ± {std[i]:.4f}" for i in (0, 1)]
    shown.append(f"{100 * mean[2]:.2f} ± {100 * std[2]:.2f}")
    shown.append(f"{100 * mean[3]:.2f}")
    return f"| {f'`{name}`' if name else 'none'} | " + " | ".join(shown) + " |"


def earlier_lines(path: Path | None) -> dict[str, dict[str, str]]:
    """The lines of a table that was written before, by case and calibrator."""
    found: dict[str, dict[str, str]] = {}
    if path is None or not path.exists():
        return found
    rows: dict[str, str] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.startswith("**"):
            rows = found.setdefault(text.strip("*"), {})
        elif text.startswith(("| `", "| none")):
            name = text.split("|")[1].strip(" `")
            rows["" if name == "none" else name] = text
    return found


def document(lines: dict[str, dict[str, str]]) -> str:
    """All cases as Markdown."""
    head = [
        "| calibrator | NLL | Brier | ECE, % | predictions changed, % |",
        "| --- | --- | --- | --- | --- |",
    ]
    parts = [
        "\n".join([f"**{case}**", "", *head, *(rows[name] for name in sorted(rows))])
        for case, rows in lines.items()
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="calibrators, or none")
    parser.add_argument("--case", default="", help="only cases whose name holds this")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ToolkitWarning)
    names = ["", *(r.name for r in registered_calibrators() if r.name not in LINKS)]
    some = arguments.only or arguments.case
    lines = earlier_lines(arguments.out) if some else {}
    if arguments.only:
        unknown = set(arguments.only) - {*names, "none"}
        if unknown:
            parser.error(f"--only: there is no calibrator {', '.join(sorted(unknown))}")
        names = [name for name in names if (name or "none") in arguments.only]
    held = {
        case: (x, replace(train, labels=None))
        for case, x, train in cases(arguments.data)
        if arguments.case.lower() in case.lower()
    }
    for name in sorted(names, key=lambda name: name in SLOW):
        for case, (x, train) in held.items():
            begun = time.perf_counter()
            settings = SETTINGS[case].get(name, {})
            found = measured(name, settings, x, train, arguments.splits)
            lines.setdefault(case, {})[name] = line(name, found)
            print(case, name or "none", f"{time.perf_counter() - begun:.1f} s", file=sys.stderr)
            if arguments.out:  # after each, since the last ones take their time
                arguments.out.write_text(document(lines), encoding="utf-8")
    print(document(lines), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
