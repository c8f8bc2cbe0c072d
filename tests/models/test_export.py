"""One module, one ONNX file: logits, probability, score and accept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.models import Guard, wrap
from tests.models.networks import TorchvisionStyle, fashion_cnn, fashion_images, images, made

METHODS = (
    "msp", "energy", "max_logit", "entropy", "gen", "label_non_uniformity", "mahalanobis",
    "relative_mahalanobis", "react", "scale", "vim", "knn",
)  # fmt: skip
X = fashion_images("id_test")[:40]


def guard_of(method: str, calibrator: str | None = None) -> Guard:
    benchmark = ood.load_benchmark("fashion")
    assert benchmark.id_val is not None
    train = benchmark.train.rows(slice(0, 8000, 4))
    return wrap(fashion_cnn()).guard(
        method, train=train, id_val=benchmark.id_val.rows(slice(0, 500)), calibrator=calibrator
    )


def close(said: list[np.ndarray], guard: Guard) -> None:
    verdict = guard(X)
    logits, probability, score, accept = said
    np.testing.assert_allclose(logits, wrap(fashion_cnn()).outputs(X).logits, atol=1e-4)
    np.testing.assert_allclose(probability, verdict.probability, atol=1e-4)
    scale = max(1.0, float(verdict.score.abs().max()))
    np.testing.assert_allclose(score / scale, verdict.score / scale, atol=1e-4)
    clear = (verdict.score - guard.threshold.value).abs() > 1e-4 * scale
    assert clear.double().mean() > 0.9
    np.testing.assert_array_equal(accept[clear], verdict.accept[clear])


@pytest.mark.parametrize("method", METHODS)
def test_exported_programs(method: str) -> None:
    guard = guard_of(method)
    module = guard.module()
    close([t.numpy() for t in module(X)], guard)
    rows = torch.export.Dim("rows")
    program = torch.export.export(module, (X[:3],), dynamic_shapes=({0: rows},))
    close([t.numpy() for t in program.module()(X)], guard)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("method", METHODS)
def test_traces(method: str) -> None:
    guard = guard_of(method)
    traced = torch.jit.trace(guard.module(), X[:3])
    close([t.numpy() for t in traced(X)], guard)


def test_temperature_and_what_else_calibrates() -> None:
    guard = guard_of("energy", "temperature")
    close([t.numpy() for t in guard.module()(X)], guard)
    with pytest.raises(InputError, match="isotonic cannot be exported"):
        guard_of("energy", "isotonic").module()


def test_the_module_is_a_copy() -> None:
    model = made(TorchvisionStyle)
    guard = wrap(model, features="avgpool", head="fc").guard("mahalanobis",
        train=[(images(80), torch.arange(80) % 8)], id_val=images())  # fmt: skip
    module = guard.module()
    said = module(images())[2].clone()
    np.testing.assert_allclose(said, guard(images()).score, rtol=1e-4)
    with torch.no_grad():
        model.fc.weight.zero_()
        model.conv1.weight.zero_()
    assert torch.equal(module(images())[2], said)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("method", METHODS)
def test_onnx_files(method: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the onnx extra")
    runtime = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    guard = guard_of(method, "temperature")
    guard.to_onnx(tmp_path / "guard.onnx", X[:3])
    session = runtime.InferenceSession(tmp_path / "guard.onnx")
    names = [entry.name for entry in session.get_outputs()]
    assert names == ["logits", "probability", "score", "accept"]
    close(session.run(None, {"inputs": X.numpy()}), guard)
    assert len(session.run(None, {"inputs": X[:1].numpy()})[2]) == 1


def test_refusals(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the onnx extra")
    guard = guard_of("energy")
    with pytest.raises(DataError, match=r"must end in .onnx"):
        guard.to_onnx(tmp_path / "guard.bin", X)
    with pytest.raises(InputError, match="two inputs or more"):
        guard.to_onnx(tmp_path / "guard.onnx", X[:1])
    assert list(tmp_path.iterdir()) == []
