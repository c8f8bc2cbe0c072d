"""Rank agreement with pytorch-ood 0.4.0 on the same arrays.

    python -m benchmarks.pytorch_ood FOLDER ... [--only METHOD ...]

A FOLDER holds train.npz, id_test.npz, head.npz, ood_*.npz, and id_val.npz if there are held-out
rows.  Runs in the environment that `make peers` builds; pytorch-ood is no dependency.  Writes
docs/peers.json, of which `python -m docs.generate` makes docs/peers.md, and prints what it
found: Spearman's correlation of the scores of all test rows; the set of outliers on which the
AUROC of the two differs most, ours on it and the difference; the share of tied rows on both
sides; and the correlation when the peer is given float64, where it takes that.  Status 1 says
that an AUROC differs by more than 0.0005 and no reason is known.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import ood_toolkit as ood
from benchmarks.peer_folder import Folder, read
from benchmarks.peer_methods import SHARED, Case, Given, Shared
from benchmarks.peer_reasons import TOLERANCE, UNKNOWN, reason_for
from benchmarks.peers import library, limit_threads, versions

__all__ = ["RESULTS", "compared", "main"]

RESULTS = Path(__file__).parents[1] / "docs" / "peers.json"


def compared(name: str, shared: Shared, folder: Folder, peer: Any) -> dict[str, Any]:
    """What one row of the table says."""
    origin, case = folder.origin, folder.case
    ours = shared.ours(case) if shared.ours else ood.score(case.x, name, train=case.train)[name]
    theirs = _theirs(shared, peer, case, np.float32)
    aurocs = [
        [ood.metrics.auroc(s[origin == 0], s[origin == k + 1]) for s in (ours, theirs)]
        for k in range(len(folder.names))
    ]
    worst = max(range(len(aurocs)), key=lambda k: abs(aurocs[k][0] - aurocs[k][1]))
    found = {
        "spearman": _agreement(ours, theirs),
        "set": folder.names[worst],
        "auroc": round(aurocs[worst][0], 5),
        "difference": round(aurocs[worst][0] - aurocs[worst][1], 6),
        "ties": [round(1 - len(np.unique(s)) / len(s), 4) for s in (ours, theirs)],
    }
    if shared.wide:
        found["float64"] = _agreement(ours, _theirs(shared, peer, case, np.float64))
    return found


def _theirs(shared: Shared, peer: Any, case: Case, dtype: type) -> np.ndarray:
    """The peer's scores, turned to our sign."""
    answer = -shared.answer(peer, Given.of(case, dtype)).detach().double().numpy()
    if not np.isfinite(answer).all():
        raise SystemExit(f"{shared.peer}: a score is not finite")
    return np.asarray(answer)


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    return round(float(spearmanr(ours, theirs).statistic), 7)


def main(arguments: list[str] | None = None) -> int:
    """Compare, write, print; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="METHOD", choices=SHARED,
                        help="leave the other rows as they were")  # fmt: skip
    chosen = parser.parse_args(arguments)
    limit_threads()
    peer = library("pytorch_ood").detector
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cases": {}}
    cases, unexplained = dict(old["cases"]), []
    for root in chosen.folders:
        folder = read(root)
        found = dict(cases.get(root.name, {}).get("methods", {})) if chosen.only else {}
        sizes = np.bincount(folder.origin).tolist()
        print(f"{root.name}: " + ", ".join(
            f"{n} {name}" for n, name in zip(sizes, ["id_test", *folder.names], strict=True)
        ))  # fmt: skip
        for name in chosen.only or SHARED:
            started = time.perf_counter()
            row = found[name] = compared(name, SHARED[name], folder, peer)
            if reason_for(name, row["difference"]) == UNKNOWN:
                unexplained.append(f"{root.name}: {name}")
            print(f"  {name:<24}{row['spearman']:>10.6f} {row['set']:<9}{row['auroc']:.5f}"
                  f"{row['difference']:>+11.6f}  {row.get('float64', '')}"
                  f"  {time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
        cases[root.name] = {
            "sets": dict(zip(["id_test", *folder.names], sizes, strict=True)),
            "methods": {name: found[name] for name in SHARED if name in found},
        }
    document = {"versions": versions(), "cases": cases}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name in unexplained:
        print(f"{name}: differs by more than {TOLERANCE} and no reason is known", file=sys.stderr)
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
