"""Several threads ask one model: as if they had come one after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ood_toolkit.models import wrap  # noqa: E402
from ood_toolkit.models.state import one_thread_at_a_time  # noqa: E402


class WithMemory(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Linear(8, 256)
        self.norm, self.drop = torch.nn.BatchNorm1d(256), torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(256, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.drop(self.norm(self.body(x).relu())))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", ["energy", "mahalanobis"])
def test_guards_of_one_model_in_many_threads(method: str, training: bool) -> None:
    model = WithMemory().train(training)
    x, labels = torch.randn(200, 8), torch.arange(200) % 4
    said = wrap(model).outputs([(x, labels)])
    guards = [wrap(model).guard(method, train=said, id_val=said, tpr=0.95) for _ in range(2)]
    expected, mean = guards[0](x).score, model.norm.running_mean.clone()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: guards[i % 2](x).score, range(80)))
    assert all(torch.equal(score, expected) for score in found)
    assert torch.equal(model.norm.running_mean, mean)
    assert model.training is training
    assert model.norm.training is training


def test_the_thread_that_holds_a_model_may_ask_again() -> None:
    model = WithMemory()
    with one_thread_at_a_time(model), one_thread_at_a_time(model):
        assert len(wrap(model).outputs(torch.randn(3, 8))) == 3
