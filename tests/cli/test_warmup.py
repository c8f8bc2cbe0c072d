"""`warmup` compiles what other commands call, once."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import TOOL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of kernels that `warmup` filled."""
    folder = tmp_path_factory.mktemp("kernels")
    document = json.loads(run(folder, "warmup", "--json").stdout)
    assert Path(document["kept_in"]).parent == folder
    assert document["seconds"] == pytest.approx(sum(s["seconds"] for s in document["steps"]))
    assert len({s["step"] for s in document["steps"]}) == len(document["steps"]) == 11
    return folder


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run([TOOL, *map(str, arguments)], env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip


def compiled(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}


def test_other_commands_compile_nothing_more(kernels: Path, files: Path, tmp_path: Path) -> None:
    before = compiled(kernels)
    assert len(before) > 20
    run(kernels, "score", files / "logits.npz", "-m", "msp,energy,gen", "-o", tmp_path / "s.csv")
    run(
        kernels,
        "evaluate",
        "--id",
        files / "test.npz",
        "--ood",
        f"a={files / 'far.npz'}",
        "--train",
        files / "train.npz",
        "-m",
        "energy,mahalanobis,knn,vim",
        "--bootstrap",
        "20",
    )
    run(kernels, "fit", files / "train.npz", "-m", "knn", "-o", tmp_path / "d.safetensors")
    assert compiled(kernels) == before


def test_a_second_warmup_prints_its_table_and_compiles_nothing(kernels: Path) -> None:
    before = compiled(kernels)
    lines = run(kernels, "warmup").stdout.splitlines()
    assert compiled(kernels) == before
    assert any(line.split()[:3] == ["energy,", "few", "classes,"] for line in lines)
    assert lines[-1].startswith("kept in ")
