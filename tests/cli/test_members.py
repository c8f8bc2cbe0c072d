"""`--member FILE`: the logits of several files as one stack."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import ood_toolkit as ood
from tests.cases import mostly_right
from tests.cli.running import Run, csv_rows, save, tool

METHODS = "vote_entropy,t_similarity"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows judged by three members, in three formats."""
    folder = tmp_path_factory.mktemp("members")
    for name, rows, seed in (("in", 30, 5), ("out", 20, 6), ("short", 29, 5)):
        x = mostly_right(rows, seed=seed, spread=1.0 if name == "in" else 0.3)
        save(folder / f"{name}.npz", logits=x.logits, features=x.features, labels=x.labels)
        save(folder / f"{name}0.npz", logits=x.members[0], labels=x.labels)
        np.save(folder / f"{name}1.npy", x.members[1].astype(np.float32))
        ood.save_outputs(ood.Outputs(logits=x.members[2]), folder / f"{name}2.safetensors")
    save(folder / "fewer.npz", logits=np.ones((30, 4)))
    return folder


def members(folder: Path, name: str, of: str = "") -> list[str]:
    files = [f"{name}0.npz", f"{name}1.npy", f"{name}2.safetensors"]
    return [word for file in files for word in ("--member", f"{of}{folder / file}")]


def stack(folder: Path, name: str) -> ood.Outputs:
    files = members(folder, name)[1::2]
    return ood.Outputs(members=np.stack([ood.load(f).logits.astype(np.float64) for f in files]))


def test_score_stacks_the_members_of_its_file(folder: Path) -> None:
    run = tool("score", folder / "in.npz", *members(folder, "in"), "-m", f"msp,{METHODS}")
    assert (run.status, run.err) == (0, "")
    table = csv_rows(run.out)
    expected = ood.score(stack(folder, "in"), METHODS.split(","))
    for name, scores in expected.items():
        column = table[0].index(name)
        got = [float(row[column]) for row in table[1:]]
        np.testing.assert_allclose(got, scores, rtol=1e-12)


def test_evaluate_takes_members_of_every_set(folder: Path) -> None:
    run = tool(
        "evaluate", "--id", folder / "in.npz", "--ood", f"far/out={folder / 'out.npz'}",
        *members(folder, "in", "id="), *members(folder, "out", "far/out="), "-m", METHODS,
        "--bootstrap", "0", "--json", "-q",
    )  # fmt: skip
    assert (run.status, run.err) == (0, "")
    inside, outside = (ood.score(stack(folder, name), METHODS.split(",")) for name in ("in", "out"))
    for result in run.document["results"]:
        name = result["method"]
        assert result["auroc"] == ood.metrics.auroc(inside[name], outside[name])


def test_fit_and_errors_take_members(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    run = tool("fit", folder / "in.npz", *members(folder, "in"), "-m", "ensemble",
               "--set", "members=vote_entropy,energy", "-o", path)  # fmt: skip
    assert (run.status, run.err) == (0, "")
    run = tool("errors", folder / "in.npz", *members(folder, "in"), "-m", METHODS, "--json")
    assert (run.status, run.err) == (0, "")
    assert [r["method"] for r in run.document["results"]] == METHODS.split(",")
    out = tmp_path / "s.csv"
    run = tool("score", folder / "out.npz", *members(folder, "out"), "--detector", path, "-o", out)
    assert (run.status, run.err) == (0, "")
    with out.open(newline="") as file:
        assert len([row["ensemble"] for row in csv.DictReader(file)]) == 20


def refused(folder: Path, *arguments: object) -> Run:
    return tool("score", folder / "in.npz", "-m", "vote_entropy", *map(str, arguments))


def test_members_that_do_not_fit_together(folder: Path) -> None:
    short, fewer = folder / "short0.npz", folder / "fewer.npz"
    run = refused(folder, "--member", short)
    assert run.status == 3
    assert run.error == (
        f"{short}: logits: shape (29, 5), expected (30, 5): members judge the rows of "
        f"{folder / 'in.npz'}"
    )
    run = refused(folder, *members(folder, "in"), "--member", fewer)
    assert (run.status, "shape (30, 4), expected (30, 5)" in run.error) == (3, True)
    run = refused(folder, "--member", folder / "none.npz")
    assert (run.status, "none.npz" in run.error) == (3, True)


def test_members_need_an_owner(folder: Path) -> None:
    several = tool("score", folder / "in.npz", folder / "out.npz", *members(folder, "in"),
                   "-m", "vote_entropy")  # fmt: skip
    assert several.status == 2
    assert "--member goes with one FILE" in several.err
    run = tool("evaluate", "--id", folder / "in.npz", "--ood", f"a={folder / 'out.npz'}",
               *members(folder, "in"), "-m", "vote_entropy")  # fmt: skip
    assert run.status == 2
    assert "SET=FILE with SET one of id, train, id-val, tune, a" in " ".join(run.err.split())


DATA = os.environ.get("OOD_TOOLKIT_DATA")


@pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA names no folder of cases")
def test_three_published_networks_as_members() -> None:
    """They disagree more on Tiny-ImageNet than on CIFAR-10."""
    root = Path(DATA or ".")

    def of(key: str, name: str) -> list[str]:
        others = [root / "cifar10_ensemble" / f"resnet{n}_{name}.npz" for n in (32, 44)]
        files = [root / "cifar10_resnet20" / f"{name}.npz", *others]
        return [word for file in files for word in ("--member", f"{key}={file}")]

    run = tool(
        "evaluate", "--id", root / "cifar10_resnet20" / "id_test.npz",
        "--ood", f"tin={root / 'cifar10_resnet20' / 'ood_tin.npz'}",
        *of("id", "id_test"), *of("tin", "ood_tin"), "-m", f"msp,{METHODS}",
        "--bootstrap", "0", "--json",
    )  # fmt: skip
    assert (run.status, run.err) == (0, "")
    auroc = {r["method"]: r["auroc"] for r in run.document["results"]}
    assert auroc["t_similarity"] > auroc["msp"] > auroc["vote_entropy"] > 0.7
