"""The scripts behind the tables run, and compare what they say they compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_sdm, sdm_coverage, sdm_tables
from tests.cases import mostly_right


def test_the_table() -> None:
    train, held_out, test = (
        mostly_right(n, seed=s, spread=1.15) for n, s in ((300, 1), (200, 2), (200, 3))
    )
    strange = {"faint": mostly_right(100, seed=4, spread=0.2)}
    case = sdm_tables.Case("A case", train, held_out, test, strange)
    rules = [rule for alpha, rule in sdm_tables.rules(case) if alpha == 0.9]
    shares = {
        rule.name.partition(",")[0]: rule.test.mean() for rule in rules if "as many" in rule.name
    }
    (region,) = (rule for rule in rules if rule.name == "SDM")
    assert set(shares) == {"MSP", "Mahalanobis"}
    assert all(share == pytest.approx(region.test.mean()) for share in shares.values())
    (line,) = (sdm_tables.line(0.9, region, case),)
    right = (test.logits.argmax(axis=1) == test.labels)[region.test]
    assert line[2:4] == [f"{100 * region.test.mean():.1f}", f"{100 * right.mean():.1f}"]
    assert sdm_tables.table(case).count("\n| 0.") >= 12


def test_the_simulation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- begin: benchmarks.sdm_coverage -->\nold\n"
                    "<!-- end: benchmarks.sdm_coverage -->\nb\n")  # fmt: skip
    options = ["--resamples", "2", "--support", "300", "--held-out", "300", "--write", str(page)]
    assert sdm_coverage.main(options) == 0
    table = capsys.readouterr().out
    assert table.count("\n| 0.") == 6
    text = page.read_text()
    assert table.strip() in text
    assert "old" not in text
    assert (text[:2], text[-2:]) == ("a\n", "b\n")


def test_known_truth_is_a_probability() -> None:
    p = sdm_coverage.posterior(np.random.default_rng(0).normal(size=(50, 2)))
    assert p.sum(axis=1) == pytest.approx(np.ones(50))
    drawn = sdm_coverage.draw(np.random.default_rng(0), 20000)
    p = sdm_coverage.posterior(drawn.features)
    assert p.mean(axis=0) == pytest.approx(np.bincount(drawn.labels) / 20000, abs=0.01)


def test_the_timing(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        bench_sdm.main(
            ["--support", "300", "--rows", "50", "--dims", "32", "--classes", "5", "--rounds", "1"]
        )
        == 0
    )
    assert "ours" in capsys.readouterr().out
