"""Images laid out channels last: the same numbers, and only where the model takes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ood_toolkit as ood
from ood_toolkit.models import wrap
from ood_toolkit.models.layout import Layout, channels_last
from tests.models.networks import TorchvisionStyle, fashion_cnn, fashion_images, images, made


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
