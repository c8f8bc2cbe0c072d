"""The package as a whole: optional libraries, what importing costs, published files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ood_toolkit.errors import DataError, MissingDependency
from ood_toolkit.io import file_digest, load, save_outputs
from ood_toolkit.outputs import Outputs

Z = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
DATA = os.environ.get("OOD_TOOLKIT_DATA", "")


def test_file_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, logits=Z)
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    both = file_digest(tmp_path)
    (tmp_path / "y.npz").write_bytes(path.read_bytes())
    assert file_digest(tmp_path) != both
    assert file_digest("-") == ""
    with pytest.raises(DataError, match="no such file"):
        file_digest(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("suffix", "library", "extra"),
    [
        (".pt", "torch", "torch"),
        (".parquet", "pyarrow", "parquet"),
        (".h5", "h5py", "hdf5"),
        (".zarr", "zarr", "zarr"),
    ],
)
def test_missing_libraries_are_named(
    suffix: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    save_outputs(Outputs(logits=Z), path)
    monkeypatch.setitem(sys.modules, library, None)
    for attempt in (load, lambda p: save_outputs(Outputs(logits=Z), p)):
        with pytest.raises(MissingDependency, match=rf"pip install 'ood_toolkit\[{extra}\]'"):
            attempt(path)


IMPORTS = """
import sys
from ood_toolkit.io import load, load_scores, save_outputs, save_scores

for path in sys.argv[1:]:
    save_outputs(load(path), path)
save_scores({"msp": [0.5]}, sys.argv[1] + ".jsonl")
load_scores(sys.argv[1] + ".jsonl")
heavy = {"torch", "pyarrow", "h5py", "zarr", "numcodecs", "sklearn", "scipy", "pandas"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_light_formats_import_no_heavy_library(tmp_path: Path) -> None:
    paths = [tmp_path / f"x{suffix}" for suffix in (".npy", ".npz", ".safetensors", ".csv")]
    for path in paths:
        save_outputs(Outputs(logits=Z), path)
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


@pytest.mark.skipif(not DATA, reason="OOD_TOOLKIT_DATA is not set")
def test_published_outputs_load() -> None:
    folder = Path(DATA) / "cifar10_resnet20"
    x = load(folder / "id_test.npz", head=folder / "head.npz")
    assert x.logits is not None
    assert x.features is not None
    assert x.labels is not None
    assert x.head is not None
    assert (len(x), x.classes, x.features.dtype) == (10_000, 10, np.float16)
    assert np.mean(x.logits.argmax(axis=1) == x.labels) == pytest.approx(0.9173, abs=5e-5)
    computed = load(folder / "id_test.npz", head=folder / "head.npz", keys={"logits": "logits"})
    np.testing.assert_allclose(x.head.logits(x.features), computed.logits, atol=0.05)
    # this file holds texts and bools beside its outputs, and labels of another data set
    ood = load(folder / "ood_tin.npz", labels=False)
    assert ood.labels is None
    assert sorted(ood.has()) == ["features", "logits"]
