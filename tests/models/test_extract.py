"""`ood-toolkit extract`: models by name, data from folders and files."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ood_toolkit.errors import BadParameter, DataError, InputError
from ood_toolkit.io import load
from ood_toolkit.models import wrap
from ood_toolkit.models.blame import blaming_model
from ood_toolkit.models.images import Preparation
from ood_toolkit.models.sources import open_inputs
from ood_toolkit.models.specs import build_model
from tests.cli.running import spawn, tool
from tests.models.networks import DATA

FACTORY = """
import torch
from tests.models.networks import TorchvisionStyle, made
def network():
    return made(lambda: TorchvisionStyle(3))
class Tiny(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(12, 2))
ready = Tiny()
class Viewing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 2, 3), torch.nn.Linear(1800, 4)
    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))
class Asking(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    def forward(self, x):
        raise KeyError("mask")
number = 3
def broken():
    raise ValueError("no such\\ndepth")
def nothing():
    return 3
"""
MODEL = "my_models:network"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module that builds models."""
    (tmp_path / "my_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "my_models", raising=False)
    return tmp_path


def pictures(rows: int = 12, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (rows, side, side, 3), dtype=np.uint8), np.arange(rows) % 3


def expected(images: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    scaled = (images.astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    x = torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())
    build = build_model(MODEL)
    logits = wrap(build).outputs(x).logits
    assert logits is not None
    return logits


MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
NORMALISED = ("--mean", "0.5,0.4,0.3", "--std", "0.2,0.25,0.3")


def test_npz(here: Path) -> None:
    images, labels = pictures()
    np.savez("data.npz", images=images, labels=labels)
    run = tool("extract", "--model", MODEL, "--data", "npz:data.npz", *NORMALISED,
               "--batch-size", "5", "-o", "out.npz", "--json")  # fmt: skip
    assert run.status == 0, run.err
    x = load("out.npz")
    np.testing.assert_allclose(x.logits, expected(images, MEAN, STD), atol=1e-5)
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()
    assert run.document["rows"] == 12
    assert run.document["features"] == 32
    assert 0 <= run.document["accuracy"] <= 1
    scored = tool("score", "out.npz", "-m", "energy,msp", "-o", "-")
    assert scored.status == 0


def test_channels_last(here: Path) -> None:
    """Logits within rtol 1e-5 of the other layout's; what cannot be run so is refused."""
    images, _ = pictures()
    np.savez("data.npz", images=images)
    words = ("extract", "--data", "npz:data.npz", *NORMALISED, "--channels-last", "-o")
    run = tool(*words, "out.npz", "--model", MODEL, "--batch-size", "5")
    assert run.status == 0, run.err
    logits = load("out.npz").logits
    np.testing.assert_allclose(logits, expected(images, MEAN, STD), rtol=1e-5, atol=1e-6)
    run = tool(*words, "never.npz", "--model", "my_models:Viewing")
    assert run.status == 3
    assert "does not run on channels-last inputs" in run.error
    assert "leave channels_last out" in run.error
    run = tool(*words, "never.npz", "--model", "onnx:m.onnx")
    assert run.status == 2
    assert "--channels-last does not go with an ONNX file" in run.err
    assert not Path("never.npz").exists()


def test_cifar10(here: Path) -> None:
    images, labels = pictures()
    records = np.concatenate(
        [labels[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(12, -1)], axis=1
    )
    (here / "c").mkdir()
    records.tofile("c/test_batch.bin")
    run = tool("extract", "--model", MODEL, "--data", "cifar10:c", *NORMALISED, "-q",
               "-o", "shards", "--shard-rows", "5")  # fmt: skip
    assert run.status == 0, run.err
    x = load("shards")
    np.testing.assert_allclose(x.logits, expected(images, MEAN, STD), atol=1e-5)
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()
    assert len(list((here / "shards").glob("*.safetensors"))) == 3
    (here / "c" / "data_batch_1").write_bytes(b"")
    run = tool(
        "extract", "--model", MODEL, "--data", "cifar10:c", "--split", "train", "-o", "y.npz"
    )
    assert run.status == 3
    assert "data_batch_2: there is no such file" in run.error
    (here / "c" / "test_batch.bin").write_bytes(b"abc")
    run = tool("extract", "--model", MODEL, "--data", "cifar10:c", "-o", "y.npz")
    assert "3 bytes are no whole number of images" in run.error


def test_imagefolder(here: Path) -> None:
    image_library = pytest.importorskip("PIL.Image", reason="needs Pillow")
    images, labels = pictures()
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = here / "photos" / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        image_library.fromarray(image).save(folder / f"{row:03}.png")
    run = tool("extract", "--model", MODEL, "--data", "imagefolder:photos", *NORMALISED,
               "-o", "out.safetensors", "--json")  # fmt: skip
    assert run.status == 0, run.err
    order = np.argsort(labels, kind="stable")
    x = load("out.safetensors")
    np.testing.assert_allclose(x.logits, expected(images[order], MEAN, STD), atol=1e-5)
    assert run.document["class_names"] == ["class 0", "class 1", "class 2"]
    (here / "photos" / "class 1" / "x.png").write_bytes(b"no image")
    run = tool("extract", "--model", MODEL, "--data", "imagefolder:photos", "-o", "y.npz")
    assert run.status == 3
    assert "x.png: is not a readable image" in run.error
    image_library.fromarray(images[0][:20]).save(here / "photos" / "class 1" / "x.png")
    run = tool("extract", "--model", MODEL, "--data", "imagefolder:photos", "-o", "y.npz")
    assert "is 20 x 32 with 3 channels, but" in run.error
    run = tool("extract", "--model", MODEL, "--data", "imagefolder:photos", "--size", "16",
               "-q", "-o", "y.npz")  # fmt: skip
    assert run.status == 0, run.err


def test_hugging_face(here: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    image_library = pytest.importorskip("PIL.Image", reason="needs Pillow")
    import io

    images, labels = pictures()
    contents = []
    for image in images:
        stream = io.BytesIO()
        image_library.fromarray(image).save(stream, format="PNG")
        contents.append({"bytes": stream.getvalue(), "path": None})
    (here / "d").mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, (slice(0, 7), slice(7, 12)), strict=True):
        table = pa.table({"image": contents[part], "label": labels[part]})
        with pa.ipc.new_stream(here / "d" / name, table.schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names]}
    (here / "d" / "state.json").write_text(json.dumps(state))
    run = tool("extract", "--model", MODEL, "--data", "hf:d", *NORMALISED, "-q", "-o", "o.npz",
               "--batch-size", "5")  # fmt: skip
    assert run.status == 0, run.err
    x = load("o.npz")
    np.testing.assert_allclose(x.logits, expected(images, MEAN, STD), atol=1e-5)
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()


def test_weights_of_the_shipped_network(here: Path) -> None:
    """A model from a function, its weights from a file: what ships comes out."""
    (here / "shipped.py").write_text(
        "from tests.models.networks import fashion_cnn\n"
        "import copy\n"
        "def empty():\n"
        "    net = copy.deepcopy(fashion_cnn())\n"
        "    for p in net.parameters():\n"
        "        p.data.zero_()\n"
        "    return net\n"
    )
    images = DATA / "fashion" / "photographs.npz"
    run = tool("extract", "--model", "shipped:empty", "--weights",
               DATA / "fashion" / "model.safetensors", "--data", f"npz:{images}",
               "-q", "-o", "o.npz")  # fmt: skip
    assert run.status == 0, run.err
    np.testing.assert_allclose(load("o.npz").logits, load(images).logits, atol=2e-4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_models", "expected package.module:name"),
        ("my_modelz:x", "there is no module my_modelz"),
        ("my_models:x", "my_models has no x"),
    ],
)
def test_model_specs(spec: str, message: str, here: Path) -> None:
    with pytest.raises(BadParameter, match=message):
        build_model(spec)
    np.savez("data.npz", images=pictures()[0])
    run = tool("extract", "--model", spec, "--data", "npz:data.npz", "-o", "o.npz")
    assert run.status == 2


def test_a_model_that_raises_is_blamed_for_it(here: Path) -> None:
    np.savez("data.npz", images=pictures(6, side=2)[0])
    for arguments, said in (
        (["my_models:broken"], "--model my_models:broken: broken raised ValueError: no such depth"),
        (
            ["my_models:Asking"],
            "--model my_models:Asking: the model raised KeyError: 'mask' on a batch of shape "
            "(6, 3, 2, 2); check --channels and --size",
        ),
        (["my_models:Tiny", "--channels", "1"], "on a batch of shape (6, 1, 2, 2); check --chan"),
    ):
        run = tool("extract", "--data", "npz:data.npz", "-o", "o.npz", "--model", *arguments)
        assert run.status == 3
        assert said in run.error
        assert "report it" not in run.error
    assert not os.path.exists("o.npz")


def test_a_module_that_cannot_be_imported_is_blamed_for_it(here: Path) -> None:
    for text, said in (
        ("import not_installed", "raised ModuleNotFoundError: No module named 'not_installed'"),
        ("import torch if", "raised SyntaxError: invalid syntax"),
    ):
        (here / "failing_models.py").write_text(text)
        with pytest.raises(InputError, match=f"importing failing_models {said}"):
            build_model("failing_models:network")


def test_blame_leaves_no_hook_and_passes_on_what_is_not_the_model_s() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))

    def run(broken: bool) -> None:
        model(torch.zeros(1, 2))
        if broken:
            raise OSError("the disk")

    blamed = blaming_model(run, "mine:model", model)
    blamed(False)
    with pytest.raises(OSError, match="the disk"):
        blamed(True)
    assert not model._forward_pre_hooks
    assert not model._forward_hooks


def test_what_a_spec_may_name(here: Path) -> None:
    assert len(build_model("my_models:Tiny")) == 2
    assert len(build_model("my_models:ready")) == 2
    assert not build_model(MODEL).training
    with pytest.raises(InputError, match="gave a int, not"):
        build_model("my_models:nothing")
    with pytest.raises(BadParameter, match="--device no"):
        build_model(MODEL, device="no")


def test_weights_that_do_not_fit(here: Path) -> None:
    state = {"0.weight": torch.zeros(2)}
    save_file(state, here / "w.safetensors")
    with pytest.raises(DataError, match=r"1\.weight: is missing"):
        build_model("my_models:Tiny", "w.safetensors")
    good = {"1.weight": torch.ones(2, 12), "1.bias": torch.ones(2)}
    save_file({**good, "2.bias": torch.ones(1)}, here / "w.safetensors")
    with pytest.raises(DataError, match=r"2\.bias: is no part of the model"):
        build_model("my_models:Tiny", "w.safetensors")
    save_file({**good, "1.bias": torch.ones(3)}, here / "w.safetensors")
    with pytest.raises(DataError, match=r"1\.bias: has shape \(3,\), the model's is \(2,\)"):
        build_model("my_models:Tiny", "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in good.items()}}, here / "w.pt")
    assert float(build_model("my_models:Tiny", "w.pt")[1].bias.detach().sum()) == 2
    (here / "bad.pt").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable file of tensors"):
        build_model("my_models:Tiny", "bad.pt")
    with pytest.raises(DataError, match="there is no such file"):
        build_model("my_models:Tiny", "none.pt")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            "folder",
            BadParameter,
            "expected imagefolder:PATH, images:PATH, imglist:PATH, cifar10:PATH",
        ),
        ("tar:x", BadParameter, "expected imagefolder"),
        ("npz:none.npz", DataError, "there is no such file"),
        ("npz:other.npz", DataError, "holds z; expected one of images"),
        ("imagefolder:empty", DataError, "has no folder of a class"),
        ("cifar10:empty", DataError, "expected the contents of cifar-10-batches-bin"),
        ("hf:empty", DataError, "no state.json"),
    ],
)
def test_data_specs(spec: str, error: type[Exception], message: str, here: Path) -> None:
    (here / "empty").mkdir()
    np.savez("other.npz", z=np.zeros(3))
    with pytest.raises(error, match=message):
        open_inputs(spec, Preparation())


def test_preparation() -> None:
    grey = np.full((2, 4, 4), 51, np.uint8)
    np.testing.assert_allclose(Preparation().batch(grey, ["a", "b"]), np.full((2, 1, 4, 4), 0.2))
    colour = Preparation(channels=3, mean=MEAN, std=STD).batch(grey, ["a", "b"])
    want = (0.2 - np.array(MEAN)) / STD
    np.testing.assert_allclose(
        colour, np.broadcast_to(want[:, None, None], (2, 3, 4, 4)), atol=1e-6
    )
    back = Preparation(channels=1).batch(pictures(2, 4)[0], ["a", "b"])
    assert back.shape == (2, 1, 4, 4)
    with pytest.raises(BadParameter, match="mean has 3 values for 1 channels"):
        Preparation(mean=MEAN).batch(grey, ["a", "b"])
    for bad in ({"channels": 2}, {"size": 0}, {"std": [0.0]}):
        with pytest.raises(BadParameter):
            Preparation(**bad)  # type: ignore[arg-type]


SLOW = """
import time
from pathlib import Path
from tests.models.networks import TorchvisionStyle, made
import torch
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = made(lambda: TorchvisionStyle(3))
    def forward(self, x):
        with open("rows.txt", "a") as file:
            file.write(f"{len(x)}\\n")
        time.sleep(float(Path("seconds.txt").read_text()))
        return self.network(x)
"""


def test_an_interrupted_run_goes_on_after_its_last_shard(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a terminal, then the same command again."""
    images, labels = pictures(60, 16)
    np.savez("data.npz", images=images, labels=labels)
    (here / "slow_models.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{DATA.parent}")
    command = ["extract", "--model", "slow_models:Slow", "--data", "npz:data.npz", "-o", "out",
               "--batch-size", "4", "--shard-rows", "10"]  # fmt: skip

    def rows() -> list[int]:
        return [int(line) for line in (here / "rows.txt").read_text().split()]

    (here / "seconds.txt").write_text("0.2")
    with spawn(*command) as process:
        for _ in range(60_000):
            if list((here / "out").glob("*.safetensors")):
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    there = len(list((here / "out").glob("*.safetensors")))
    assert 1 <= there < 6
    (here / "rows.txt").write_text("")
    (here / "seconds.txt").write_text("0")
    with spawn(*command) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    checked = 4  # the batch on which the head is verified
    assert sum(rows()) == checked + 60 - there * 10 // 4 * 4
    x = load("out")
    monkeypatch.delitem(__import__("sys").modules, "slow_models", raising=False)
    scaled = torch.from_numpy(images.astype(np.float32).transpose(0, 3, 1, 2) / 255)
    whole = wrap(build_model("slow_models:Slow")).outputs(scaled)
    np.testing.assert_allclose(x.logits, whole.logits, atol=1e-5)
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()


def test_input_and_output_may_not_be_one_file(here: Path) -> None:
    np.savez("data.npz", images=pictures()[0])
    run = tool("extract", "--model", MODEL, "--data", "npz:data.npz", "-o", "data.npz")
    assert run.status == 3
    run = tool("extract", "--model", MODEL, "--data", "npz:data.npz", "-o", "o.npz", "--mean", "a")
    assert run.status == 2


def test_an_onnx_file_needs_no_torch(here: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    body, weight = rng.normal(size=(12, 5)), rng.normal(size=(4, 5))
    arrays = {"body": body, "weight": weight, "bias": np.arange(4.0)}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "body"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["features"]),
            helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 4])],
        [numpy_helper.from_array(a.astype(np.float32), k) for k, a in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              "m.onnx")  # fmt: skip
    images, labels = pictures(11, 2)
    np.savez("data.npz", images=images, labels=labels)
    run = tool("extract", "--model", "onnx:m.onnx", "--data", "npz:data.npz", "-o", "o.safetensors",
               "--batch-size", "4", "--json")  # fmt: skip
    assert run.status == 0, run.err
    x = load("o.safetensors")
    flat = (images.astype(float) / 255).transpose(0, 3, 1, 2).reshape(11, -1)
    features = np.maximum(flat @ body, 0)
    np.testing.assert_allclose(x.features, features, atol=1e-5)
    np.testing.assert_allclose(x.logits, features @ weight.T + np.arange(4.0), atol=1e-5)
    assert x.head is not None
    np.testing.assert_allclose(x.head.weight, weight, atol=1e-6)
    run = tool("extract", "--model", "onnx:m.onnx", "--data", "npz:data.npz", "-o", "o.npz",
               "--head", "fc")  # fmt: skip
    assert run.status == 2
    (here / "bad.onnx").write_bytes(b"no")
    run = tool("extract", "--model", "onnx:bad.onnx", "--data", "npz:data.npz", "-o", "o.npz")
    assert run.status == 3
    assert "is not an ONNX model" in run.error
