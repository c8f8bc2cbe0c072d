"""Batches of arrays wherever they lie, in either byte order, and inputs with their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ood_toolkit.models import wrap  # noqa: E402

X = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
LABELS = np.arange(10) % 3


class Linear(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x: Any, more: Any = None) -> Any:
        return self.head(x if more is None else x + more["shift"][0])


EXPECTED = wrap(Linear()).outputs(torch.from_numpy(X)).logits


@pytest.mark.parametrize(
    "batch",
    [
        {"x": X, "labels": LABELS},
        {"x": X.astype(">f4"), "labels": LABELS.astype(">i8")},
        {"x": X - 1, "more": {"shift": [np.ones((10, 8), np.float32)]}, "labels": LABELS},
    ],
)
def test_arrays_in_mappings_become_tensors(batch: dict[str, Any]) -> None:
    found = wrap(Linear()).outputs([batch])
    np.testing.assert_allclose(found.logits, EXPECTED, rtol=1e-5, atol=1e-6)
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()


def test_arrays_in_swapped_byte_order() -> None:
    np.testing.assert_array_equal(wrap(Linear()).outputs(X.astype(">f4")).logits, EXPECTED)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_a_pair_of_inputs_and_labels_is_no_loader_of_two_batches(make: Any) -> None:
    found = wrap(Linear()).outputs((make(X), make(LABELS)))
    np.testing.assert_array_equal(found.logits, EXPECTED)
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()


def test_two_batches_in_a_tuple_stay_two() -> None:
    found = wrap(Linear()).outputs((torch.from_numpy(X[:4]), torch.from_numpy(X[4:])))
    np.testing.assert_allclose(found.logits, EXPECTED, rtol=1e-6)
    assert found.labels is None
