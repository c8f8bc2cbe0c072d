"""`evaluate -m all` on every open case, and the table that the documentation makes of it.

    python -m benchmarks.open_cases FOLDER [--only CASE ...] [--check]

FOLDER is the test data, with its cases.json.  Runs the command `ood-toolkit` as a user would,
with published defaults and again with `--tune id`; holds that every method of the catalogue
has figures, or is named with the reason; writes docs/open-cases.json, and from it the tables in
docs/open-cases.md and docs/tuning.md.  With --check nothing is written and status 1 says that a
figure moved by more than 0.0005, or that a method has neither figures nor a reason.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ood_toolkit as ood

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "open-cases.json"
TOOL = Path(sys.executable).with_name("ood-toolkit")
SYNTHETIC = ("gauss", "uniform", "bernoulli")
PARTIAL = 4
MOVED = 5e-4


@dataclass(frozen=True)
class Case:
    """What `evaluate` is given: files by option, and the members of each set."""

    name: str
    id: Path
    ood: dict[str, Path]
    head: Path | None = None
    train: Path | None = None
    id_val: Path | None = None
    members: dict[str, list[Path]] = field(default_factory=dict)

    def command(self, tune: str, out: Path) -> list[str]:
        options = [("--head", self.head), ("--train", self.train), ("--id-val", self.id_val)]
        return [
            *(str(TOOL), "evaluate", "-m", "all", "--bootstrap", "0", "--quiet"),
            *("--id", str(self.id), "--tune", tune, "--json-out", str(out)),
            *(word for name, path in options if path for word in (name, str(path))),
            *(word for name, path in self.ood.items() for word in ("--ood", f"{name}={path}")),
            *(
                word
                for name, paths in self.members.items()
                for path in paths
                for word in ("--member", f"{name}={path}")
            ),
        ]


def cases(root: Path, scratch: Path) -> Iterator[Case]:
    """The cases of cases.json, and the three networks whose logits make a stack of members."""
    for name, spec in json.loads((root / "cases.json").read_text()).items():
        base, head = root / spec.get("base", name), root / spec.get("base", name) / spec["head"]

        def rows(part: str, base: Path = base, spec: Any = spec, name: str = name) -> Path | None:
            if not spec[part]:
                return None
            path, limits = base / spec[part], spec.get(f"{part}_rows")
            if limits is None:
                return Path(path)
            staged = scratch / f"{name}-{part}.npz"
            ood.save_outputs(ood.load(path).rows(slice(*limits)), staged)
            return staged

        held_out = base / "id_val.npz"
        inside = rows("id")
        assert inside is not None
        yield Case(
            name,
            inside,
            {_label(path): path for path in sorted((root / name).glob("ood_*.npz"))},
            head,
            rows("train"),
            held_out if held_out.exists() else None,
        )
    one, others = root / "cifar10_resnet20", root / "cifar10_ensemble"

    def stack(part: str) -> list[Path]:
        return [one / f"{part}.npz", *(others / f"resnet{n}_{part}.npz" for n in (32, 44))]

    sets = {"tin": "ood_tin", "fashion": "ood_fashion"}
    yield Case(
        "cifar10_ensemble",
        one / "id_test.npz",
        {name: one / f"{part}.npz" for name, part in sets.items()},
        one / "head.npz",
        members={"id": stack("id_test"), **{name: stack(part) for name, part in sets.items()}},
    )


def _label(path: Path) -> str:
    name = path.stem.removeprefix("ood_")
    return f"synthetic/{name}" if name in SYNTHETIC else name


def evaluated(case: Case, tune: str, scratch: Path) -> dict[str, Any]:
    """The document of one evaluation; status 0 or 4, and no method without a word."""
    out = scratch / f"{case.name}-{tune}.json"
    started = time.perf_counter()
    done = subprocess.run(case.command(tune, out), capture_output=True, text=True, check=False)
    if done.returncode not in (0, PARTIAL):
        raise SystemExit(f"{case.name}: status {done.returncode}: {done.stderr.strip()}")
    document: dict[str, Any] = json.loads(out.read_text())
    told = {r["method"] for part in ("results", "skipped", "failed") for r in document[part]}
    silent = {row.name for row in ood.methods()} - told
    if silent:
        raise SystemExit(f"{case.name}: neither figures nor a reason for {', '.join(silent)}")
    if (done.returncode == PARTIAL) != bool(document["failed"]):
        raise SystemExit(f"{case.name}: status {done.returncode} hides what failed")
    print(f"{case.name}, --tune {tune}: {len(told)} methods, "
          f"{time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
    for note in document["failed"]:
        print(f"  failed: {note['method']}: {note['reason']}", flush=True)
    return document


def summary(default: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """AUROC of each method on each set, what was tuned, and who is absent and why."""
    auroc: dict[str, dict[str, float]] = {}
    for r in default["results"]:
        auroc.setdefault(r["method"], {})[r["ood"]] = round(r["auroc"], 4)
    means = {m["method"]: round(m["auroc"], 4) for m in tuned["means"] if m["group"] == "all"}
    return {
        "rows": default["id"]["n"],
        "accuracy": default["id"]["accuracy"],
        "sets": {r["ood"]: r["n_ood"] for r in default["results"]},
        "mean": {
            m["method"]: round(m["auroc"], 4) for m in default["means"] if m["group"] == "all"
        },
        "auroc": auroc,
        "tuned": {
            choice["method"]: {"parameters": choice["tuned"], "mean": means[choice["method"]]}
            for choice in tuned["tuning"]["methods"]
            if choice["candidates"]
        },
        "absent": {n["method"]: n["reason"] for n in default["skipped"] + default["failed"]},
        "failed": [n["method"] for n in default["failed"] + tuned["failed"]],
    }


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Figures that two runs do not share."""
    found = []
    for name, case in after.items():
        old = before.get(name, {"mean": {}})["mean"]
        for method, value in case["mean"].items():
            if method not in old or abs(old[method] - value) > MOVED:
                found.append(f"{name}: {method}: {old.get(method)} is now {value}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="CASE", help="leave the others as they were")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if moved")
    arguments = parser.parse_args()
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(arguments.folder, Path(folder)):
            if arguments.only and case.name not in arguments.only:
                continue
            documents = (evaluated(case, tune, Path(folder)) for tune in ("none", "id"))
            found[case.name] = summary(*documents)
    if arguments.check:
        print(*moved(before, found), sep="\n")
        return int(bool(moved(before, found)))
    from docs.open_cases import write_pages

    kept = before if arguments.only else {}
    RESULTS.write_text(json.dumps(kept | found, indent=1) + "\n", encoding="utf-8")
    write_pages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
