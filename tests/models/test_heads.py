"""Which layer is taken for the head where a class is masked, or a batch has no rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ood_toolkit.errors import InputError  # noqa: E402
from ood_toolkit.models import wrap  # noqa: E402
from ood_toolkit.models.layout import Layout  # noqa: E402
from ood_toolkit.models.network import network_of  # noqa: E402

X = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))


class TwoLayers(torch.nn.Module):  # type: ignore[misc]
    """Its last linear layer makes no logits, but has the shape of the one that does."""

    def __init__(self, *, masked: bool = False, doubled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.other = (torch.nn.Linear(*s) for s in ((8, 6), (6, 4), (6, 4)))
        self.masked, self.doubled = masked, doubled

    def forward(self, x: Any) -> Any:
        features = self.body(x).relu()
        self.other(3 * features)
        logits = self.head(features) * (2 if self.doubled else 1)
        if self.masked:
            logits[:, 3] = -torch.inf
        return logits


@pytest.mark.parametrize("masked", [False, True])
def test_a_masked_class_does_not_make_every_layer_the_head(masked: bool) -> None:
    model = TwoLayers(masked=masked)
    wrapped = wrap(model)
    found = wrapped.outputs(X)
    assert wrapped.head_name == "head"
    assert found.features is not None
    np.testing.assert_array_equal(found.features, model.body(X).relu().detach().numpy())


@pytest.mark.parametrize("masked", [False, True])
def test_logits_that_are_no_head_s_are_refused_with_a_masked_class_too(masked: bool) -> None:
    with pytest.raises(InputError, match=r"features @ W.T \+ b differs from the logits"):
        wrap(TwoLayers(masked=masked, doubled=True)).outputs(X)


def test_a_model_that_masks_every_class_is_refused() -> None:
    class Nothing(TwoLayers):
        def forward(self, x: Any) -> Any:
            return torch.full_like(super().forward(x), -torch.inf)

    with pytest.raises(InputError, match="every logit is -inf"):
        wrap(Nothing()).outputs(X)


def test_a_batch_without_rows_says_nothing_of_the_head() -> None:
    wrapped = wrap(TwoLayers())
    found = wrapped.outputs([X[:0], X[:0], X])
    assert wrapped.head_name == "head"
    np.testing.assert_array_equal(found.logits, wrap(TwoLayers()).outputs(X).logits)
    wrapped = wrap(TwoLayers())
    with wrapped.network.running() as run:
        assert len(run(X[:0]).logits) == 0
        assert wrapped.head_name == "other"  # still the guess
        np.testing.assert_array_equal(run(X).features.numpy(), found.features)


@pytest.mark.parametrize("masked", [False, True])
def test_a_model_that_reads_memory_as_it_lies_is_found_out(masked: bool) -> None:
    class AsItLies(TwoLayers):
        def forward(self, x: Any) -> Any:
            return super().forward(torch.as_strided(x, (len(x), 192), (192, 1))[:, 80:88])

    images = torch.randn(6, 3, 8, 8)
    layout = Layout(network_of(AsItLies(masked=masked), head="head").logits)
    assert layout(images) is images
