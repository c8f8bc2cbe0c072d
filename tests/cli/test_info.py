"""`info` and `methods`."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from ood_toolkit_cli.names import METHOD_NAMES

import ood_toolkit as ood
from ood_toolkit import Outputs
from ood_toolkit.evaluation.inspection import inspect_outputs
from tests.cli.running import TOOL, save, tool
from tests.reference.known import fixture


def test_what_an_outputs_file_holds(files: Path) -> None:
    test = ood.load(files / "test.npz")
    facts = tool("info", files / "test.npz", "--json").document
    assert (facts["kind"], facts["format"], facts["rows"], facts["classes"]) == (
        "outputs", "npz", 120, 5,
    )  # fmt: skip
    assert facts["accuracy"] == (test.logits.argmax(axis=1) == test.labels).mean()
    assert facts["range_features"] == [test.features.min(), test.features.max()]
    assert facts["range_logits"] == [test.logits.min(), test.logits.max()]
    arrays = {a["key"]: a for a in facts["arrays"]}
    assert arrays["features"] == {
        "key": "features", "read_as": "features", "shape": [120, 10], "dtype": "float64",
    }  # fmt: skip
    assert {"logits", "labels", "head_weight", "head_bias"} <= set(arrays)
    assert facts["warnings"] == []


def test_the_table_says_the_same(files: Path) -> None:
    run = tool("info", files / "test.npz")
    assert (run.status, run.err) == (0, "")
    for words in ("120", "features", "120 x 10", "float64", "accuracy"):
        assert words in run.out


def test_keys_that_are_not_read_are_listed(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=np.eye(3), epoch=np.array([7]))
    arrays = {a["key"]: a["read_as"] for a in tool("info", path, "--json").document["arrays"]}
    assert arrays == {"logits": "logits", "epoch": "(ignored)"}


def test_other_keys_are_taken_where_the_user_says(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", z=np.eye(3), w=np.ones((3, 4)))
    facts = tool("info", path, "--logits-key", "z", "--features-key", "w", "--json").document
    assert {a["key"]: a["read_as"] for a in facts["arrays"]} == {"z": "logits", "w": "features"}


def test_what_looks_wrong_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 4)).astype(np.float32)
    features = rng.normal(size=(50, 6))
    logits[7] = logits[3]
    logits[9] = logits[3]
    features[:, 2] = 1.5
    path = save(tmp_path / "x.npz", logits=logits, features=features, labels=np.full(50, -1))
    run = tool("info", path, "--json")
    facts = run.document
    assert facts["duplicate_rows"] == 2
    assert facts["constant_features"] == 1
    assert facts["unknown_labels"] == 50
    assert "accuracy" not in facts
    assert any("1 of 6 columns are constant" in w for w in facts["warnings"])
    assert any("2 rows repeat an earlier row" in w for w in facts["warnings"])
    assert "Warning: features: 1 of 6 columns are constant" in tool("info", path).err


def test_saturation_is_measured_in_the_file_s_own_type(tmp_path: Path) -> None:
    # 20 nats apart: one-hot in float32, not in float64
    logits = np.array([[20.0, 0.0], [1.0, 0.0]])
    for dtype, share in ((np.float32, 0.5), (np.float64, 0.0)):
        path = save(tmp_path / "x.npz", logits=logits.astype(dtype))
        assert tool("info", path, "--json").document["saturated_softmax"] == share


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [(np.float16, 11), (ml_dtypes.bfloat16, 8), (np.float32, 24), (np.float64, 53)],
)
def test_a_softmax_collapses_at_the_gap_of_its_type(dtype: type, bits: int) -> None:
    """One competitor: exp(-gap) + 1 rounds to 1 from a gap of bits ln 2 on."""
    for gap in np.arange(0.25, 40, 0.25):
        logits = np.array([[gap, 0.0], [0.1, 0.0], [gap, 0.0]]).astype(dtype)
        rounded = float(logits[0, 0])
        found = inspect_outputs(Outputs(logits=logits)).facts
        collapsed = rounded >= bits * np.log(2)
        assert found["saturated_softmax"] == (2 / 3 if collapsed else 0.0)
        assert found["tied_confidence"] == 2 / 3
        if dtype is np.float32:
            assert (np.float32(1) + np.exp(np.float32(-rounded)) == 1) == collapsed


def test_collapse_of_the_known_gaps() -> None:
    for key, collapsed in fixture("known_answers")["softmax_collapse_f32"].items():
        z = np.array([[float(key.removeprefix("gap_")), 0.0]], dtype=np.float32)
        assert inspect_outputs(Outputs(logits=z)).facts["saturated_softmax"] == collapsed


def test_a_row_that_cannot_be_scored_is_named_not_refused(tmp_path: Path) -> None:
    logits = np.zeros((6, 3))
    logits[4, 1] = np.nan
    features = np.zeros((6, 2))
    features[5, 0] = np.inf
    run = tool("info", save(tmp_path / "x.npz", logits=logits, features=features), "--json")
    assert run.status == 0
    warnings = " ".join(run.document["warnings"])
    assert "logits: row 4" in warnings
    assert "features: row 5 holds NaN or infinity; methods that read features refuse it" in warnings


def test_members_have_a_range_and_their_bad_row_is_named(tmp_path: Path) -> None:
    members = np.zeros((3, 4, 2))
    members[1, 2] = -3, np.inf
    tokens = np.zeros((2, 3, 4))
    tokens[1, 2, 3], tokens[1, 1, 1] = 7, np.nan  # the NaN may be padding
    path = save(tmp_path / "x.npz", members=members)
    found = tool("info", path, "--json").document
    assert found["range_members"] == [-3, 0]
    what = "member 1: logits: row 2 holds NaN or +inf, or only -inf; methods that read members"
    assert any(warning.startswith(what) for warning in found["warnings"])
    found = tool("info", save(tmp_path / "t.npz", token_logits=tokens), "--json").document
    assert (found["range_token_logits"], found["warnings"]) == ([0, 7], [])


@pytest.mark.parametrize("rows", [0, 2])
def test_an_array_without_a_finite_value_has_no_range(rows: int, tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", logits=np.full((rows, 2), np.nan), features=np.ones((rows, 1)))
    found = tool("info", path, "--json").document
    assert "range_logits" not in found
    assert found.get("range_features") == ([1, 1] if rows else None)


def test_shards_are_described_as_one(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for i in range(3):
        save(tmp_path / "parts" / f"{i}.npz", logits=np.eye(4) + i)
    for path in (tmp_path / "parts", tmp_path / "parts" / "*.npz"):
        facts = tool("info", path, "--json").document
        assert (facts["rows"], facts["classes"]) == (12, 4)
        assert facts["arrays"][0]["shape"] == [12, 4]


def test_a_folder_without_shards_and_a_missing_file(tmp_path: Path) -> None:
    run = tool("info", tmp_path)
    assert run.status == 3
    assert "holds no file of a known format" in run.error
    run = tool("info", tmp_path / "nowhere.npz")
    assert run.error == f"{tmp_path / 'nowhere.npz'}: no such file"


def test_a_head_alone_is_no_outputs_file(tmp_path: Path) -> None:
    run = tool("info", save(tmp_path / "head.npz", W=np.eye(3), b=np.zeros(3)))
    assert run.status == 3
    assert "head.npz" in run.error


def test_what_a_detector_file_holds(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    tool("fit", files / "train.npz", "-m", "knn", "--set", "k=7", "--tpr", "0.9",
         "--id-val", files / "val.npz", "-o", out)  # fmt: skip
    facts = tool("info", out, "--json").document
    assert (facts["kind"], facts["method"], facts["toolkit"]) == (
        "detector",
        "knn",
        ood.__version__,
    )
    assert facts["parameters"] == {"k": 7, "normalize": True}
    assert facts["dims"] == 10
    assert facts["fitted_on"]["rows"] == 300
    assert facts["threshold"]["tpr"] == 0.9
    assert "knn" in tool("info", out).out


def test_a_pipe_is_read_once(files: Path, tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    ood.save_outputs(Outputs(logits=ood.load(files / "logits.npz").logits), table)
    expected = tool("info", table, "--json").document
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name, how in (("-", {"input": table.read_bytes()}), (str(pipe), {})):
        if name != "-":
            threading.Thread(target=lambda: pipe.write_bytes(table.read_bytes())).start()
        run = subprocess.run([TOOL, "info", name, "--json"], **how,  # type: ignore[call-overload]
                             capture_output=True, check=True, timeout=300)  # fmt: skip
        said = json.loads(run.stdout)
        assert said == expected | {"file": name, "format": "text stream"}


def test_help_names_every_kind_of_file() -> None:
    said = " ".join(tool("info", "--help").out.split())
    assert "a detector, calibrator or policy" in said


def test_safetensors_outputs_are_outputs(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    ood.save_outputs(ood.load(files / "test.npz"), path)
    assert tool("info", path, "--json").document["kind"] == "outputs"


def test_methods_lists_the_catalogue() -> None:
    rows = tool("methods", "--json").document
    assert [row["name"] for row in rows] == [method.name for method in ood.methods()]
    assert len(rows) >= 23
    for row, method in zip(rows, ood.methods(), strict=True):
        assert row["needs"] == list(method.needs)
        assert row["fits"] == method.fits
        assert row["reference"] == method.reference
        assert {p["name"]: p["default"] for p in row["parameters"]} == {
            p.name: p.default for p in method.parameters
        }


def test_the_table_of_methods_names_each() -> None:
    run = tool("methods")
    assert (run.status, run.err) == (0, "")
    first_words = {line.split()[0] for line in run.out.splitlines() if line.strip()}
    assert {method.name for method in ood.methods()} <= first_words


def test_shell_completion_knows_every_method() -> None:
    assert tuple(method.name for method in ood.methods()) == METHOD_NAMES


def test_what_is_read_from_a_disk_alone_says_so_of_a_url() -> None:
    run = tool("compare", "https://example.org/results.json")
    assert run.status == 3
    assert run.error.endswith(
        "no such file; of URLs only outputs files are read: copy it to this machine first"
    )
