"""Traps that other readers and writers fall into, each with its own test.

What is not here has its place in the table of bad inputs: bombs (22, 35, 43, 44), headers that
let `tokenize.TokenError` out (14), 8-bit floats (36), names that come twice (23, 35), links and
storage outside the file (42), missing chunks and pickles (44), null rows (37), Arrow streams (41).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from scipy.linalg import cholesky

import ood_toolkit as ood
from ood_toolkit.detectors.persistence import read_scorer
from ood_toolkit.errors import DataError
from ood_toolkit.io import load, open_source, save_outputs
from ood_toolkit.io.fitted import read_fitted
from ood_toolkit.outputs import Outputs
from tests.cases import mostly_right

F_ORDER = [
    np.asfortranarray(np.array([[0.0, 1], [2, 3], [4, 5]])),
    cholesky(np.array([[4.0, 2, 1], [2, 5, 3], [1, 3, 6]]), lower=False),
    np.arange(24.0).reshape(4, 6)[:, ::2],
    np.arange(12.0).reshape(4, 3)[::-1],
]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".npy", ".h5", ".zarr", ".pt",
                                    ".parquet", ".csv"])  # fmt: skip
@pytest.mark.parametrize("number", range(len(F_ORDER)))
def test_arrays_that_are_not_contiguous_are_saved_as_they_read(
    suffix: str, number: int, tmp_path: Path
) -> None:
    """safetensors writes the memory of such an array as if it were contiguous."""
    logits = F_ORDER[number]
    save_outputs(Outputs(logits=logits), tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(load(tmp_path / f"x{suffix}").logits, logits)


def test_fitted_arrays_that_are_not_contiguous_come_back(tmp_path: Path) -> None:
    train = mostly_right(100, seed=1)
    assert train.features is not None
    f_order = Outputs(
        features=np.asfortranarray(train.features), labels=train.labels, head=train.head
    )
    for name in ("mahalanobis", "vim", "knn"):
        scorer = ood.detector(name).fit(f_order, None)
        scorer.save(tmp_path / "d.safetensors")  # type: ignore[attr-defined]
        again = ood.load_scorer(tmp_path / "d.safetensors")
        np.testing.assert_array_equal(again.score(train), scorer.score(train))


SAVE = """
import sys
import numpy as np
import ood_toolkit as ood
x = ood.Outputs(features=np.eye(4), labels=[0, 1, 0, 1])
ood.Mahalanobis().fit(x).save(sys.argv[1])
"""


def test_detector_files_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """The library writes several texts of metadata in an order of chance."""
    found = set()
    for number in range(2):
        path = tmp_path / f"{number}.safetensors"
        subprocess.run([sys.executable, "-c", SAVE, str(path)], check=True)
        found.add(path.read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_bfloat16_keeps_its_bits(suffix: str, tmp_path: Path) -> None:
    """torch has no `.numpy()` for it, and NumPy's own format forgets what it was."""
    logits = np.array([[1.5, -0.1], [3e38, -np.inf]], dtype=ml_dtypes.bfloat16)
    save_outputs(Outputs(logits=logits), tmp_path / f"x{suffix}")
    back = load(tmp_path / f"x{suffix}").logits
    assert back is not None
    assert back.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(back.view(np.uint16), logits.view(np.uint16))


def test_a_slice_of_fixed_lists_is_that_slice(tmp_path: Path) -> None:
    """`FixedSizeListArray.values` forgets the slice."""
    import pyarrow as pa
    from pyarrow import parquet

    flat = pa.array(np.arange(60, dtype=np.float32))
    table = pa.table({"logits": pa.FixedSizeListArray.from_arrays(flat, 3)})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=20)
    stored = open_source(tmp_path / "x.parquet").arrays["logits"]
    np.testing.assert_array_equal(stored.read(7, 9), np.arange(21, 27).reshape(2, 3))


def test_a_slice_beyond_the_end_is_cut(tmp_path: Path) -> None:
    """`safetensors` raises there."""
    save_outputs(Outputs(logits=np.eye(3)), tmp_path / "x.safetensors")
    stored = open_source(tmp_path / "x.safetensors").arrays["logits"]
    assert stored.read(2, 99).shape == (1, 3)


def test_half_precision_is_widened_before_it_is_summed() -> None:
    logits = np.full((3, 2000), 60_000, dtype=np.float16)
    energy = ood.score(logits, "energy")["energy"]
    np.testing.assert_allclose(energy, 60_000 + np.log(2000), rtol=1e-7)


PEAK = """
import sys
from ood_toolkit.io import open_source

def peak():  # that of getrusage begins with the parent's
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

stored = open_source(sys.argv[1]).arrays["logits"]
before = peak()
stored.read(0, 5)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_row_group_of_any_size_is_read_in_part(tmp_path: Path) -> None:
    """pyarrow reads a whole column of a group ahead of time unless it is told not to."""
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "x.parquet"
    values = np.random.default_rng(0).normal(size=(40_000, 1000)).astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 1000)
    parquet.write_table(pa.table({"logits": rows}), path, row_group_size=len(values))
    del rows
    taken = subprocess.run(
        [sys.executable, "-c", PEAK, path], capture_output=True, check=True, text=True
    )
    assert 0 < float(taken.stdout) < values.nbytes  # pyarrow itself and some batches


def test_a_small_table_that_claims_many_rows_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    column = pa.array(np.zeros(20_000_000, np.float32))
    parquet.write_table(pa.table({"logits_0": column, "logits_1": column}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 500_000
    with pytest.raises(DataError, match=r"claim to be 152\.6 MiB"):
        load(tmp_path / "x.parquet")


def test_a_detector_file_passes_the_same_gate(tmp_path: Path) -> None:
    from ood_toolkit.detectors.saving import DETECTOR_FILE

    path = tmp_path / "d.safetensors"
    ood.Mahalanobis().fit(mostly_right(60, seed=1)).save(path)
    read_fitted(path, DETECTOR_FILE)
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + size]
    twice = header.rstrip()[:-1] + b',"scorer.centres":' + b'{"dtype":"F64"}}'
    for changed, words in (
        ((1 << 40).to_bytes(8, "little") + raw[8:], "the header claims"),
        (len(twice).to_bytes(8, "little") + twice + raw[8 + size :], "not a readable"),
        (raw[:8] + header.replace(b'"F64"', b'"XYZ"') + raw[8 + size :], "not a readable"),
        (raw[: len(raw) // 2], "not a readable"),
        (b"", "not a readable"),
    ):
        path.write_bytes(changed)
        with pytest.raises(DataError, match=words):
            read_scorer(path)
