"""The programs behind the tables of docs/models.md, on a few rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from benchmarks import guard_latency, models_peers, models_tables
from benchmarks.model_pairs import Pair
from benchmarks.shipped_network import fashion_network, images, residual_network
from ood_toolkit.models import wrap
from tests.models.networks import fashion_cnn, fashion_images

DOCS = Path(__file__).resolve().parents[2] / "docs"
CELL = r"\d+\.\d \[\d+\.\d, \d+\.\d\]"


def test_the_networks_are_those_they_say() -> None:
    x = images("photographs", slice(0, 20))
    assert torch.equal(x, fashion_images("photographs")[:20])
    with torch.no_grad():
        assert torch.equal(fashion_network()(x), fashion_cnn()(x))
    deep = residual_network()
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)
               for m in deep.modules()) + 1 == 20  # fmt: skip
    assert wrap(deep).outputs(torch.randn(2, 3, 32, 32)).logits.shape == (2, 10)  # type: ignore[union-attr]


def test_tables_of_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rows in (("FITTED", 400), ("HELD", 60), ("TESTED", 1000)):
        monkeypatch.setattr(models_tables, name, rows)
    monkeypatch.setattr(models_tables, "ATTACKS", {"FGSM": models_tables.ATTACKS["FGSM"]})
    study = models_tables.Study(60)
    assert not torch.equal(study.sets["id"], study.held)
    lines = models_tables.layers(study).splitlines()
    assert len(lines) == 2 + 5
    assert all(len(re.findall(CELL, line)) == 3 for line in lines[2:])
    inside, outside = (ood.score(study.plain[n], "msp")["msp"] for n in ("id", "digits"))
    area = 100 * ood.metrics.auroc(inside, outside)
    assert models_tables.shown(inside, outside).startswith(f"{area:.1f} [")
    lines = models_tables.attacks(study).splitlines()
    assert len(lines) == 3
    assert re.match(rf"\| FGSM \| \d+ of 60 \|( {CELL} \|){{5}}$", lines[2])


def test_rows_measured_again_take_their_place(tmp_path: Path) -> None:
    path = tmp_path / "t.inc"
    path.write_text("| a | b |\n| --- | --- |\n| x | 1 | old |\n| y | 2 | kept |\n\nMeasured.\n")
    merged = models_peers._merged(path, [("x", "1", "new"), ("z", "3", "more")])
    assert merged == [("x", "1", "new"), ("y", "2", "kept"), ("z", "3", "more")]
    assert models_peers._merged(tmp_path / "none.inc", [("x",)]) == [("x",)]


def test_few_rounds_are_not_enough_near_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def timed(candidates: Any, rounds: int) -> dict[str, list[float]]:
        asked.append(rounds)
        return {"ours": [1.0, 1.0, 1.0], "theirs": [1.1, 1.3, 1.4] if rounds < 21 else [1.1, 1.2]}

    monkeypatch.setattr(models_peers, "interleaved", timed)
    scores = np.arange(9.0)
    pair = Pair("a", "b", lambda: scores, lambda: torch.from_numpy(-scores))
    row, failed = models_peers._compared(pair, 3)
    assert asked == [3, 21]
    assert row[3:6] == ("1.00 s", "1.15 s", "1.15 (1.10 … 1.20)")
    assert not failed


def test_the_published_tables_are_whole() -> None:
    found = (DOCS / "models-peers.inc").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in found[2:] if line.startswith("|")]
    methods = {row[0].removeprefix("| ") for row in rows}
    assert {"ODIN, T = 1,000", "Mahalanobis, fit and score", "RankFeat"} <= methods
    assert all(float(row[2]) > models_peers.AGREES or row[-1] for row in rows)
    text = (DOCS / "models-tables.inc").read_text(encoding="utf-8")
    for name in ("ODIN, step", "Gram", "GROOD", "penultimate layer", "DeepFool", "CW"):
        assert f"| {name}" in text
    assert len(re.findall(CELL, text)) == 12 * 3 + 5 * 3 + 4 * 5


def test_the_guards_time_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard_latency.main(["--rounds", "3"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(guard_latency.METHODS)
