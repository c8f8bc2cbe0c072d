"""`evaluate`: the document that outside scripts read, and what stands beside it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.io.gate import printable
from tests.cli.running import Run, save, tool

FEW = ("-m", "energy,msp", "--bootstrap", "0")


def evaluate(files: Path, *arguments: object) -> Run:
    return tool(
        "evaluate", "--id", files / "test.npz", "--train", files / "train.npz",
        "--ood", f"near/shifted={files / 'near.npz'}", "--ood", f"far/other={files / 'far.npz'}",
        *map(str, arguments),
    )  # fmt: skip


def test_the_in_distribution_rows_have_the_name_that_they_are_given(
    files: Path, tmp_path: Path
) -> None:
    run = evaluate(files, *FEW, "--id-name", "[digits]", "--json-out", tmp_path / "r.json")
    assert run.status == 0, run.err
    assert run.out.startswith("In-distribution: [digits], 120 rows")
    assert json.loads((tmp_path / "r.json").read_text())["id"]["name"] == "[digits]"


def test_the_document_has_the_promised_keys_and_types(files: Path) -> None:
    run = evaluate(files, "-m", "energy", "--bootstrap", "100", "--json")
    assert (run.status, run.err) == (0, "")
    document = run.document
    assert {
        "schema", "toolkit", "convention", "id", "results", "means", "skipped", "failed",
    } <= set(document)  # fmt: skip
    assert (document["schema"], document["toolkit"]) == (1, ood.__version__)
    assert document["convention"] == {
        "positive": "id", "fpr_at_tpr": 0.95, "fpr_rule": "id_positive", "aupr": "step",
        "id_subset": "all",
    }  # fmt: skip
    assert document["id"].keys() == {"name", "n", "accuracy"}
    assert (document["id"]["name"], document["id"]["n"]) == ("test", 120)
    assert [(r["ood"], r["group"], r["n_ood"]) for r in document["results"]] == [
        ("shifted", "near", 80),
        ("other", "far", 80),
    ]
    for result in document["results"]:
        assert {
            "method", "ood", "group", "n_ood", "auroc", "auroc_ci", "fpr", "fpr_ci", "aupr_in",
            "aupr_out", "detection_error",
        } <= set(result)  # fmt: skip
        for metric in ("auroc", "fpr", "aupr_in", "aupr_out", "detection_error"):
            assert isinstance(result[metric], float)
            assert 0 <= result[metric] <= 1
        for metric in ("auroc", "fpr"):
            low, high = result[f"{metric}_ci"]
            assert 0 <= low <= result[metric] <= high <= 1
    assert [(m["method"], m["group"]) for m in document["means"]] == [
        ("energy", "near"),
        ("energy", "far"),
        ("energy", "all"),
    ]
    assert all(
        m.keys() == {"method", "group", "auroc", "fpr", "auroc_ci"} for m in document["means"]
    )
    assert document["skipped"] == document["failed"] == []


def test_figures_are_those_of_the_scores(files: Path) -> None:
    document = evaluate(files, *FEW, "--json").document
    test, far = ood.load(files / "test.npz"), ood.load(files / "far.npz", labels=False)
    for method in ("energy", "msp"):
        inside, outside = (ood.score(x, method)[method] for x in (test, far))
        (row,) = (r for r in document["results"] if (r["method"], r["ood"]) == (method, "other"))
        assert row["auroc"] == ood.metrics.auroc(inside, outside)
        assert row["fpr"] == ood.metrics.fpr_at_tpr(inside, outside)
        ranking = ood.metrics.Ranking.of(inside, outside)
        assert tuple(row["fpr_ci"]) == ood.metrics.fpr_interval(ranking)
        assert row["aupr_in_ci"] is row["aupr_out_ci"] is None


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "timings"}


def test_the_files_hold_what_stdout_says(files: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "r.json", tmp_path / "r.csv"
    run = evaluate(files, *FEW, "--json", "--json-out", out, "--csv", table)
    assert json.loads(out.read_text()) == run.document
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row, result in zip(rows, run.document["results"], strict=True):
        assert (row["method"], row["ood"]) == (result["method"], result["ood"])
        assert float(row["auroc"]) == result["auroc"]
        assert float(row["fpr"]) == result["fpr"]
        assert float(row["auroc_low"]) == result["auroc_ci"][0]
        assert float(row["fpr_low"]) == result["fpr_ci"][0]
        assert row["aupr_in_low"] == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.csv", "r.json"]


def test_the_table_is_for_people(files: Path) -> None:
    run = evaluate(files, *FEW)
    document = evaluate(files, *FEW, "--json").document
    assert (run.status, run.err) == (0, "")
    assert "higher score = in-distribution" in " ".join(run.out.split())
    assert "id_positive" in run.out
    for result in document["results"]:
        assert f"{100 * result['auroc']:.2f} / {100 * result['fpr']:.2f}" in run.out


@pytest.mark.parametrize(
    "rule", ["id_positive", "ood_positive", "openood", "odin", "nearest_id", "nearest_ood"]
)
def test_every_rule_is_recorded_and_used(rule: str, files: Path) -> None:
    run = evaluate(files, *FEW, "--fpr-rule", rule, "--tpr", "0.9", "--json")
    assert run.status == 0
    convention = run.document["convention"]
    assert (convention["fpr_rule"], convention["fpr_at_tpr"]) == (rule, 0.9)
    inside, outside = (
        ood.score(ood.load(files / f"{name}.npz", labels=False), "energy")["energy"]
        for name in ("test", "far")
    )
    (row,) = (r for r in run.document["results"] if (r["method"], r["ood"]) == ("energy", "other"))
    expected = ood.metrics.Ranking.of(inside, outside).fpr_at_tpr(0.9, rule=rule)
    assert row["fpr"] == (None if np.isnan(expected) else expected)


def test_an_empty_band_of_the_odin_rule_is_null_with_its_reason(tmp_path: Path) -> None:
    """Four distinct ID scores: no threshold has a TPR near 0.95."""
    rng = np.random.default_rng(0)
    path = save(tmp_path / "x.npz", logits=np.eye(4)[[0, 1, 2, 3]] * np.arange(1.0, 5)[:, None])
    other = save(tmp_path / "y.npz", logits=rng.normal(size=(9, 4)))
    run = tool("evaluate", "--id", path, "--ood", f"a={other}", "-m", "energy", "--bootstrap", "0",
               "--fpr-rule", "odin", "--json")  # fmt: skip
    assert run.status == 0
    assert run.document["results"][0]["fpr"] is None
    assert "FPR" in run.err.upper()


def test_aupr_estimators_differ_and_are_recorded(files: Path) -> None:
    step, trapezoid = (
        evaluate(files, *FEW, "--aupr", kind, "--json").document for kind in ("step", "trapezoid")
    )
    assert trapezoid["convention"]["aupr"] == "trapezoid"
    assert step["results"][0]["aupr_in"] != trapezoid["results"][0]["aupr_in"]
    assert step["results"][0]["auroc"] == trapezoid["results"][0]["auroc"]


def test_only_correct_rows_count_where_asked(files: Path) -> None:
    document = evaluate(files, *FEW, "--id-subset", "correct", "--json").document
    test = ood.load(files / "test.npz")
    right = test.logits.argmax(axis=1) == test.labels
    assert document["id"]["n"] == right.sum() < 120
    assert document["id"]["accuracy"] == right.mean()
    assert document["convention"]["id_subset"] == "correct"
    run = tool("evaluate", "--id", files / "logits.npz", "--ood", f"a={files / 'far.npz'}", *FEW,
               "--id-subset", "correct")  # fmt: skip
    assert run.status == 3
    assert "id_subset=correct needs logits and labels" in run.error


def test_labels_of_ood_files_are_dropped_unread(files: Path, tmp_path: Path) -> None:
    far = np.load(files / "far.npz")
    expected = without_times(evaluate(files, *FEW, "--json").document)["results"][1]
    for labels in (np.array(["x"] * 80), np.zeros((80, 3, 3)), np.full(7, 1e300), far["labels"]):
        path = save(tmp_path / "other.npz", **{**dict(far), "labels": labels})
        run = tool("evaluate", "--id", files / "test.npz", "--ood", f"far/other={path}", *FEW,
                   "--json")  # fmt: skip
        assert (run.status, run.err) == (0, "")
        assert run.document["results"][0] == expected


def test_labels_of_the_id_file_are_held_to_the_classes(files: Path, tmp_path: Path) -> None:
    test = ood.load(files / "test.npz")
    labels = test.labels.copy()
    labels[8] = 5
    path = save(tmp_path / "id.npz", logits=test.logits, labels=labels)
    run = tool("evaluate", "--id", path, "--ood", f"a={files / 'far.npz'}", *FEW)
    assert run.status == 3
    assert run.error.startswith(f"{path}: labels: row 8 is 5")


def test_all_runs_what_the_files_allow_and_lists_the_rest(files: Path) -> None:
    run = tool("evaluate", "--id", files / "logits.npz", "--ood", f"a={files / 'far.npz'}",
               "--bootstrap", "0", "--json")  # fmt: skip
    assert run.status == 0
    document = run.document
    ran = {r["method"] for r in document["results"]}
    skipped = {s["method"]: s["reason"] for s in document["skipped"]}
    assert ran | set(skipped) == {m.name for m in ood.methods()}
    assert ran & set(skipped) == set()
    assert {"energy", "msp"} <= ran
    assert "features" in skipped["knn"]
    assert "training outputs" in skipped["kl_matching"]
    assert document["failed"] == []
    # where the user reads a table, the reasons are on stderr
    table = tool("evaluate", "--id", files / "logits.npz", "--ood", f"a={files / 'far.npz'}",
                 "--bootstrap", "0")  # fmt: skip
    assert "Skipped: " in table.err
    assert "knn" in table.err


def test_a_method_asked_for_that_cannot_run_is_partial(files: Path) -> None:
    run = tool("evaluate", "--id", files / "logits.npz", "--ood", f"a={files / 'far.npz'}",
               "-m", "energy,knn", "--bootstrap", "0", "--json")  # fmt: skip
    assert run.status == 4
    assert [r["method"] for r in run.document["results"]] == ["energy"]
    assert run.document["failed"] == [{"method": "knn", "reason": "needs features"}]
    assert run.document["skipped"] == []


def test_a_fit_that_fails_is_partial_and_results_are_written(files: Path, tmp_path: Path) -> None:
    train = ood.load(files / "train.npz")
    path = save(
        tmp_path / "t.npz", logits=train.logits, features=0 * train.features, labels=train.labels
    )
    out = tmp_path / "r.json"
    run = tool("evaluate", "--id", files / "test.npz", "--ood", f"a={files / 'far.npz'}",
               "--train", path, "-m", "energy,mahalanobis", "--bootstrap", "0",
               "--json-out", out)  # fmt: skip
    assert run.status == 4
    assert f"Failed: mahalanobis: {path}: mahalanobis: the covariance is zero" in run.err
    assert [r["method"] for r in json.loads(out.read_text())["results"]] == ["energy"]


def test_nothing_that_runs_is_bad_input(files: Path) -> None:
    run = tool("evaluate", "--id", files / "logits.npz", "--ood", f"a={files / 'far.npz'}",
               "-m", "knn,vim")  # fmt: skip
    assert run.status == 3
    assert run.error.startswith("no method could run: knn: needs features")


def test_held_out_rows_and_heads_are_taken_where_given(files: Path) -> None:
    # far.npz holds no head: it is that of --train
    run = evaluate(files, "-m", "vim,react", "--id-val", files / "val.npz", "--bootstrap", "0",
                   "--json")  # fmt: skip
    assert run.status == 0
    assert {r["method"] for r in run.document["results"]} == {"vim", "react"}


def test_parameters_are_set_by_method(files: Path) -> None:
    one, five = (
        evaluate(files, "-m", "knn,msp", "--set", f"knn.k={k}", "--bootstrap", "0", "--json")
        for k in (1, 5)
    )
    assert one.document["results"][0]["auroc"] != five.document["results"][0]["auroc"]
    everything = evaluate(files, "-m", "all", "--set", "knn.k=5", "--bootstrap", "0", "--json")
    assert everything.status == 0
    rows = {(r["method"], r["ood"]): r for r in everything.document["results"]}
    assert rows["knn", "shifted"] == five.document["results"][0]


def test_the_seed_makes_intervals_repeatable(files: Path) -> None:
    def document(seed: int) -> dict[str, Any]:
        run = evaluate(files, "-m", "energy", "--bootstrap", "50", "--seed", seed, "--json")
        return without_times(run.document)

    assert document(1) == document(1)
    assert document(1)["results"][0]["aupr_in_ci"] != document(2)["results"][0]["aupr_in_ci"]


def test_names_that_are_not_utf8_are_written_with_escapes(files: Path, tmp_path: Path) -> None:
    inside, set_name = os.fsdecode(os.fsencode(tmp_path / "id") + b"\xff.npz"), "q\udcfd"
    shutil.copy(files / "test.npz", inside)
    outs = {kind: tmp_path / f"out.{kind}" for kind in
            ("json-out", "csv", "markdown", "latex", "html", "png")}  # fmt: skip
    options = [word for kind, path in outs.items() for word in (f"--{kind}", path)]
    words = ("--ood", f"{set_name}={files / 'far.npz'}", "-m", "msp", "--bootstrap", "0")
    run = tool("evaluate", "--id", inside, *words, *options, "--scores-out", tmp_path / "kept")
    assert run.status == 0, run.err
    document = json.loads(outs["json-out"].read_text(encoding="utf-8"))
    assert document["id"]["name"] == "id\\xff"
    for kind in ("csv", "markdown", "html"):
        assert "q\\xfd" in outs[kind].read_text(encoding="utf-8")
    assert r"q\textbackslash{}xfd" in outs["latex"].read_text(encoding="utf-8")
    compared = tool("compare", tmp_path / "kept", tmp_path / "kept", "--json").document
    assert {test.get("ood") for test in compared["tests"]} >= {"q\\xfd"}
    # a file of results that keeps the bytes, as earlier ones do
    outs["json-out"].write_text(json.dumps(document).replace("q\\\\xfd", "q\\udcfd"))
    assert tool("report", outs["json-out"], "-o", tmp_path / "r.html").status == 0
    assert "q\\xfd" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_bytes_that_are_utf8_become_letters() -> None:
    """A locale of ASCII leaves the letters of an argument as single bytes."""
    assert printable("a\udcff-\udcc3\udcb6-\ud800") == "a\\xff-ö-\\ud800"
    assert printable("ö") == "ö"
