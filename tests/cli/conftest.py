"""Small files that commands are run on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.io import save_outputs
from tests.cases import mostly_right


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs files; commands are not to write into it."""
    folder = tmp_path_factory.mktemp("files")
    train = mostly_right(300, seed=1)
    save_outputs(train, folder / "train.npz")
    save_outputs(mostly_right(100, seed=2), folder / "val.npz")
    test = mostly_right(120, seed=3)
    save_outputs(test, folder / "test.npz")
    save_outputs(replace(test, labels=None), folder / "unlabelled.npz")
    np.savez(folder / "logits.npz", logits=test.logits)
    for name, seed, spread in (("near", 4, 0.6), ("far", 5, 0.2)):
        x = mostly_right(80, seed=seed, spread=spread)
        # labels of another data set, which are no classes of this one
        np.savez(folder / f"{name}.npz", logits=x.logits, features=x.features, labels=x.labels + 40)
    return folder
