"""`evaluate --tune`: what was chosen is recorded, and what was tuned on is not reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cases import mostly_right
from tests.cli.running import Run, tool


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "outliers.npz"
    x = mostly_right(70, seed=31, spread=0.5)
    np.savez(path, logits=x.logits, features=x.features)
    return path


def evaluate(files: Path, tune: str, *arguments: object) -> Run:
    return tool(
        "evaluate", "--id", files / "test.npz", "--train", files / "train.npz",
        "--id-val", files / "val.npz", "--ood", f"near/shifted={files / 'near.npz'}",
        "--bootstrap", "0", "--tune", tune, *map(str, arguments),
    )  # fmt: skip


def test_what_was_chosen_is_recorded(files: Path, outliers: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    run = evaluate(files, f"ood={outliers}", "-m", "knn,gen,msp", "--json-out", out)
    assert (run.status, run.err) == (0, "")
    document = json.loads(out.read_text())["tuning"]
    assert (document["on"], document["source"], document["rows"]) == ("ood", str(outliers), 70)
    expected = {
        name: ood.tune(
            name,
            ood.load(files / "train.npz"),
            ood.load(files / "val.npz"),
            ood.load(outliers),
        )
        for name in ("knn", "gen", "msp")
    }
    assert document["methods"] == [choice.to_json() for choice in expected.values()]
    knn = expected["knn"].parameters["k"]
    assert f"Tuned on OOD validation rows: knn k={knn}; gen gamma=" in run.out


def test_from_id_rows(files: Path) -> None:
    run = evaluate(files, "id", "-m", "dice,vim", "--json")
    assert (run.status, run.err) == (0, "")
    document = run.document["tuning"]
    assert document["on"] == "id"
    assert [(m["method"], m["rule"]) for m in document["methods"]] == [
        ("dice", "pseudo-outliers"),
        ("vim", "published default"),
    ]
    assert evaluate(files, "none", "-m", "dice", "--json").document["tuning"]["on"] == "none"


def test_every_method_can_be_tuned(files: Path, outliers: Path) -> None:
    run = evaluate(files, f"ood={outliers}", "--json")
    assert run.status == 0, run.err
    document = run.document
    tuned = [choice["method"] for choice in document["tuning"]["methods"]]
    assert tuned == list(dict.fromkeys(r["method"] for r in document["results"]))
    assert {s["method"] for s in document["skipped"]} == {"t_similarity", "vote_entropy"} | {
        s["method"] for s in document["skipped"] if "needs" in s["reason"]
    }


def test_a_renamed_copy_of_a_reported_set_is_refused(files: Path, tmp_path: Path) -> None:
    """By what is in it, not by its name or format."""
    copy = shutil.copy(files / "near.npz", tmp_path / "validation.npz")
    other = tmp_path / "validation.safetensors"
    x = ood.load(files / "near.npz", labels=False)
    ood.save_outputs(x, other)
    for path in (copy, other, files / "near.npz"):
        run = evaluate(files, f"ood={path}", "-m", "knn", "--json-out", tmp_path / "r.json")
        assert run.status == 3
        assert run.error == (
            f"{files / 'near.npz'}: 80 of 80 rows are also in the validation outliers ({path}); "
            "report on other rows than those that are fitted or tuned on"
        )
        assert not (tmp_path / "r.json").exists()
    run = evaluate(files, f"ood={files / 'test.npz'}", "-m", "knn")
    assert run.status == 3


@pytest.mark.parametrize("value", ["yes", "ood", "ood=", "far.npz"])
def test_values_that_mean_nothing(value: str, files: Path) -> None:
    run = evaluate(files, value, "-m", "knn")
    assert run.status == 2
    assert f"--tune {value}: expected id, none or ood=FILE" in run.err


def test_methods_says_how_each_is_chosen() -> None:
    rows = {row["name"]: row for row in tool("methods", "--json").document}
    assert rows["knn"]["auto"] == "pseudo-outliers"
    assert rows["knn"]["grid"]["k"][:2] == [1, 5]
    assert rows["vim"]["auto"] == "published default"
    assert (rows["msp"]["auto"], rows["msp"]["grid"]) == ("nothing to choose", {})
    assert rows["renyi"]["grid"]["order"][-1] == "inf"
