"""Every command that takes --memory says and writes the same whether rows are streamed or not."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ood_toolkit import bounded
from tests.cli.running import tool

LOADING = importlib.import_module("ood_toolkit.io.load")
COMMANDS = {
    "score": "score {f}/test.npz -m msp,energy,knn,vim --train {f}/train.npz -o {o}/out.csv",
    "fit": "fit {f}/train.npz -m mahalanobis --id-val {f}/val.npz --tpr 0.9 -o {o}/out.safetensors",
    "fit a bank": "fit {f}/train.npz -m knn -o {o}/out.safetensors",
    "evaluate": "evaluate --id {f}/test.npz --ood a={f}/far.npz --train {f}/train.npz "
    "-m msp,energy,mahalanobis,knn --bootstrap 20 --csv {o}/out.csv",
    "calibrate": "calibrate {f}/val.npz -m temperature -o {o}/out.safetensors",
    "calibrate by classes": "calibrate {f}/val.npz -m vector -o {o}/out.safetensors",
    "threshold": "threshold --detector {o}/in.safetensors --id-val {f}/val.npz --tpr 0.9 "
    "-o {o}/out.safetensors",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_streamed_rows_change_nothing(
    name: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tool("fit", files / "train.npz", "-m", "vim", "-o", tmp_path / "in.safetensors")
    assert made.status == 0, made.err
    words = COMMANDS[name].format(f=files, o=tmp_path).split()
    expected = tool(*words)
    assert expected.status == 0, expected.err
    (out,) = tmp_path.glob("out.*")
    content = out.read_bytes()
    out.unlink()
    monkeypatch.setattr(LOADING, "streamed_from", lambda memory: 0)
    monkeypatch.setattr(bounded, "BLOCK_BYTES", 1)
    loaded = []
    streamed = LOADING.streamed_floats
    monkeypatch.setattr(
        LOADING, "streamed_floats", lambda *given: loaded.append(1) or streamed(*given)
    )
    run = tool(*words, "--memory", "4GiB")
    assert (run.status, run.out, run.err) == (0, expected.out, expected.err)
    assert loaded
    assert out.read_bytes() == content
