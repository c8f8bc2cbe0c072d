"""`-m ensemble`: which methods are combined is a parameter."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

import ood_toolkit as ood
from ood_toolkit import Ensemble
from tests.cli.running import tool


def test_on_the_command_line(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    command = ["-m", "ensemble", "--set", "ensemble.members=energy,knn,vim",
               "--set", "ensemble.combine=mean_rank"]  # fmt: skip
    run = tool("score", files / "test.npz", "--train", files / "train.npz", *command, "-o", out)
    assert (run.status, run.err) == (0, "")
    expected = Ensemble("energy,knn,vim", combine="mean_rank").fit(ood.load(files / "train.npz"))
    with out.open(newline="") as file:
        got = [float(row["ensemble"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(got, expected.score(ood.load(files / "test.npz")), rtol=1e-15)

    path = tmp_path / "d.safetensors"
    members = json.dumps(["msp", {"method": "knn", "parameters": {"k": 7}}])
    run = tool("fit", files / "train.npz", "--id-val", files / "val.npz", "-m", "ensemble",
               "--set", f"members={members}", "--set", "combine=fisher", "-o", path)  # fmt: skip
    assert (run.status, run.err) == (0, "")
    assert ood.load_scorer(path).detector == Ensemble(["msp", ood.KNN(k=7)], combine="fisher")

    run = tool("score", files / "test.npz", "--train", files / "train.npz", "-m", "ensemble",
               "--set", "members=energy,knnn")  # fmt: skip
    assert run.status == 2
    assert "did you mean knn" in run.error
