"""Figures of real classifiers, computed elsewhere or published: ours are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.io import load_scores
from tests.cli.running import TOOL, save, tool

WHERE = os.environ.get("OOD_TOOLKIT_DATA")
pytestmark = pytest.mark.skipif(not WHERE, reason="OOD_TOOLKIT_DATA names no folder of cases")
DATA = Path(WHERE or ".")
CIFAR, MNIST = DATA / "cifar10_resnet20", DATA / "mnist_oe_baseline"


def reference(case: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((case / "reference.json").read_text())
    return document


@pytest.mark.slow
def test_every_reference_figure_is_met(tmp_path: Path) -> None:
    """AUROC and FPR@95 of nine methods on five cases, within 0.0005."""
    run = subprocess.run([sys.executable, DATA / "check.py", TOOL, DATA, tmp_path],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    verdict = run.stdout.splitlines()[-1]
    compared = int(verdict.split()[0])
    expected = 0
    for case, spec in json.loads((DATA / "cases.json").read_text()).items():
        for figures in reference(DATA / case)["ood"].values():
            from_logits = {"msp", "entropy", "maxlogit", "energy"}
            expected += 2 * len(figures if spec["train"] else from_logits & set(figures))
    assert compared == expected


@pytest.mark.parametrize("name", ["ood_tin", "ood_mnist", "ood_fashion", "ood_gauss"])
def test_average_precision_is_that_of_the_reference(name: str) -> None:
    inside, outside = ood.load(CIFAR / "id_test.npz"), ood.load(CIFAR / f"{name}.npz", labels=False)
    names = {"msp": "msp", "entropy": "entropy", "maxlogit": "max_logit", "energy": "energy"}
    id_scores = ood.score(inside, list(names.values()))
    ood_scores = ood.score(outside, list(names.values()))
    for theirs, ours in names.items():
        expected = reference(CIFAR)["ood"][name][theirs]["aupr_in"]
        assert ood.metrics.aupr_in(id_scores[ours], ood_scores[ours]) == pytest.approx(
            expected, abs=1e-6
        )


CASES = [
    (CIFAR, "id_test.npz", slice(None), "id"),
    (CIFAR, "shift_jpeg.npz", slice(None), "shift_jpeg"),
    (CIFAR, "shift_noise.npz", slice(None), "shift_noise"),
    (MNIST, "id_test.npz", slice(0, 5000), "id"),
    (DATA / "clinc150_minilm", "id_test.npz", slice(None), "id"),
]


@pytest.mark.parametrize(("case", "file", "rows", "block"), CASES, ids=lambda v: str(v)[-20:])
def test_errors_reports_the_reference_figures(
    case: Path, file: str, rows: slice, block: str, tmp_path: Path
) -> None:
    arrays = np.load(case / file)
    path = save(tmp_path / file, logits=arrays["logits"][rows], labels=arrays["labels"][rows])
    document = tool("errors", path, "-m", "msp", "--json").document
    expected = reference(case)[block]
    assert document["accuracy"] == pytest.approx(expected["acc"], abs=1e-6)
    assert document["nll"] == pytest.approx(expected["nll"], abs=1e-6)
    assert document["brier"] == pytest.approx(expected["brier"], abs=1e-6)
    assert document["ece"] == pytest.approx(expected["ece15"], abs=1e-6)
    auroc = document["results"][0]["auroc"]
    assert auroc == pytest.approx(expected["err_det_auroc_msp"], abs=1e-6)


def test_errors_reports_the_published_figures_of_the_mnist_network() -> None:
    """Error 0.94 %, NLL 0.02780; MSP finds errors with AUROC 98.45 % and AUPR 35.47 %."""
    document = tool("errors", MNIST / "id_test.npz", "-m", "msp", "--json").document
    assert round(100 * (1 - document["accuracy"]), 2) == 0.94
    assert round(document["nll"], 5) == 0.02780
    row = document["results"][0]
    assert round(100 * row["auroc"], 2) == 98.45
    assert round(100 * row["aupr_error"], 2) == 35.47


FORMATS = ("npz", "safetensors", "pt", "parquet", "h5", "zarr", "csv", "tsv", "npy", "jsonl")
FROM_LOGITS = "msp,energy,max_logit,entropy,odin_temperature,gen"


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> tuple[ood.Outputs, Path]:
    """The test rows, and a detector fitted on the 50,000 training rows."""
    detector = tmp_path_factory.mktemp("cifar") / "mahalanobis.safetensors"
    run = tool("fit", CIFAR / "train.npz", "-m", "mahalanobis", "-o", detector)
    assert run.status == 0, run.err
    return ood.load(CIFAR / "id_test.npz"), detector


def write(x: ood.Outputs, path: Path) -> None:
    """Everything the format holds, by our own writers where there is one."""
    assert x.logits is not None
    assert x.labels is not None
    if path.suffix == ".tsv":
        rows = (
            "\t".join(map(repr, [*row, label])) + "\n"
            for row, label in zip(x.logits.tolist(), x.labels.tolist(), strict=True)
        )
        header = "\t".join([*(f"logits_{c}" for c in range(x.classes)), "label"]) + "\n"
        path.write_text(header + "".join(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(
            json.dumps({"logits": row, "label": label}) + "\n"
            for row, label in zip(x.logits.tolist(), x.labels.tolist(), strict=True)
        ))  # fmt: skip
    elif path.suffix == ".csv":
        ood.save_outputs(ood.Outputs(logits=x.logits, labels=x.labels), path)
    elif path.suffix == ".npy":
        ood.save_outputs(ood.Outputs(logits=x.logits), path)
    else:
        ood.save_outputs(x, path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_scores(
    suffix: str, cifar: tuple[ood.Outputs, Path], tmp_path: Path
) -> None:
    x, detector = cifar
    path, out = tmp_path / f"x.{suffix}", tmp_path / "scores.npz"
    write(x, path)
    has_features = suffix not in ("csv", "tsv", "npy", "jsonl")
    command = ["score", path, "-m", FROM_LOGITS, "-o", out]
    run = tool(*command, *(["--detector", detector] if has_features else []))
    assert (run.status, run.err) == (0, "")
    table = load_scores(out)
    assert x.logits is not None
    # numbers in text are read as float64, and scored as precisely
    logits = x.logits.astype(np.float64) if suffix in ("csv", "tsv", "jsonl") else x.logits
    expected = ood.score(logits, FROM_LOGITS.split(","))
    if has_features:
        expected["mahalanobis"] = ood.load_scorer(detector).score(x)
    for method, scores in expected.items():
        assert np.array_equal(table[method], scores), method
    if suffix != "npy":
        assert np.array_equal(table["label"], x.labels)


def test_shards_give_the_same_scores(cifar: tuple[ood.Outputs, Path], tmp_path: Path) -> None:
    x, detector = cifar
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, len(x), 3_001)):
        part = x.rows(slice(start, start + 3_001))
        ood.save_outputs(part, tmp_path / "parts" / f"part-{number:02}.parquet")
    out = tmp_path / "scores.npz"
    run = tool("score", tmp_path / "parts", "-m", FROM_LOGITS, "--detector", detector, "-o", out)
    assert (run.status, run.err) == (0, "")
    table = load_scores(out)
    expected = ood.score(x, [*FROM_LOGITS.split(","), ood.load_scorer(detector)])
    for method, scores in expected.items():
        assert np.array_equal(table[method], scores), method
