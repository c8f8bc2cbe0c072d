"""`explain`: as a table and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

import ood_toolkit as ood
from tests.cli.running import tool


@pytest.fixture(scope="module")
def detector(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sdm") / "sdm.safetensors"
    run = tool("fit", files / "train.npz", "-m", "sdm", "--set", "alpha=0.8", "--id-val",
               files / "val.npz", "-o", path)  # fmt: skip
    assert (run.status, run.err) == (0, "")
    assert ["held", "out", "from", "id_val"] in [line.split() for line in run.out.splitlines()]
    return path


def test_json_says_what_python_says(files: Path, detector: Path) -> None:
    run = tool("explain", files / "test.npz", "--detector", detector, "--rows", "3,10-11",
               "--neighbors", "2", "--json")  # fmt: skip
    assert (run.status, run.err) == (0, "")
    document = run.document
    assert (document["method"], document["detector"]) == ("sdm", str(detector))
    expected = ood.load_scorer(detector).explain(
        ood.load(files / "test.npz"), [3, 10, 11], neighbors=2
    )
    assert [row["row"] for row in document["rows"]] == [3, 10, 11]
    for row, explanation in zip(document["rows"], expected, strict=True):
        assert row["reason"] == explanation.reason
        assert row["facts"] == explanation.facts
        assert [e["row"] for e in row["exemplars"]] == [e.row for e in explanation.exemplars]


def test_the_table(files: Path, detector: Path) -> None:
    run = tool("explain", files / "test.npz", "--detector", detector)
    assert run.status == 0
    rows = [line for line in run.out.splitlines() if line.startswith("row ")]
    assert len(rows) == 5
    assert rows[0] == "row 0: predicted 0, labelled 3"
    assert run.out.count("support row") == 5 + run.out.count("nearest support row")
    assert "similarity" in run.out
    run = tool("explain", files / "unlabelled.npz", "--detector", detector, "--rows", "0")
    assert run.out.startswith("row 0: predicted 0\n")


def test_refusals(files: Path, detector: Path, tmp_path: Path) -> None:
    far = tool("explain", files / "test.npz", "--detector", detector, "--rows", "120")
    assert far.status == 3
    assert "row 120: there are rows 0 ... 119" in far.error
    for rows in ("a", "1,", "-3", "0-99999999999"):
        run = tool("explain", files / "test.npz", "--detector", detector, f"--rows={rows}")
        assert run.status == 2, rows
    other = tmp_path / "knn.safetensors"
    tool("fit", files / "train.npz", "-m", "knn", "-o", other)
    run = tool("explain", files / "test.npz", "--detector", other)
    assert run.status == 3
    assert "knn cannot explain its scores" in run.error


def test_a_level_that_cannot_be_reached_is_an_answer(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "sdm.safetensors"
    run = tool("fit", files / "train.npz", "-m", "sdm", "--set", "alpha=1", "--id-val",
               files / "val.npz", "-o", path, "--json")  # fmt: skip
    assert run.status == 0
    assert run.document["report"]["q_min"] == "inf"
    assert run.document["report"]["missed_classes"]
    run = tool("explain", files / "test.npz", "--detector", path, "--rows", "0", "--json")
    assert run.document["rows"][0]["facts"]["q_min"] == "inf"
