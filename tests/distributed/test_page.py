"""The commands of docs/distributed.md do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from ood_toolkit.io import load, load_scores
from tests.cli.running import tool
from tests.distributed import networks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "distributed.md"
pytestmark = pytest.mark.xdist_group("dask")


def commands(heading: str) -> list[list[str]]:
    """The arguments of each `ood-toolkit` command below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("ood-toolkit ")]


def test_object_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = pytest.importorskip("fsspec").filesystem("memory")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    for number in range(2):
        np.save(tmp_path / "x.npy", x[10_000 * number : 10_000 * (number + 1)])
        fs.put_file(str(tmp_path / "x.npy"), f"/bucket/logits/{number}.npy")
    found = commands("Object stores")
    assert len(found) == 3
    try:
        for arguments in found:
            done = tool(*(a.replace("s3://", "memory://") for a in arguments))
            assert done.status == 0, done.err
        names = sorted(path.rpartition("/")[2] for path in fs.ls("/bucket/scores", detail=False))
        assert names == ["00000000.parquet", "00000001.parquet", "manifest.json"]
        assert fs.exists("/bucket/energy.csv")
        assert not fs.exists("/bucket/.energy.csv.parts")
        np.save(tmp_path / "x.npy", x)
        assert tool("score", "x.npy", "-m", "energy", "-o", "alone.npz").status == 0
        alone, parts = load_scores("alone.npz"), load_scores("scores/*.zarr")
        assert list(alone) == list(parts)
        for key, column in alone.items():
            np.testing.assert_array_equal(parts[key], column)
    finally:
        fs.store.clear()


def test_a_model_on_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from tests.distributed.networks import by_chance as network\n"
    (tmp_path / "my_models.py").write_text(text)
    save_file(networks.network().state_dict(), tmp_path / "weights.safetensors")
    images = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    (arguments,) = commands("A model on each worker")
    done = tool(*arguments)
    assert done.status == 0, done.err
    assert len(load("outputs")) == 60
    assert (tmp_path / "outputs" / "00000000.safetensors").exists()
