"""The package loads without torch, and says what is missing when a model comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BLOCKED = "import sys; sys.modules['torch'] = None\n"


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, cwd=folder
    )


def test_the_package_loads_and_wrap_says_what_to_install(tmp_path: Path) -> None:
    done = run(
        "from ood_toolkit.errors import MissingDependency\n"
        "from ood_toolkit.models import wrap\n"
        "try:\n    wrap(object())\nexcept MissingDependency as e:\n    print(e)\n",
        tmp_path,
    )
    assert done.stdout.strip() == (
        "wrapping a model needs torch: pip install 'ood_toolkit[torch]'"
    ), done.stderr


def test_importing_the_package_does_not_load_torch(tmp_path: Path) -> None:
    code = "import sys, ood_toolkit.models; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


EXTRACT = """
from unittest import mock
from ood_toolkit_cli.main import main
with mock.patch.object(sys, "argv", ["ood-toolkit", "extract", *{words!r}]):
    main()
"""


def test_extract_leaves_with_5(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8))
    words = ["--model", "a:b", "--data", "npz:x.npz", "-o", "o.npz"]
    done = run(EXTRACT.format(words=words), tmp_path)
    assert done.returncode == 5, done.stderr
    assert done.stderr.strip().endswith("pip install 'ood_toolkit[torch]'")


def test_extract_runs_onnx_files_without_torch(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    x = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    words = ["--model", "onnx:m.onnx", "--data", "npz:x.npz", "-o", "o.npz", "-q"]
    done = run(EXTRACT.format(words=words), tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "o.npz") as out:
        np.testing.assert_allclose(out["logits"], x @ weight)
        np.testing.assert_allclose(out["features"], x)
        np.testing.assert_allclose(out["head_weight"], weight.T)
