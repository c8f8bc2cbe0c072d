"""Calibration errors next to netcal, torchmetrics, torch-uncertainty and others, same arrays.

    pip install --no-deps netcal torch-uncertainty uncertainty-calibration relplot  (and theirs)
    python -m benchmarks.calibration_peers DATA [--write docs/calibration-peers.inc]

DATA holds `cifar10_resnet20/id_test.npz`.  Peers get float64 probabilities where they take
them.  Each line says by how much the two differ and, where that is more than 1e-6, what the
peer defines otherwise; exits with status 1 where they differ and no reason is known, or agree
though a difference is on record.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import ood_toolkit as ood

BINS = 15
AGREE = 1e-6
FLOAT32 = "theirs adds up in float32"
END_CELL = "theirs counts rows in the last cell of its grid, most of them here, half"
Array = Any


@dataclass(frozen=True)
class Pair:
    """One of our numbers, a peer's, and why they differ where they do."""

    metric: str
    peer: str
    calls: str
    ours: Callable[[Array, Array], float]
    theirs: Callable[[Array, Array], float]
    difference: str = ""


def netcal(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def call(p: Array, y: Array) -> float:
        made = getattr(importlib.import_module("netcal.metrics"), name)
        return float(made(bins=BINS, **options).measure(p, y))

    return call


def torchmetrics(norm: str) -> Callable[[Array, Array], float]:
    def call(p: Array, y: Array) -> float:
        import torch
        from torchmetrics.functional.classification import multiclass_calibration_error

        tensors = torch.from_numpy(p), torch.from_numpy(y)
        return float(multiclass_calibration_error(*tensors, p.shape[1], BINS, norm))

    return call


def torch_uncertainty(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def call(p: Array, y: Array) -> float:
        import torch

        made = getattr(importlib.import_module("torch_uncertainty.metrics.classification"), name)
        torch.set_default_dtype(torch.float64)
        try:
            metric = made(**options)
            metric.update(torch.from_numpy(p), torch.from_numpy(y))
            return float(metric.compute())
        finally:
            torch.set_default_dtype(torch.float32)

    return call


def uncertainty_calibration(p: Array, y: Array) -> float:
    module = importlib.import_module("calibration")
    top, right = p.max(axis=1), (p.argmax(axis=1) == y).astype(float)
    squared = module.unbiased_l2_ce(
        module.bin(list(zip(top, right, strict=True)), module.get_equal_bins(top, BINS))
    )
    return float(squared)


def relplot(p: Array, y: Array) -> float:
    module = importlib.import_module("relplot")
    top, right = p.max(axis=1), (p.argmax(axis=1) == y).astype(float)
    return float(module.smECE(top, right, eps=1e-5))


def pairs(classes: int) -> list[Pair]:
    m = ood.metrics
    multiclass = {"task": "multiclass", "num_classes": classes, "num_bins": BINS}
    return [
        Pair("ECE", "netcal", "ECE(15)", m.expected_calibration_error, netcal("ECE")),
        Pair("ECE", "torchmetrics", "norm l1", m.expected_calibration_error, torchmetrics("l1"),
             FLOAT32),
        Pair("ECE", "torch-uncertainty", "CalibrationError", m.expected_calibration_error,
             torch_uncertainty("CalibrationError", **multiclass, norm="l1"), FLOAT32),
        Pair("MCE", "netcal", "MCE(15)", m.maximum_calibration_error, netcal("MCE")),
        Pair("MCE", "torchmetrics", "norm max", m.maximum_calibration_error, torchmetrics("max")),
        Pair("ECE, equal mass", "torch-uncertainty", "AdaptiveCalibrationError",
             lambda p, y: m.expected_calibration_error(p, y, binning="equal_mass"),
             torch_uncertainty("AdaptiveCalibrationError", **multiclass, norm="l1")),
        Pair("ECE, equal mass", "netcal", "ECE(15, equal_intervals=False)",
             lambda p, y: m.expected_calibration_error(p, y, binning="equal_mass"),
             netcal("ECE", equal_intervals=False)),
        Pair("ECE by class", "torch-uncertainty", "ClasswiseCalibrationError",
             m.classwise_calibration_error,
             torch_uncertainty("ClasswiseCalibrationError", num_classes=classes,
                               num_bins=BINS, norm="l1")),
        Pair("ACE", "netcal", "ACE(15)", m.expected_calibration_error, netcal("ACE"),
             "theirs is the mean gap over bins, whatever their rows"),
        Pair("debiased, equal mass", "uncertainty-calibration", "unbiased_l2_ce",
             m.debiased_calibration_error, uncertainty_calibration),
        Pair("smooth ECE", "relplot", "smECE", m.smooth_calibration_error, relplot,
             END_CELL),
        Pair("smooth ECE", "torch-uncertainty", "SmoothCalibrationError(reflected)",
             m.smooth_calibration_error,
             torch_uncertainty("SmoothCalibrationError", kernel_type="reflected", eps=1e-5,
                               refine_steps=30),
             END_CELL),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    x = ood.load(arguments.data / "cifar10_resnet20" / "id_test.npz")
    assert x.logits is not None
    assert x.labels is not None
    z = x.logits.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    labels = x.labels.astype(np.int64)
    lines = [
        "| error | peer | ours | theirs | difference | what differs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    failed = []
    for pair in pairs(p.shape[1]):
        ours, theirs = pair.ours(p, labels), pair.theirs(p, labels)
        gap = abs(ours - theirs)
        if (gap > AGREE) != bool(pair.difference):
            failed.append(f"{pair.metric}, {pair.peer}: {ours:.9f} and {theirs:.9f}")
        name = f"{pair.peer} {version(pair.peer)}, `{pair.calls}`"
        cells = [pair.metric, name, f"{ours:.8f}", f"{theirs:.8f}", f"{gap:.1e}"]
        lines.append("| " + " | ".join([*cells, pair.difference]) + " |")
    text = "\n".join(lines) + "\n"
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    print(text)
    for line in failed:
        print(f"not as on record: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
