"""Far field and fragility of the whole catalogue on the CIFAR-10 case.

    python -m benchmarks.stress_table DATA [--rows 500] [--write docs/stress-table.inc]

DATA holds the folder `cifar10_resnet20`.  Methods are fitted on the training rows, with the
first half of the test rows as held-out rows where a method wants some; rays go through rows of
the other half, and decisions are made on them.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import ood_toolkit as ood
from ood_toolkit.errors import ToolkitWarning
from ood_toolkit.evaluation import StressReport, stress

TRENDS = {"settled": "stays", "rising": "rises", "falling": "falls"}
HALF = 0.5


def report(data: Path, rows: int) -> StressReport:
    case = data / "cifar10_resnet20"
    test = ood.load(case / "id_test.npz", head=case / "head.npz")
    train = ood.load(case / "train.npz", head=case / "head.npz")
    half = len(test) // 2
    begun = time.perf_counter()

    def step(name: str) -> None:
        print(f"{time.perf_counter() - begun:6.1f} s {name}", file=sys.stderr)

    return stress(
        [row.name for row in ood.methods()],
        test.rows(slice(half, None)),
        train=train,
        id_val=test.rows(slice(0, half)),
        rows=rows,
        skip_unmet=True,
        progress=step,
    )


def table(found: StressReport) -> str:
    """One line a method, the surest far away last."""
    lines = [
        f"| method | confident far away, % | {' | '.join(f'{word}, %' for word in TRENDS.values())}"
        " | accepted, then rejected, % | rejected, then accepted, % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in sorted(found.results, key=lambda r: (r.far_field.far, r.method)):
        far, fragile = result.far_field, result.fragility
        assert fragile is not None
        at = fragile.shares.index(HALF)
        figures: list[Any] = [far.far, far.settled, far.rising, far.falling]
        figures += [fragile.lost[at], fragile.gained[at]]
        shown = " | ".join("–" if f != f else f"{100 * float(f):.1f}" for f in figures)
        lines.append(f"| `{result.method}` | {shown} |")
    skipped = ", ".join(f"`{note.method}` ({note.reason})" for note in found.skipped)
    failed = "; ".join(f"`{note.method}` ({note.reason})" for note in found.failed)
    notes = [f"{found.n} rows.  Without what they need here: {skipped}."]
    return "\n".join([*lines, "", *notes, *([f"Failed: {failed}."] if failed else [])]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ToolkitWarning)
    text = table(report(arguments.data, arguments.rows))
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
