"""`errors` and `benchmark`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cli.running import save, tool


def test_errors_measures_right_against_wrong_predictions(files: Path) -> None:
    run = tool("errors", files / "test.npz", "-m", "msp,energy", "--json")
    assert (run.status, run.err) == (0, "")
    document = run.document
    test = ood.load(files / "test.npz")
    correct = test.logits.argmax(axis=1) == test.labels
    assert (document["schema"], document["n"], document["accuracy"]) == (1, 120, correct.mean())
    assert {"nll", "brier", "ece", "skipped", "failed"} <= set(document)
    for row in document["results"]:
        scores = ood.score(test, row["method"])[row["method"]]
        assert row["auroc"] == ood.metrics.auroc(scores[correct], scores[~correct])
        assert row["aupr_success"] == ood.metrics.aupr_in(scores[correct], scores[~correct])
        assert row["aupr_error"] == ood.metrics.aupr_out(scores[correct], scores[~correct])
        assert row["aurc"] == ood.metrics.aurc(scores, correct)
        assert row["e_aurc"] == ood.metrics.e_aurc(scores, correct)
        assert row["risk_at_coverage"]["0.9"] == ood.metrics.risk_at_coverage(scores, correct, 0.9)


def test_errors_prints_a_table_and_writes_the_document(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "errors.json"
    run = tool("errors", files / "test.npz", "-m", "msp", "--json-out", out)
    assert (run.status, run.err) == (0, "")
    row = json.loads(out.read_text())["results"][0]
    assert f"{100 * row['auroc']:.2f}" in run.out
    assert f"{100 * row['aurc']:.2f}" in run.out
    assert "E-AURC" in run.out


def test_errors_of_all_methods_lists_what_cannot_run(files: Path) -> None:
    run = tool("errors", files / "test.npz", "--json")
    assert run.status == 0
    names = {r["method"] for r in run.document["results"]}
    skipped = {s["method"] for s in run.document["skipped"]}
    assert names | skipped == {m.name for m in ood.methods()}
    assert {"msp", "energy"} <= names
    assert "knn" in skipped


def test_errors_of_a_method_that_cannot_run_is_partial(files: Path) -> None:
    run = tool("errors", files / "test.npz", "-m", "msp,knn", "--json")
    assert run.status == 4
    assert [f["method"] for f in run.document["failed"]] == ["knn"]
    run = tool("errors", files / "test.npz", "-m", "knn")
    assert run.status == 3
    assert "no method could run" in run.error


def test_errors_says_what_is_missing_in_its_own_words(files: Path, tmp_path: Path) -> None:
    x = ood.load(files / "test.npz")
    z, y = x.logits, x.labels
    none = save(tmp_path / "none.npz", logits=z[:0], labels=y[:0])
    bare = save(tmp_path / "bare.npz", features=x.features, labels=y)
    hidden = save(tmp_path / "hidden.npz", logits=z)
    for path, said in (
        (none, "holds no rows; error detection needs labelled ones"),
        (bare, "error detection needs logits; name the file of the last layer, --head FILE"),
        (hidden, "error detection needs labels, which tell wrong predictions"),
    ):
        run = tool("errors", path, "-m", "msp")
        assert run.status == 3
        assert run.error.startswith(f"{path}: {said}")


@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_errors_of_predictions_of_one_kind(kind: str, files: Path, tmp_path: Path) -> None:
    z = ood.load(files / "test.npz").logits
    labels = (z.argmax(axis=1) + (kind == "wrong")) % 5
    path = save(tmp_path / "x.npz", logits=z, labels=labels)
    run = tool("errors", path, "-m", "msp,energy", "--json")
    assert run.status == 0
    assert run.err == (
        f"Warning: {path}: all 120 predictions are {kind}: AUROC and AUPR, of right against "
        "wrong ones, are undefined (NaN)\n"
    )
    assert {r["auroc"] for r in run.document["results"]} == {None}


def test_errors_needs_the_label_of_every_row(files: Path, tmp_path: Path) -> None:
    run = tool("errors", files / "unlabelled.npz", "-m", "msp")
    assert run.status == 3
    assert "needs labels" in run.error
    labels = np.array([0, 1, -1, 2])
    run = tool("errors", save(tmp_path / "x.npz", logits=np.eye(4), labels=labels), "-m", "msp")
    assert run.status == 3
    assert "labels: row 2 is -1" in run.error
    run = tool("errors", save(tmp_path / "y.npz", logits=np.eye(4), labels=labels + 2), "-m", "msp")
    assert run.status == 3
    assert "labels: row 3 is 4" in run.error


def test_errors_of_a_perfect_classifier_are_null_with_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=np.eye(4), labels=np.arange(4))
    run = tool("errors", path, "-m", "msp", "--json")
    assert run.status == 0
    assert run.document["results"][0]["auroc"] is None
    assert run.document["results"][0]["aurc"] == 0
    assert "Warning: " in run.err


@pytest.fixture(scope="module")
def digits() -> dict[str, object]:
    run = tool("benchmark", "digits", "--bootstrap", "0", "--json")
    assert run.status == 0, run.err
    document: dict[str, object] = run.document
    return document


def test_the_tiny_benchmark_runs_every_method_offline(digits: dict[str, list[dict]]) -> None:
    assert digits["failed"] == []
    ran = {r["method"] for r in digits["results"]}
    skipped = {s["method"] for s in digits["skipped"]}
    assert ran | skipped == {m.name for m in ood.methods()}
    # nothing ships that needs more than logits, features, head and labels
    assert len(ran) >= 23
    assert {r["group"] for r in digits["results"]} == {"near", "far"}
    assert digits["id"]["accuracy"] > 0.9


def test_benchmarks_compute_what_evaluate_computes(digits: dict[str, list[dict]]) -> None:
    data = ood.load_benchmark("digits")
    by = {(r["method"], r["ood"]): r for r in digits["results"]}
    scores = ood.score(data.id, ["energy", "knn"], train=data.train, id_val=data.id_val)
    for name, x in data.ood.items():
        others = ood.score(x, ["energy", "knn"], train=data.train, id_val=data.id_val)
        for method in ("energy", "knn"):
            expected = ood.metrics.auroc(scores[method], others[method])
            assert by[method, name]["auroc"] == expected


def test_a_benchmark_of_chosen_methods_writes_its_files(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    run = tool("benchmark", "digits", "-m", "energy,knn", "--set", "knn.k=3", "--bootstrap", "0",
               "--json-out", out)  # fmt: skip
    assert run.status == 0
    assert f"Results: {out}" in run.err
    assert {r["method"] for r in json.loads(out.read_text())["results"]} == {"energy", "knn"}


def test_an_unknown_benchmark_is_told_with_the_known_ones() -> None:
    run = tool("benchmark", "digit")
    assert run.status == 2
    assert "digits" in run.error
    assert "unexpected" not in run.error
