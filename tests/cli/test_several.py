"""`compare --pool` and `--rank`: several runs, or several data sets, together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cases import mostly_right
from tests.cli.running import tool


def written(folder: Path, names: list[str]) -> list[Path]:
    """Results of two seeds, whose in-distribution sets are called so."""
    paths = []
    for seed, name in enumerate(names, start=1):
        result = ood.evaluate(
            ["energy", "msp", "knn"], id=mostly_right(60, seed=seed), bootstrap=0, id_name=name,
            train=mostly_right(90, seed=40 + seed),
            ood={f"{g}/s{i}": mostly_right(40, seed=10 * seed + i + 90, spread=0.2 * i)
                 for i, g in enumerate(["far", "far", "near"])},
        )  # fmt: skip
        path = folder / f"run{seed}.json"
        path.write_text(json.dumps(result.to_json()))
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs on the same data sets."""
    return written(tmp_path_factory.mktemp("seeds"), ["id", "id"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs on data sets of their own."""
    return written(tmp_path_factory.mktemp("runs"), ["one", "other"])


def test_runs_are_pooled(seeds: list[Path]) -> None:
    run = tool("compare", "--pool", *seeds, "--json")
    assert (run.status, run.err) == (0, "")
    pooled = run.document
    assert pooled["pooled"] == {"runs": [str(p) for p in seeds], "ddof": 1}
    values = [json.loads(p.read_text())["means"][0]["auroc"] for p in seeds]
    assert pooled["means"][0]["auroc_std"] == pytest.approx(np.std(values, ddof=1))
    table = tool("compare", "--pool", *seeds)
    assert f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}" in table.out


@pytest.mark.parametrize("test", ["nemenyi", "wilcoxon"])
def test_methods_are_ranked_over_every_set(test: str, runs: list[Path]) -> None:
    document = tool("compare", "--rank", test, *runs, "--json").document
    assert (document["sets"], document["figures"], document["test"]) == (6, 6, test)
    figures: dict[str, list[float]] = {}
    for path in runs:
        for r in json.loads(path.read_text())["results"]:
            figures.setdefault(r["method"], []).append(r["auroc"])
    expected = ood.evaluation.rank_methods(figures, test=test)
    assert document["methods"] == list(expected.methods)
    assert document["mean_ranks"] == pytest.approx(list(expected.mean_ranks))
    run = tool("compare", "--rank", test, *runs)
    assert "6 data sets" in run.out
    assert "averaged" not in run.out
    for name in figures:
        assert name in run.out


def test_a_data_set_in_several_files_is_one(seeds: list[Path]) -> None:
    document = tool("compare", "--rank", "wilcoxon", *seeds, "--json").document
    assert (document["sets"], document["figures"]) == (3, 6)
    figures: dict[str, dict[str, list[float]]] = {}
    for path in seeds:
        for r in json.loads(path.read_text())["results"]:
            figures.setdefault(r["method"], {}).setdefault(r["ood"], []).append(r["auroc"])
    means = {name: [np.mean(by[s]) for s in sorted(by)] for name, by in figures.items()}
    expected = ood.evaluation.rank_methods(means, test="wilcoxon")
    assert document["mean_ranks"] == pytest.approx(list(expected.mean_ranks))
    out = tool("compare", "--rank", "nemenyi", *seeds).out
    assert "6 figures of each method on 3 data sets" in out
    assert "over 3 data sets" in out
    same = tool("compare", "--rank", "wilcoxon", *seeds[:1] * 5, "--json").document
    assert same["sets"] == 3


def test_pool_and_rank_stand_alone(runs: list[Path], tmp_path: Path) -> None:
    assert tool("compare", "--pool", "--rank", "nemenyi", *runs).status == 2
    other = tmp_path / "other.json"
    document = json.loads(runs[0].read_text())
    document["convention"]["fpr_rule"] = "odin"
    other.write_text(json.dumps(document))
    run = tool("compare", "--pool", runs[0], other)
    assert run.status == 3
    assert "pool runs of one convention" in run.error
