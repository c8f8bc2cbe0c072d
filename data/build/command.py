"""The command line both build scripts share: write, check, compare seeds."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.build.plan import Plan, figures, flat
from data.build.training import run, train
from data.build.writing import MANIFEST, SHIPPED, read_manifest, write_benchmark

__all__ = ["carry_out", "parser"]


def parser(description: str) -> argparse.ArgumentParser:
    """--out, --check, --seed and --study, to which a script may add its own."""
    made = argparse.ArgumentParser(description=description)
    action = made.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=Path, help="folder to write the benchmark and manifest to")
    action.add_argument(
        "--check",
        action="store_true",
        help="retrain to a temporary folder and compare the figures with the shipped manifest; "
        "exit status 1 if one is outside the tolerance",
    )
    made.add_argument("--seed", type=int, help="train with this seed instead of the shipped one")
    made.add_argument(
        "--study",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help="with --out: train with these seeds too and record their figures in the manifest",
    )
    return made


def carry_out(plan: Plan, arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status."""
    if arguments.seed is not None:
        plan = dataclasses.replace(plan, seed=arguments.seed)
    if not arguments.check:
        entry = _build(plan, arguments.out, {str(s): _try(plan, s) for s in arguments.study})
        _print_figures(entry["shipped_metrics"])
        return 0
    shipped = read_manifest(SHIPPED)["benchmarks"].get(plan.name)
    if shipped is None or not shipped["rebuild"]["tolerance"]:
        raise SystemExit(
            f"{SHIPPED / MANIFEST}: states no tolerance for {plan.name}; rebuild it with --study"
        )
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = _build(plan, Path(folder), {})
    return _compare(shipped, rebuilt)


def _build(plan: Plan, folder: Path, seeds: Mapping[str, Any]) -> dict[str, Any]:
    net = train(plan.layers, plan.training_images, plan.training_labels, plan.recipe, plan.seed)
    return write_benchmark(plan, net, folder, seeds)


def _try(plan: Plan, seed: int) -> dict[str, Any]:
    """The figures of a network trained with another seed; nothing is written."""
    net = train(plan.layers, plan.training_images, plan.training_labels, plan.recipe, seed)
    splits = {}
    for split in plan.splits:
        logits, _ = run(net, split.images)
        splits[split.name] = {"logits": logits}
        if split.labels is not None:
            splits[split.name]["labels"] = split.labels
    return figures(splits, {split.name: split.role for split in plan.splits})


def _print_figures(metrics: Mapping[str, Any]) -> None:
    for figure, value in flat(metrics):
        print(f"{figure:36} {value:.4f}")


def _compare(shipped: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> int:
    stated, allowed = shipped["shipped_metrics"], shipped["rebuild"]["tolerance"]
    new = dict(flat(rebuilt["shipped_metrics"]))
    outside = 0
    print(f"{'':36} shipped rebuilt  tolerance")
    for figure, old in flat(stated):
        verdict = "" if abs(new[figure] - old) <= allowed[figure] else "  OUTSIDE"
        outside += bool(verdict)
        print(f"{figure:36} {old:.4f}  {new[figure]:.4f}  {allowed[figure]:.4f}{verdict}")
    sums = {entry["file"]: entry["sha256"] for entry in shipped["files"]}
    same = sum(sums.get(entry["file"]) == entry["sha256"] for entry in rebuilt["files"])
    print(f"{same} of {len(sums)} files have the same bytes as shipped")
    if outside:
        print(f"{outside} figures lie outside the tolerance", file=sys.stderr)
    return int(outside > 0)
