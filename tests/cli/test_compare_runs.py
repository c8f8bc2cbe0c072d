"""`--scores-out` and `compare`: two runs tested on the same rows, or why they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import Run, save, tool

RNG = np.random.default_rng(3)
KNOWN = RNG.integers(0, 4, 80)
LOGITS = {"id": 3 * np.eye(4)[KNOWN] + RNG.normal(size=(80, 4)), "far": RNG.normal(size=(60, 4))}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of two runs on the same rows: the second network is noisier."""
    return evaluated(tmp_path, "before", 0.0), evaluated(tmp_path, "after", 4.0)


def evaluated(place: Path, name: str, noise: float, *options: str, rows: int = 80) -> Path:
    made = place / f"{name}-outputs"
    made.mkdir()
    rng = np.random.default_rng(7)
    for key, logits in LOGITS.items():
        changed = (logits + noise * rng.normal(size=logits.shape)).astype(np.float32)[:rows]
        labels = {"labels": KNOWN[:rows]} if key == "id" else {}
        save(made / f"{key}.npz", logits=changed, **labels)
    run = tool(
        "evaluate", "--id", made / "id.npz", "--ood", f"far/street={made / 'far.npz'}", "-m",
        "msp,energy", "--bootstrap", "0", "--scores-out", place / name, *options,
    )  # fmt: skip
    assert run.status == 0, run.err
    return place / name


def compared(*words: object) -> Run:
    run = tool("compare", *words)
    assert run.status == 0, run.err
    return run


def test_runs_are_tested_on_the_same_rows(runs: tuple[Path, Path]) -> None:
    before, after = runs
    document = compared(before, after, "--json").document
    assert [run["name"] for run in document["files"]] == ["before", "after"]
    assert "untested" not in document
    tests = [test for test in document["tests"] if test.get("group") == "far"]
    assert [test["method"] for test in tests] == ["msp", "energy"]
    assert all((test["baseline"], test["file"]) == ("before", "after") for test in tests)
    assert all(test["differs"] and test["p_value"] < 1e-3 for test in tests)
    results = json.loads((before / "results.json").read_text())["results"]
    aurocs = {row["method"]: row["auroc"] for row in results}
    for test in tests:
        assert test["baseline_auroc"] == pytest.approx(aurocs[test["method"]], abs=1e-12)
    printed = compared(before, after)
    assert "before against the others on the same rows: paired DeLong tests" in printed.out
    assert "adjusted by Holm" in printed.out
    lines = printed.out.partition("paired DeLong")[2].splitlines()
    line = next(x for x in lines if x.split()[:2] == ["energy", "far"])
    assert line.rstrip().endswith("yes")


def test_a_run_against_itself(runs: tuple[Path, Path]) -> None:
    document = compared(runs[0], runs[0], "--json").document
    assert {test["p_value"] for test in document["tests"]} == {1.0}
    names = [str(runs[0]), f"{runs[0]} (2)"]
    assert [run["name"] for run in document["files"]] == names


def test_results_alone_say_why_there_is_no_test(runs: tuple[Path, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone.json"
    alone.write_bytes((runs[1] / "results.json").read_bytes())
    run = compared(runs[0], alone)
    why = (
        f"{alone} holds results but no scores; run again with --scores-out DIR and compare "
        "the folders"
    )
    assert run.err == f"Note: no paired tests: {why}\n"
    document = compared(runs[0], alone, "--json").document
    assert (document["tests"], document["untested"]) == ([], why)
    assert "untested" not in compared(alone, "--json").document


def test_runs_that_count_other_rows_are_not_tested(tmp_path: Path) -> None:
    folders = [
        evaluated(tmp_path, name, noise, "--id-subset", "correct")
        for name, noise in (("a", 0.0), ("b", 1.0))
    ]
    run = compared(*folders)
    assert "no paired tests: only rows that are classified correctly count" in run.err


def test_other_rows_are_one_line(runs: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = evaluated(tmp_path, "fewer", 1.0, rows=50)
    run = tool("compare", runs[0], fewer)
    assert run.status == 3
    assert run.error == (
        "id: 80 rows in before but 50 in fewer; a paired test needs the same rows in the same order"
    )
    (runs[1] / "street.npz").write_bytes(b"PK\x03\x04 no archive")
    run = tool("compare", *runs)
    assert run.status == 3
    assert "street.npz: the archive's end is missing" in run.error
    run = tool("compare", runs[0], tmp_path)
    assert run.status == 3
    assert "results.json: no such file" in run.error


def test_the_scores_of_a_benchmark_and_of_openood(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    run = tool(
        "benchmark",
        "digits",
        "-m",
        "msp",
        "--bootstrap",
        "0",
        "--scores-out",
        out,
        "--workers",
        "1",
    )
    assert run.status == 0, run.err
    assert f"Results: {out}" in run.err
    with np.load(out / "id.npz") as file:
        assert file.files == ["index", "label", "msp"]
    scores = tmp_path / "scores"
    scores.mkdir()
    for seed, name in enumerate(("id", "near_a")):
        conf, label = np.random.default_rng(seed).normal(size=30), np.full(30, -seed)
        np.savez(scores / f"{name}.npz", pred=np.zeros(30, int), conf=conf, label=label)
    record = tmp_path / "mine.toml"
    record.write_text('id = "id"\nnear = ["near_a"]\n')
    kept = tmp_path / "kept"
    run = tool("benchmark", record, "--scores", f"conf={scores}", "--bootstrap", "0",
               "--scores-out", kept)  # fmt: skip
    assert run.status == 0, run.err
    with np.load(kept / "near_a.npz") as file, np.load(scores / "near_a.npz") as given:
        np.testing.assert_array_equal(file["conf"], given["conf"])
