"""Every row of the table of bad inputs through the command line, each with its memory rule.

Rows of files are the cases that `tests/io/bad_inputs` builds for the reader.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.io import save_outputs
from tests.bad_inputs import of_files, of_surroundings, of_values  # noqa: F401  # they register
from tests.bad_inputs.table import ROWS, can_watch, peak_since_reset, reset_peak, resident
from tests.cases import mostly_right
from tests.cli.running import tool

MOST = 256 << 20
"""Bytes that a bad input may take beyond a small good one."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small good files; the libraries of all formats are loaded when they are there."""
    import h5py  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch  # noqa: F401
    import zarr  # noqa: F401

    folder = tmp_path_factory.mktemp("good")
    for name, rows, seed in (("train", 300, 1), ("test", 60, 3), ("far", 40, 5)):
        save_outputs(mostly_right(rows, seed=seed), folder / f"{name}.npz")
    np.savez(folder / "three.npz", logits=np.eye(3), labels=np.arange(3))
    run = tool("fit", folder / "train.npz", "-m", "mahalanobis", "-o",
               folder / "mahalanobis.safetensors")  # fmt: skip
    assert run.status == 0, run.err
    return folder


@pytest.mark.parametrize("number", range(1, 81))
def test_row(number: int, good: Path, tmp_path: Path) -> None:
    check = ROWS[number]
    tool("score", good / "test.npz", "-m", "msp")
    before = resident()
    if can_watch():
        reset_peak()
    check(good, tmp_path)
    if can_watch():
        assert peak_since_reset() - before <= MOST


def test_all_eighty_rows_are_there() -> None:
    assert sorted(ROWS) == list(range(1, 81))
