"""A row that a shaping cannot bear is named as the row of the file that it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ood_toolkit.api import score
from ood_toolkit.errors import InputError
from ood_toolkit.io import load, save_outputs
from ood_toolkit.outputs import Head, Outputs

HEAD = Head(np.random.default_rng(0).normal(size=(4, 64)).astype("f4"))
STEPS = importlib.import_module("ood_toolkit.io.load")

# numpy says so where a number overflows on its way to a refusal
pytestmark = pytest.mark.filterwarnings(
    "ignore:(overflow|invalid value) encountered:RuntimeWarning"
)


def rectified(rows: int, dtype: str = "f4") -> Any:
    return np.abs(np.random.default_rng(1).normal(size=(rows, 64))).astype(dtype)


def spoil(row: Any) -> None:
    """All activations over the largest: a ratio whose exponential is no number."""
    row[:] = -1.0
    row[:10] = -1e-3


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(STEPS, "streamed_from", lambda memory: 0)

    def file(features: Any) -> Outputs:
        save_outputs(Outputs(features=features, head=HEAD), tmp_path / "x.npz")
        return load(tmp_path / "x.npz", memory=4 << 30)

    return file


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", ["ash_s", "scale", "scale+msp", "ash_s+openmax"])
def test_activations_that_cancel_are_not_taken_for_bad_logits(name: str, dtype: str) -> None:
    features = rectified(5, dtype)
    spoil(features[3])
    x = Outputs(features=features, head=HEAD, labels=[0, 1, 2, 3, 0])
    message = f"features: row 3: {name} gives it infinite or NaN logits".replace("+", r"\+")
    with pytest.raises(InputError, match=message):
        score(x, [name], train=x)


@pytest.mark.parametrize("name", ["ash_s", "scale+msp"])
def test_such_a_row_has_its_number_in_the_file(name: str, streamed: Any) -> None:
    features = rectified(2100)
    spoil(features[1777])
    x = streamed(features)
    for part in (x, x.rows(slice(1024, 2100))):
        with pytest.raises(InputError, match=r"features: row 1777: .*infinite or NaN logits"):
            score(part, [name])


@pytest.mark.parametrize("name", ["ash_s", "react", "vra", "dice"])
def test_a_row_without_numbers_has_its_number_in_the_file(name: str, streamed: Any) -> None:
    features = rectified(2100)
    train = Outputs(features=features[:50].copy(), head=HEAD)
    x = streamed(np.where(np.arange(2100)[:, None] == 1777, np.nan, features).astype("f4"))
    for part in (x, x.rows(slice(1024, 2100))):
        with pytest.raises(InputError, match="features: row 1777 holds NaN"):
            score(part, [name], train=train)
