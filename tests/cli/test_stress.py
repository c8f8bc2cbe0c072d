"""`ood-toolkit stress`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.evaluation import stress
from tests.cli.running import save, tool


def test_stress_says_what_python_says(files: Path) -> None:
    run = tool(
        "stress", files / "test.npz", "-m", "msp,knn", "--set", "knn.k=5",
        "--train", files / "train.npz", "--rows", "50", "--tpr", "0.9", "--json",
    )  # fmt: skip
    assert (run.status, run.err) == (0, "")
    test, train = ood.load(files / "test.npz"), ood.load(files / "train.npz")
    expected = stress(
        [ood.detector("msp"), ood.detector("knn", k=5)], test, train=train, rows=50, tpr=0.9
    )
    assert run.document == expected.to_json()


def test_stress_prints_a_table(files: Path) -> None:
    run = tool("stress", files / "logits.npz", "-m", "msp,energy")
    assert (run.status, run.err) == (0, "")
    rows = [line.split() for line in run.out.splitlines()]
    assert ["method", "confident", "the", "score", "lost", "gained"] in rows
    energy = next(row for row in rows if row[:1] == ["energy"])
    assert energy == ["energy", "100.00", "rises", "0.00", "0.00"]


def test_all_methods_that_the_files_allow(files: Path) -> None:
    run = tool("stress", files / "logits.npz", "--json")
    assert run.status == 0
    names = {row["method"] for row in run.document["results"]}
    assert {"msp", "energy", "entropy"} <= names
    assert "mahalanobis" in {note["method"] for note in run.document["skipped"]}


def test_a_detector_decides_by_its_own_threshold(files: Path, tmp_path: Path) -> None:
    made = tmp_path / "msp.safetensors"
    fit = ["fit", files / "train.npz", "-m", "msp", "--id-val", files / "val.npz"]
    assert tool(*fit, "--tpr", "0.8", "-o", made).status == 0
    run = tool("stress", files / "test.npz", "--detector", made, "--json")
    value = tool("info", made, "--json").document["threshold"]["value"]
    (result,) = run.document["results"]
    assert (result["method"], result["fragility"]["threshold"]) == ("msp", value)


def test_a_threshold_for_each_class_is_refused(files: Path, tmp_path: Path) -> None:
    made = tmp_path / "msp.safetensors"
    assert tool("fit", files / "train.npz", "-m", "msp", "-o", made).status == 0
    run = tool("threshold", "--detector", made, "--id-val", files / "val.npz", "--rule", "class")
    assert run.status == 0, run.err
    run = tool("stress", files / "test.npz", "--detector", made)
    assert run.status == 3
    assert run.error == f"{made}: threshold: is by class; stress looks at a single threshold"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["-m", "mspp"], 2, "did you mean msp"),
        (["-m", "msp", "--rows", "0"], 2, "--rows"),
        (["-m", "msp", "--tpr", "0"], 2, "--tpr"),
        (["-m", "mahalanobis"], 3, "no method could run: mahalanobis: needs training outputs"),
    ],
)
def test_a_wrong_request(options: list[str], status: int, words: str, files: Path) -> None:
    run = tool("stress", files / "test.npz", *options)
    assert run.status == status
    assert words in " ".join(run.err.split())


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    empty = save(tmp_path / "empty.npz", logits=np.ones((0, 3)))
    run = tool("stress", empty, "-m", "msp")
    assert run.status == 3
    assert "far field needs in-distribution rows" in run.error
    bad = save(tmp_path / "bad.npz", logits=np.array([[1.0, 0.0], [np.nan, 0.0]]))
    run = tool("stress", bad, "-m", "msp,energy")
    assert run.status == 3
    assert "row 1 holds NaN" in run.error


def test_one_method_that_fails_is_a_partial_result(files: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    ood.save_outputs(ood.load(files / "train.npz").rows(slice(0, 1)), few)
    run = tool("stress", files / "test.npz", "-m", "msp,mahalanobis", "--train", few, "--json")
    assert run.status == 4
    assert [row["method"] for row in run.document["results"]] == ["msp"]
    assert [note["method"] for note in run.document["failed"]] == ["mahalanobis"]
