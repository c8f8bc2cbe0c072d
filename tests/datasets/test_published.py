"""Published figures as data, and a run beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ood_toolkit as ood
from ood_toolkit.datasets import known_benchmarks
from ood_toolkit.datasets.published_tables import (
    Figure,
    published_methods,
    published_table,
    published_tables,
)
from ood_toolkit.errors import DataError, UnknownName
from ood_toolkit.evaluation.falls import worse_pairs
from ood_toolkit.evaluation.side_by_side import beside_published, read_results

TABLES = sorted(published_tables())


def test_figures_that_stand_in_print() -> None:
    """A sample of the leaderboard's figures, typed from it and not from the file."""
    ten = published_table("cifar10-resnet18").figures
    assert ten["auroc"]["MSP"] == {"near": Figure(0.8803, 0.0025), "far": Figure(0.9073, 0.0043)}
    assert ten["auroc"]["fDBD"]["far"] == Figure(0.9316, None)
    assert ten["fpr"]["MSP"]["near"] == Figure(0.4817, 0.0392)
    big = published_table("imagenet1k-resnet50").figures
    assert big["auroc"]["AdaSCALE-A"] == {"near": Figure(0.8442, None), "far": Figure(0.9727, None)}
    assert big["fpr"]["SCALE"]["far"] == Figure(0.1653, None)
    assert published_table("imagenet1k-vit-b16").figures["auroc"]["RMDS"]["near"].value == 0.8009
    assert published_table("imagenet1k-swin-t").figures["auroc"]["MDS++"]["far"].value == 0.946
    regnet = published_table("imagenet1k-regnety-16gf").figures["auroc"]
    assert regnet["NNGuide"]["far"].value == 0.9717
    assert published_table("cifar100-resnet18").figures["auroc"]["NAC"]["far"].value == 0.8698
    spectrum = published_table("imagenet200-resnet18-full-spectrum")
    assert spectrum.full_spectrum
    assert spectrum.figures["auroc"]["SHE"]["near"] == Figure(0.5473, 0.0067)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole(name: str) -> None:
    table = published_tables()[name]
    assert table.benchmark in known_benchmarks()
    assert table.title
    assert table.model
    assert set(table.sources) == set(table.figures) >= {"auroc"}
    assert bool(table.fpr_rule) == ("fpr" in table.figures)
    for figures in table.figures.values():
        assert len(figures) >= 5
        for groups in figures.values():
            assert set(groups) == {"near", "far"}
            for figure in groups.values():
                assert 0 <= figure.value <= 1
                assert figure.std is None or 0 < figure.std < 0.2


def test_methods_are_those_of_the_catalogue_and_of_the_tables() -> None:
    rows = {row for table in published_tables().values() for row in table.figures["auroc"]}
    names = {method.name for method in ood.methods()}
    for name, known in published_methods().items():
        assert name in names
        assert known.row in rows, name


def test_an_unknown_table() -> None:
    with pytest.raises(UnknownName, match=r"did you mean cifar10-resnet18\?"):
        published_table("cifar10-resnet-18")
    with pytest.raises(UnknownName, match="there are cifar10-resnet18, cifar100"):
        published_table("zzz")


# A run beside them


def document(**changes: Any) -> dict[str, Any]:
    """Results on CIFAR-10 as OpenOOD measures, of two methods."""
    sets = {"cifar100": "near", "tin": "near", "mnist": "far", "svhn": "far", "texture": "far",
            "places365": "far"}  # fmt: skip
    methods = {"msp": 0.88, "knn": 0.91}
    made: dict[str, Any] = {
        "schema": 1,
        "convention": {"fpr_rule": "openood", "fpr_at_tpr": 0.95, "id_subset": "all"},
        "id": {"name": "cifar10", "n": 10, "accuracy": 0.9},
        "results": [
            {"method": m, "ood": s, "group": g, "auroc": v, "auroc_ci": [v - 0.01, v + 0.01],
             "fpr": 0.4}
            for m, v in methods.items() for s, g in sets.items()
        ],
        "means": [
            {"method": m, "group": g, "auroc": v, "fpr": 0.4}
            for m, v in methods.items() for g in ("near", "far", "all")
        ],
        "tuning": {"on": "none", "methods": []},
    }  # fmt: skip
    return made | changes


def put(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def reasons(folder: Path, content: Any, table: str = "cifar10-resnet18") -> dict[Any, Any]:
    found = beside_published(read_results(put(folder, "r.json", content)), published_table(table))
    return {(b.method, b.group, b.metric): b for b in found}


def test_the_same_sets_and_rule_are_comparable(tmp_path: Path) -> None:
    found = reasons(tmp_path, document())
    assert set(found) == {
        (m, g, k) for m in ("msp", "knn") for g in ("near", "far") for k in ("auroc", "fpr")
    }
    near = found["msp", "near", "auroc"]
    assert (near.row, near.run, near.published, near.std) == ("MSP", 0.88, 0.8803, 0.0025)
    assert near.comparable
    assert near.to_json()["difference"] == pytest.approx(-0.0003)
    assert not found["knn", "near", "auroc"].comparable
    assert found["knn", "near", "auroc"].why == (
        "published with parameters chosen on validation outliers",
    )
    tuned = document(tuning={"on": "ood", "methods": []})
    assert reasons(tmp_path, tuned)["knn", "near", "auroc"].comparable


def test_what_differs_is_said(tmp_path: Path) -> None:
    rule = {"fpr_rule": "id_positive", "fpr_at_tpr": 0.9, "id_subset": "correct"}
    found = reasons(tmp_path, document(convention=rule))
    assert found["msp", "far", "auroc"].why == (
        "published for all ID rows, this run counts the correct ones",
    )
    assert found["msp", "far", "fpr"].why == (
        "published for all ID rows, this run counts the correct ones",
        "published by FPR rule openood, this run by id_positive",
        "published at TPR 0.95",
    )
    other = document(id={"name": "cifar100", "n": 1, "accuracy": None})
    assert reasons(tmp_path, other)["msp", "near", "auroc"].why == (
        "published for ID cifar10, this run has cifar100",
    )
    shifted = document(id={"name": "cifar10+cifar10c", "n": 1, "accuracy": None})
    assert reasons(tmp_path, shifted)["msp", "near", "auroc"].why == (
        "in the published figures shifted rows do not count as ID",
    )
    fewer = document()
    fewer["results"] = [r for r in fewer["results"] if r["ood"] != "texture"]
    found = reasons(tmp_path, fewer)
    assert found["msp", "near", "auroc"].comparable
    (why,) = found["msp", "far", "auroc"].why
    assert why.startswith("published over far sets mnist, places365, svhn, texture, this run has")


def test_full_spectrum_figures_need_shifted_rows(tmp_path: Path) -> None:
    found = reasons(tmp_path, document(), "imagenet1k-resnet50-full-spectrum")
    assert "in the published figures shifted rows count as ID" in found["msp", "near", "auroc"].why


def test_undefined_figures_are_passed_over(tmp_path: Path) -> None:
    content = document()
    content["means"][0]["auroc"] = None
    content["means"][0]["fpr"] = "inf"
    assert ("msp", "near", "auroc") not in reasons(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "{",
            r"is no JSON \(Expecting property name .*\); give the file that evaluate or benchmark",
        ),
        ("index,msp\n0,0.5\n", r"is no JSON \(Expecting value.*\); give the file that evaluate"),
        ("[" * 100_000, r"is no JSON \(maximum recursion depth"),
        ([], "is JSON with a list, and no results of an evaluation; give the file that evaluate"),
        ("1.5", "is JSON with one number or truth value, and no results"),
        ("{}", "is JSON with nothing in it, and no results"),
        ({"results": []}, "is JSON with 'results', and no results of an evaluation"),
        (dict.fromkeys("abcdef", 0), "is JSON with 'a', 'b', 'c', 'd', …, and no results"),
        (document(schema=2), "schema: is 2, this version reads 1"),
        ({"schema": 1, "results": []}, "'id' is missing"),
    ],
)
def test_files_that_hold_no_results(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read_results(put(tmp_path, "x.json", content))
    assert "damaged" not in str(refused.value)


def test_a_file_of_scores_is_said_to_be_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "scores.npz", index=np.arange(3), msp=np.zeros(3))
    with pytest.raises(DataError, match=r"looks like a zip archive .*, and results are JSON; give"):
        read_results(str(tmp_path / "scores.npz"))


def test_methods_that_the_paired_tests_cannot_tell_apart(tmp_path: Path) -> None:
    tables = [
        {"ood": "tin", "tied_with_best": ["msp"]},
        {"group": "near", "tied_with_best": ["msp", "knn"]},
    ]
    held = document(comparisons={"tables": tables})
    assert read_results(put(tmp_path, "a.json", held)).tied == {"near": ("msp", "knn")}
    assert read_results(put(tmp_path, "a.json", document(comparisons=None))).tied == {}


def test_what_got_worse(tmp_path: Path) -> None:
    later = document()
    for row in later["results"]:
        row["auroc"] -= {"cifar100": 0.005, "tin": 0.02, "mnist": 0.011}.get(row["ood"], 0)
    runs = [
        read_results(put(tmp_path, n, d)) for n, d in (("a.json", document()), ("b.json", later))
    ]
    assert {(w.file, w.method, w.ood) for w in worse_pairs(runs)} == {
        ("b", m, s) for m in ("msp", "knn") for s in ("tin", "mnist")
    }
    assert {w.ood for w in worse_pairs(runs, margin=0.012)} == {"tin"}
    assert {w.ood for w in worse_pairs(runs, margin=0.0)} == {"cifar100", "tin", "mnist"}
    assert worse_pairs(runs[::-1]) == []
    bare = document()
    for row in bare["results"]:
        row["auroc_ci"] = None
    runs[0] = read_results(put(tmp_path, "a.json", bare))
    assert {w.ood for w in worse_pairs(runs)} == {"cifar100", "tin", "mnist"}
