"""Images laid out channels last: the same numbers, and only where the model takes them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ood_toolkit as ood
from ood_toolkit.errors import DataError, InputError
from ood_toolkit.models import wrap
from ood_toolkit.models.layout import Layout, channels_last
from tests.models.networks import (
    HuggingFaceStyle,
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
    text_batch,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_numbers_are_the_same(channels: int) -> None:
    x = images(4, channels)
    y = channels_last(x)
    assert torch.equal(x, y)
    conv = nn.Conv2d(channels, 6, 3)
    assert conv(y).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(conv(y), conv(x))
    once = channels_last(y)
    assert once.stride() == y.stride()
    assert once.data_ptr() == y.data_ptr()


class Viewing(nn.Module):
    """Flattens by `view`, which asks for one place after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).view(len(x), -1))


class Misreading(nn.Module):
    """Reads memory as it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.as_strided(x, (len(x), 3 * 16 * 16), (3 * 16 * 16, 1)))


@pytest.mark.parametrize(("model", "taken"), [(TorchvisionStyle, True), (Viewing, False),
                                              (Misreading, False)])  # fmt: skip
def test_a_model_is_asked_first(model: type[nn.Module], taken: bool) -> None:
    net = made((lambda: TorchvisionStyle(3)) if model is TorchvisionStyle else model)
    clf = wrap(net)
    calls: list[int] = []

    def logits(x: Tensor) -> Tensor:
        calls.append(len(x))
        return clf.network.logits(x)

    layout = Layout(logits)
    x = images(10, 3)
    laid = layout(x)
    assert torch.equal(laid, x)
    assert laid.is_contiguous(memory_format=torch.channels_last) == taken
    assert layout(x).stride() == laid.stride()
    assert set(calls) == {2}
    assert len(calls) == 2
    if model is not TorchvisionStyle:
        moved = clf.perturbed(x, "odin_temperature", epsilon=0.01)
        assert moved.logits is not None
        assert np.isfinite(moved.logits).all()
        return
    layout(images(4, 3, 20))  # another shape is asked for again
    assert len(calls) == 4


def test_what_is_no_image_stays() -> None:
    layout = Layout(lambda x: pytest.fail("not to be asked"))
    for value in (torch.rand(3, 4), {"x": torch.rand(2, 1, 4, 4)}, torch.ones(2, 1, 4, 4).long()):
        assert layout(value) is value


def test_scores_are_those_of_the_other_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x = wrap(fashion_cnn()), fashion_images("id_test")[:200]
    scorer = ood.ODINTemperature(temperature=10.0).fit()
    quick = scorer.score(clf.perturbed(x, scorer, epsilon=0.004))
    monkeypatch.setattr(Layout, "__call__", lambda self, inputs: inputs)
    plain = scorer.score(clf.perturbed(x, scorer, epsilon=0.004))
    np.testing.assert_allclose(quick, plain, rtol=2e-4)
    # a sign of a gradient that is all but zero may turn, no more
    assert np.median(np.abs(quick - plain)) < 1e-6


def test_a_loader_of_two_sizes() -> None:
    """A size that comes later is asked for while the hooks are there."""
    clf = wrap(made(lambda: TorchvisionStyle(3)))
    parts = [images(4, 3), images(4, 3, 20), images(2, 3)]
    moved = clf.perturbed(parts, "odin_temperature", epsilon=0.01)
    assert len(moved) == 10
    plain, quick = clf.outputs(parts), clf.outputs(parts, channels_last=True)
    np.testing.assert_allclose(quick.logits, plain.logits, rtol=1e-5, atol=1e-6)


class Watching(nn.Module):
    """Notes how its inputs lie."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((len(x), x.is_contiguous(memory_format=torch.channels_last)))
        return self.inner(x)


def places(model: nn.Module) -> list[tuple[int, tuple[int, ...]]]:
    return [(tensor.data_ptr(), tensor.stride()) for tensor in model.state_dict().values()]


def test_outputs_channels_last() -> None:
    """Logits within 1e-5 of the default's, features within rtol 1e-5; the model as it was."""
    model, x = deepcopy(fashion_cnn()).train(), fashion_images("id_test")[:300]
    before, lying, given = state_hash(model), places(model), x.clone()
    clf = wrap(model, layers=["3"])
    plain = clf.outputs(x.split(100))
    quick = clf.outputs(x.split(100), channels_last=True)
    assert quick.logits is not None
    assert quick.features is not None
    assert np.abs(quick.logits).max() > 10
    np.testing.assert_allclose(quick.logits, plain.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(quick.features, plain.features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(quick.layers["3"], plain.layers["3"], rtol=1e-5, atol=1e-5)
    assert state_hash(model) == before
    assert places(model) == lying
    assert torch.equal(x, given)
    assert x.is_contiguous()


def test_every_batch_is_laid_out() -> None:
    model = Watching(made(lambda: TorchvisionStyle(3)))
    clf = wrap(model)
    clf.outputs(images(50, 3).split(10), channels_last=True)
    # the head is checked on the first batch, the layout on two rows of it
    assert model.seen == [(10, False), (2, False), (2, True), *[(10, True)] * 5]
    model.seen.clear()
    clf.outputs(images(50, 3).split(10))
    assert model.seen == [(10, False)] * 5


@pytest.mark.parametrize(
    ("model", "message"),
    [(Viewing, "does not run on channels-last"), (Misreading, "reads memory as it lies")],
)
def test_a_model_that_needs_the_other_layout_is_refused(
    model: type[nn.Module], message: str
) -> None:
    net = made(model).train()
    before, lying = state_hash(net), places(net)
    clf = wrap(net)
    with pytest.raises(InputError, match=message):
        clf.outputs(images(6, 3), channels_last=True)
    assert state_hash(net) == before
    assert places(net) == lying
    assert clf.outputs(images(6, 3)).logits is not None


def test_other_inputs_are_left_alone() -> None:
    clf = wrap(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)))
    flat = torch.rand(7, 5)
    words = wrap(made(HuggingFaceStyle))
    for each, loader in ((clf, [flat, flat[:0]]), (words, [text_batch()])):
        plain, other = each.outputs(loader), each.outputs(loader, channels_last=True)
        np.testing.assert_array_equal(other.logits, plain.logits)


class Named(nn.Module):
    """Images and their weights by name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TorchvisionStyle(3)
        self.lying: list[bool] = []

    def forward(self, pixels: Tensor, scale: Tensor) -> Tensor:
        self.lying.append(pixels.is_contiguous(memory_format=torch.channels_last))
        return self.inner(pixels * scale)


def test_images_among_named_inputs() -> None:
    model = made(Named)
    clf = wrap(model)
    batch = {"pixels": images(6, 3), "scale": torch.tensor(2.0)}
    plain, quick = clf.outputs([batch]), clf.outputs([batch, batch], channels_last=True)
    assert plain.logits is not None
    assert quick.logits is not None
    np.testing.assert_allclose(quick.logits[:6], plain.logits, rtol=1e-5, atol=1e-6)
    assert model.lying[-3:] == [True] * 3
    assert batch["pixels"].is_contiguous()


def test_rounding_of_half_precision_is_no_reason_to_refuse() -> None:
    clf = wrap(fashion_cnn())
    x = fashion_images("id_test")[:20]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, quick = clf.outputs(x), clf.outputs(x, channels_last=True)
    assert plain.logits is not None
    np.testing.assert_allclose(quick.logits, plain.logits, atol=0.05 * np.abs(plain.logits).max())


def test_shards_of_both_layouts_are_not_mixed(tmp_path: Path) -> None:
    clf, x = wrap(made(lambda: TorchvisionStyle(3))), images(20, 3)
    clf.outputs(x, to=tmp_path / "s", shard_rows=5)
    with pytest.raises(DataError, match="made with another how"):
        clf.outputs(x, to=tmp_path / "s", shard_rows=5, channels_last=True)
