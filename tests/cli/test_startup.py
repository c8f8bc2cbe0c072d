"""What a command loads before it works: start-up is most of what a small command takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import TOOL

LOADED = """
import sys
from ood_toolkit_cli.main import main
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print(*sys.modules, file=sys.stderr)
"""
HEAVY = {
    "torch", "sklearn", "pyarrow", "h5py", "zarr", "pandas", "matplotlib", "onnx", "faiss", "dask",
}  # fmt: skip


def loaded(*arguments: str | Path) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"]])
def test_help_loads_no_numerical_library(arguments: list[str]) -> None:
    assert not loaded(*arguments) & (HEAVY | {"numpy", "scipy", "numba", "ood_toolkit"})


def test_scoring_an_npz_file_loads_only_what_it_needs(files: Path) -> None:
    found = loaded("score", files / "logits.npz", "-m", "msp,energy")
    assert {"numpy", "numba"} <= found
    # numba itself loads the empty front of scipy; nothing behind it may come
    own = {"scipy.linalg", "scipy.stats", "scipy.optimize", "scipy.special", "scipy.spatial"}
    assert not found & (HEAVY | own | {"safetensors", "rich"})


def test_listing_and_measuring_load_no_framework(files: Path) -> None:
    found = loaded("evaluate", "--id", files / "test.npz", "--ood", f"a={files / 'far.npz'}",
                   "--train", files / "train.npz", "-m", "energy,mahalanobis,vim",
                   "--bootstrap", "20")  # fmt: skip
    assert not found & HEAVY


def test_shell_completion_suggests_methods() -> None:
    environment = os.environ | {
        "_OOD_TOOLKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": "ood-toolkit score -m energy,ma",
        "COMP_CWORD": "3",
    }
    run = subprocess.run([TOOL], env=environment, capture_output=True, text=True, check=True)
    words = [line.split(",", 1)[1] for line in run.stdout.splitlines()]
    assert "energy,mahalanobis" in words
    assert all(word.startswith("energy,ma") for word in words)
