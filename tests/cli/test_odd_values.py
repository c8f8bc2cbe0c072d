"""Odd but legal numbers and labels, and those that are not: what each command says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cases import mostly_right
from tests.cli.running import Run, csv_rows, save, tool

RNG = np.random.default_rng(0)


def score(path: Path, methods: str = "msp,energy", *options: str) -> Run:
    return tool("score", path, "-m", methods, *options)


SHAPES = [
    (np.zeros((5, 1)), "a classifier has at least two classes, got 1"),
    (np.zeros((5, 0)), "a classifier has at least two classes, got 0"),
    (np.zeros(5), "logits must be a matrix of rows, got shape (5,)"),
    (np.zeros((2, 5, 3)), "logits must be a matrix of rows, got shape (2, 5, 3)"),
    (np.zeros((5, 3), np.int8), "if these are quantised logits, convert them with --dtype"),
    (np.zeros((5, 3), bool), "logits of dtype bool cannot be used"),
    (np.zeros((5, 3), complex), "logits of dtype complex128 cannot be used"),
    (np.array([["a", "b"]]), "logits of dtype"),
]


@pytest.mark.parametrize(("logits", "words"), SHAPES, ids=lambda v: str(v)[:30])
def test_logits_that_are_none(logits: np.ndarray, words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=logits)
    run = score(path)
    assert (run.status, run.out) == (3, "")
    assert run.error.startswith(f"{path}: ")
    assert words in run.error


def test_quantised_logits_are_read_where_the_user_says_so(tmp_path: Path) -> None:
    logits = RNG.integers(-128, 127, size=(20, 4), dtype=np.int8)
    run = score(save(tmp_path / "x.npz", logits=logits), "energy", "--dtype", "float32")
    assert run.status == 0
    expected = ood.score(logits.astype(np.float32), "energy")["energy"]
    assert [float(r[2]) for r in csv_rows(run.out)[1:]] == expected.tolist()


@pytest.mark.parametrize("classes", [2, 100_000])
def test_few_and_many_classes(classes: int, tmp_path: Path) -> None:
    logits = RNG.normal(size=(3, classes)).astype(np.float32)
    run = score(save(tmp_path / "x.npz", logits=logits, labels=[0, 1, -1]))
    assert run.status == 0
    assert len(csv_rows(run.out)) == 4


def test_one_row(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=np.array([[1.0, 2.0]]), labels=[1])
    assert len(csv_rows(score(path).out)) == 2
    run = tool("evaluate", "--id", path, "--ood", f"a={path}", "-m", "msp", "--bootstrap", "9",
               "--json")  # fmt: skip
    assert run.status == 0
    assert run.document["results"][0]["auroc"] == 0.5


def test_a_transposed_look_is_doubted(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=RNG.normal(size=(10, 5000)))
    run = score(path)
    assert run.status == 0
    assert f"Warning: {path}: logits of shape (10, 5000)" in run.err
    assert run.err.count("\n") == 1
    facts = tool("info", path, "--json").document
    assert facts["warnings"] == ["logits: 5000 classes for 10 rows; is the array transposed?"]


@pytest.mark.parametrize("value", [5e-324, 1e308, -1e308, 0.0, -0.0])
def test_extreme_and_constant_rows_are_scored(value: float, tmp_path: Path) -> None:
    logits = np.full((4, 3), value)
    path = save(tmp_path / "x.npz", logits=logits, labels=[0, 1, 2, 0])
    every = ",".join(m.name for m in ood.methods() if m.needs == ("logits",) and not m.fits)
    run = score(path, every)
    assert run.status == 0, run.err
    rows = csv_rows(run.out)
    scores = np.array([[float(cell) for cell in row[3:]] for row in rows[1:]])
    assert not np.isnan(scores).any()
    assert (scores == scores[0]).all()
    # and a constant score tells nothing apart
    run = tool("evaluate", "--id", path, "--ood", f"a={path}", "-m", every, "--bootstrap", "0",
               "--json")  # fmt: skip
    assert {r["auroc"] for r in run.document["results"]} == {0.5}


def test_infinite_scores_are_written_and_ranked(tmp_path: Path) -> None:
    """Two classes, one of them masked: the gap between the logits is infinite."""
    logits = np.array([[1.0, -np.inf], [2.0, 0.0], [0.5, 0.0]])
    path = save(tmp_path / "x.npz", logits=logits)
    run = score(path, "logit_margin")
    assert [row[2] for row in csv_rows(run.out)[1:]] == ["inf", "2.0", "0.5"]
    lines = score(path, "logit_margin", "--format", "jsonl").out.splitlines()
    assert '"logit_margin": "inf"' in lines[0]
    other = save(tmp_path / "y.npz", logits=logits[2:])
    run = tool("evaluate", "--id", path, "--ood", f"a={other}", "-m", "logit_margin",
               "--bootstrap", "0", "--json")  # fmt: skip
    assert run.document["results"][0]["auroc"] == pytest.approx(2.5 / 3)


LABELS = [
    ([0, 1, 2], "disagree on the number of rows: logits 4, labels 3"),
    ([0, 1, 3, 0], "labels: row 2 is 3, expected -1 … 2"),
    ([0, -2, 1, 0], "labels: row 1 is -2, expected -1 … 2"),
    ([0.0, 1.5, 1.0, 0.0], "labels: row 1 is 1.5, not a whole number"),
    ([0.0, np.nan, 1.0, 0.0], "labels: row 1 is nan, not a whole number"),
    (["cat", "dog", "cat", "dog"], "labels of dtype"),
    ([True, False, True, False], "labels of dtype bool cannot be used"),
    ([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], "row 2 is not one-hot"),
    (np.array([0, 255, 1, 2], np.uint8), "row 1 is 255, expected -1 … 2 (a -1 that wrapped"),
]


@pytest.mark.parametrize(("labels", "words"), LABELS, ids=lambda v: str(v)[:30])
def test_labels_that_cannot_be(labels: object, words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=RNG.normal(size=(4, 3)), labels=labels)
    for command in (
        ["errors", path, "-m", "msp"],
        ["fit", path, "-m", "kl_matching", "-o", tmp_path / "d.safetensors"],
        ["evaluate", "--id", path, "--ood", f"a={path}", "-m", "msp"],
    ):
        run = tool(*command)
        assert (run.status, run.out) == (3, "")
        assert run.error.startswith(f"{path}: ")
        assert words in run.error
    assert not (tmp_path / "d.safetensors").exists()


def test_score_takes_labels_of_no_class_as_unknown(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=RNG.normal(size=(4, 3)), labels=[0, 3, -5, 2])
    run = score(path)
    assert run.status == 0
    assert [row[2] for row in csv_rows(run.out)[1:]] == ["0", "-1", "-1", "2"]
    assert run.err.startswith(
        f"Warning: {path}: labels: 2 labels outside -1 … 2, the first in row 1"
    )


def test_a_class_with_one_row_is_warned_of(tmp_path: Path) -> None:
    x = mostly_right(200, seed=1)
    kept = np.r_[np.flatnonzero(x.labels != 2), np.flatnonzero(x.labels == 2)[:1]]
    path = save(tmp_path / "x.npz", features=x.features[kept], labels=x.labels[kept])
    run = tool("fit", path, "-m", "mahalanobis", "-o", tmp_path / "d.safetensors")
    assert run.status == 0
    assert run.err.startswith(f"Warning: {path}: mahalanobis: class 2 has one row only")


def test_a_class_nobody_predicts_is_warned_of_where_the_method_can_do_without(
    tmp_path: Path,
) -> None:
    x = mostly_right(200, seed=1)
    kept = np.flatnonzero((x.labels != 3) & (x.logits.argmax(axis=1) != 3))
    path = save(tmp_path / "x.npz", logits=x.logits[kept], labels=x.labels[kept])
    run = tool("fit", path, "-m", "softmax_centroid", "-o", tmp_path / "d.safetensors")
    assert run.status == 0
    assert "Warning: " in run.err
    assert "class 3" in run.err


def test_duplicate_bank_rows_change_no_first_neighbour(tmp_path: Path) -> None:
    x, train = mostly_right(30, seed=2), mostly_right(100, seed=1)
    path = save(tmp_path / "x.npz", features=x.features)
    once = save(tmp_path / "once.npz", features=train.features)
    twice = save(tmp_path / "twice.npz", features=np.tile(train.features, (2, 1)))
    first = tool("score", path, "-m", "knn", "--set", "k=1", "--train", once)
    second = tool("score", path, "-m", "knn", "--set", "k=2", "--train", twice)
    assert first.status == second.status == 0
    assert first.out == second.out
