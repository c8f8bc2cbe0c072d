"""`wrap` finds the head of models in every usual style, and leaves them as they were."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ood_toolkit.errors import InputError, UnknownName
from ood_toolkit.models import wrap
from ood_toolkit.outputs import Head, Outputs
from tests.models.networks import (
    DATA,
    HuggingFaceStyle,
    LightningStyle,
    TextBatch,
    TimmStyle,
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
    text_batch,
)

STYLES: dict[str, tuple[Callable[[], nn.Module], str, Callable[[], Any]]] = {
    "torchvision": (TorchvisionStyle, "fc", images),
    "timm": (TimmStyle, "head", images),
    "huggingface": (HuggingFaceStyle, "classifier", text_batch),
    "lightning": (lambda: LightningStyle(TorchvisionStyle()), "network.fc", images),
    "sequential": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 9), nn.ReLU(),
                                         nn.Linear(9, 4)), "3", images),
}  # fmt: skip


def logits_agree(x: Outputs) -> None:
    assert x.features is not None
    assert x.head is not None
    assert x.logits is not None
    product = x.features.astype(float) @ x.head.weight.astype(float).T + x.head.bias
    np.testing.assert_allclose(product, x.logits, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_the_head_is_found_and_nothing_is_changed(style: str) -> None:
    build, name, batch = STYLES[style]
    model = made(build)
    before, inputs = state_hash(model), batch()
    clf = wrap(model)
    x = clf.outputs([inputs])
    assert clf.head_name == name
    logits_agree(x)
    assert state_hash(model) == before
    model.eval()
    with torch.no_grad():
        named = {k: v for k, v in inputs.items() if k != "labels"} if style[0] == "h" else None
        said = model(**named).logits if named else model(inputs)
    np.testing.assert_array_equal(x.logits, said.numpy())


def test_the_shipped_network_says_what_is_stored() -> None:
    """Real images: a loader over them gives the logits and features of the shipped file."""
    inputs = fashion_images("id_test")[:2000]
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        logits, features, labels = (file[k][:2000] for k in ("logits", "features", "labels"))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, torch.from_numpy(labels).long()), batch_size=500
    )
    x = wrap(fashion_cnn()).outputs(loader)
    logits_agree(x)
    np.testing.assert_allclose(x.logits, logits, atol=2e-4)
    np.testing.assert_allclose(x.features, features, atol=1e-2)
    assert x.labels is not None
    assert x.logits is not None
    assert (x.labels == labels).all()
    assert (x.logits.argmax(1) == labels).mean() > 0.9


def test_a_residual_network_trained_here() -> None:
    """Real images; the features of a network that has learned something are its head's."""
    x = F.avg_pool2d(fashion_images("id_test")[:1200], 2)
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        y = torch.from_numpy(file["labels"][:1200].astype(np.int64))
    with torch.random.fork_rng():
        model = made(TorchvisionStyle).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        for rows in torch.arange(1000).split(25) * 3:
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    before = state_hash(model)
    clf = wrap(model, layers=["layer1", "layer2"])
    said = clf.outputs([(x[1000:], y[1000:])])
    assert said.logits is not None
    assert said.labels is not None
    assert (said.logits.argmax(1) == said.labels).mean() > 0.5
    logits_agree(said)
    assert state_hash(model) == before


def test_layers_are_pooled_before_they_change_in_place() -> None:
    model = made(TorchvisionStyle)
    x = wrap(model, layers=["layer1", "layer1.0.bn2", "fc"]).outputs(images())
    model.eval()
    with torch.no_grad():
        stem = model.relu(model.bn1(model.conv1(images())))
        kept = stem.clone()
        block = model.layer1[0]
        branch = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(stem)))))
        whole = torch.relu(branch + kept)
    np.testing.assert_allclose(x.layers["layer1.0.bn2"], branch.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(x.layers["layer1"], whole.mean((2, 3)), atol=1e-6)
    np.testing.assert_array_equal(x.layers["fc"], x.logits)


def test_features_by_name() -> None:
    model = made(TorchvisionStyle)
    automatic = wrap(model).outputs(images())
    named = wrap(model, head="fc", features="avgpool").outputs(images())
    np.testing.assert_array_equal(automatic.features, named.features)
    maps = wrap(model, head="fc", features="layer3").outputs(images())
    np.testing.assert_allclose(maps.features, automatic.features, atol=1e-6)
    with pytest.raises(InputError, match="head 'fc': it takes 32 columns, the features have 16"):
        wrap(model, features="layer2").outputs(images())


# What stands around a model


def test_data_parallel_is_looked_through() -> None:
    model = made(TorchvisionStyle)
    plain = wrap(model).outputs(images())
    x = wrap(nn.DataParallel(model)).outputs(images())
    np.testing.assert_array_equal(x.logits, plain.logits)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("way", ["function", "in place", "part", "after wrapping"])
def test_compiled_models_still_give_features(way: str) -> None:
    """Hooks that are added after the first compiled call do not fire by themselves."""
    model = made(TorchvisionStyle).eval()
    plain = wrap(model).outputs(images())
    given: nn.Module = model
    if way == "function":
        given = torch.compile(model, backend="eager")
        given(images())
    elif way == "in place":
        model.compile(backend="eager")
        model(images())
    elif way == "part":
        model.layer3 = torch.compile(model.layer3, backend="eager")
        model(images())
    clf = wrap(given)
    if way == "after wrapping":
        torch.compile(model, backend="eager")(images())
    for _ in range(2):
        x = clf.outputs(images())
        np.testing.assert_array_equal(x.logits, plain.logits)
        np.testing.assert_array_equal(x.features, plain.features)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["script", "trace"])
def test_scripted_models_need_a_function(kind: str) -> None:
    model = made(TorchvisionStyle).eval()
    make = torch.jit.script if kind == "script" else torch.jit.trace
    scripted = make(model) if kind == "script" else make(model, images(2))
    with pytest.raises(InputError, match=r"hooks do not see into scripted or traced.*features_fn"):
        wrap(scripted)

    def both(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        features = m.avgpool(m.layer3(m.layer2(m.layer1(m.relu(m.bn1(m.conv1(x))))))).flatten(1)
        return m.fc(features), features

    if kind == "script":
        x = wrap(scripted, features_fn=both, head="fc").outputs(images())
        np.testing.assert_allclose(x.features, wrap(model).outputs(images()).features, atol=1e-6)
        logits_agree(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_part_is_noticed() -> None:
    model = made(TorchvisionStyle).eval()
    inside = nn.Sequential(
        model.conv1, torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(2048, 3)))
    )
    with pytest.raises(InputError, match=r"no linear layer|never called"):
        wrap(inside).outputs(images())


# Heads that are no head


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.fc(x)))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.weight = nn.Parameter(torch.randn(3, 6))

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.features(x), self.weight)


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Linear(4, 6), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return 10 * F.normalize(self.fc(F.normalize(self.body(x))))


class PooledAfter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x[:, None].expand(-1, 5, -1)).mean(1)


class Probabilities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).softmax(1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Shared, "module 'head' was called 2 times"),
        (Functional, "6 outputs, the logits are"),
        (Cosine, "differs from the logits by up to"),
        (PooledAfter, r"sees \(7, 5, 4\), not one row an input: something pools"),
        (Probabilities, "returns probabilities: wrap the part before its softmax"),
        (nn.Flatten, "no linear layer"),
    ],
)
def test_what_is_no_linear_head_is_refused(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrap(made(build)).outputs(torch.randn(7, 4))


def test_a_functional_head_is_given_as_arrays() -> None:
    model = made(Functional)
    head = Head(model.weight.detach().numpy())
    x = wrap(model, head=head, features_fn=lambda m, x: (m(x), m.features(x))).outputs(
        torch.randn(7, 4)
    )
    logits_agree(x)


def test_a_head_of_arrays_is_checked_too() -> None:
    model = made(Functional)
    x, right = torch.randn(7, 4), Head(model.weight.detach().numpy())
    wrong = Head(right.weight * 1.01)

    def both(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return m(x), m.features(x)

    with pytest.raises(InputError, match=r"head 'given': features @ W\.T .* differs"):
        wrap(model, head=wrong, features_fn=both).outputs(x)
    style = made(TorchvisionStyle)
    arrays = Head(style.fc.weight.detach().numpy(), style.fc.bias.detach().numpy())
    said = wrap(style, head=arrays, features="avgpool").outputs(images())
    logits_agree(said)
    with pytest.raises(InputError, match=r"head=Head\(\.\.\.\) needs features="):
        wrap(style, head=arrays)
    with pytest.raises(InputError, match="differs from the logits"):
        wrap(style, head=Head(arrays.weight), features="avgpool").outputs(images())


def test_wrong_names_list_the_candidates() -> None:
    model = made(TorchvisionStyle)
    with pytest.raises(UnknownName, match=r"head='fcc'.*linear layers are fc"):
        wrap(model, head="fcc")
    with pytest.raises(UnknownName, match=r"layers='layer9'.*layer1"):
        wrap(model, layers=["layer9"])
    with pytest.raises(InputError, match=r"head='avgpool' is a AdaptiveAvgPool2d.*are fc"):
        wrap(model, head="avgpool")
    with pytest.raises(InputError, match=r"takes a torch\.nn\.Module"):
        wrap(lambda x: x)  # type: ignore[arg-type]


def test_a_named_head_is_not_replaced_by_another() -> None:
    model = made(lambda: LightningStyle(TorchvisionStyle()))
    with pytest.raises(InputError, match="module 'head' was never called"):
        wrap(model, head="projector").outputs(images())


# State


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc, self.fails = nn.Linear(4, 4), nn.Linear(4, 3), False

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(self.body(x))
        if self.fails:
            raise RuntimeError("out of luck")
        return y


def test_hooks_are_removed_when_the_forward_raises() -> None:
    model = made(Failing).train()
    model.body.eval()  # a frozen part stays frozen
    before = state_hash(model)
    clf = wrap(model, layers=["body"])
    clf.outputs(torch.randn(5, 4))
    model.fails = True
    with pytest.raises(RuntimeError, match="out of luck"):
        clf.outputs([torch.randn(5, 4), torch.randn(5, 4)])
    assert state_hash(model) == before


def numpy_state() -> list[int]:
    state: dict[str, Any] = np.random.get_state(legacy=False)  # type: ignore[assignment]  # noqa: NPY002
    return [*state["state"]["key"].tolist(), state["state"]["pos"]]


def test_modes_random_states_and_gradients_are_left_as_found() -> None:
    model = made(TimmStyle)
    model.mlp.eval()
    model.stem.weight.requires_grad_(False)
    model(images()).sum().backward()
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    before = state_hash(model)
    loader = torch.utils.data.DataLoader(images(), batch_size=5, shuffle=True)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate(), numpy_state()
    wrap(model).outputs(loader)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert numpy_state() == states[2]
    assert torch.is_grad_enabled()
    assert state_hash(model) == before
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or torch.equal(parameter.grad, grad)
    model(images()).sum().backward()  # still trainable


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(mode: Any) -> None:
    model = made(TorchvisionStyle)
    expected = wrap(model).outputs(images())
    with mode():
        was = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        x = wrap(model).outputs(images())
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == was
    np.testing.assert_array_equal(x.logits, expected.logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(dtype: torch.dtype) -> None:
    model = made(TorchvisionStyle)
    full = wrap(model).outputs(images())
    with torch.autocast("cpu", dtype=dtype):
        x = wrap(model).outputs(images())
    assert x.logits is not None
    assert x.logits.dtype == np.float32
    assert not np.array_equal(x.logits, full.logits)
    np.testing.assert_allclose(x.logits, full.logits, atol=0.05)


def test_double_precision_is_kept_and_types_can_be_chosen() -> None:
    model = made(TorchvisionStyle).double()
    x = wrap(model).outputs(images().double())
    assert x.logits is not None
    assert x.logits.dtype == np.float64
    short = wrap(model).outputs(images().double(), dtype="bfloat16")
    assert short.features is not None
    assert short.features.dtype.name == "bfloat16"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    model = made(TorchvisionStyle)
    expected = wrap(model).outputs(images())
    model.cuda()
    x = wrap(model).outputs(images())
    assert next(model.parameters()).is_cuda
    np.testing.assert_allclose(x.logits, expected.logits, atol=1e-4)


# Batches


def test_batches_as_mappings_and_dataclasses() -> None:
    model = made(HuggingFaceStyle)
    clf = wrap(model)
    expected = clf.outputs([text_batch()])
    assert expected.labels is not None
    assert expected.labels.tolist() == [0, 1, 2, 0, 1, 2]
    for batch in (
        TextBatch(**text_batch()),
        ({k: v for k, v in text_batch().items() if k != "labels"}, text_batch()["labels"]),
    ):
        x = clf.outputs([batch])
        np.testing.assert_array_equal(x.logits, expected.logits)
        np.testing.assert_array_equal(x.labels, expected.labels)


def test_a_batch_of_three_needs_a_word() -> None:
    model = made(TorchvisionStyle)
    batch = (images(), torch.zeros(20).long(), torch.arange(20))
    with pytest.raises(InputError, match=r"a batch is a tuple of 3.*pass unpack="):
        wrap(model).outputs([batch])
    x = wrap(model, unpack=lambda b: (b[0], b[2] % 8)).outputs([batch])
    assert x.labels is not None
    assert x.labels.tolist() == [i % 8 for i in range(20)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(torch.rand(20), "integers"), (torch.zeros(20, 8).long(), r"must be \(N,\)"),
     (torch.zeros(19).long(), "labels has 19 rows for a batch of 20")],
)  # fmt: skip
def test_labels_that_are_no_classes(labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrap(made(TorchvisionStyle)).outputs([(images(), labels)])


def test_no_memory_grows_over_a_thousand_batches(tmp_path: Path) -> None:
    """Counted in tensors: nothing that a batch made is alive when the next ones are run."""
    model = made(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    counts: list[int] = []

    def batches() -> Any:
        for number in range(1000):
            if number in (100, 999):
                gc.collect()
                counts.append(sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()))
            yield torch.randn(2, 4)

    x = wrap(model, layers=["0"]).outputs(batches(), to=tmp_path / "x.safetensors")
    assert len(x) == 2000
    assert counts[1] <= counts[0] + 2
