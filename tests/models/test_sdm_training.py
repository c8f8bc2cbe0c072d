"""SDM's adaptor: its loss on tensors, its training, and checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import ood_toolkit as ood  # noqa: E402
from ood_toolkit.errors import BadParameter, DataError, InputError  # noqa: E402
from ood_toolkit.models.sdm_activation import (  # noqa: E402
    sdm_log_activation_tensor,
    sdm_loss_tensor,
)
from ood_toolkit.models.sdm_training import AdaptorTraining, train_sdm  # noqa: E402
from ood_toolkit.outputs import Outputs  # noqa: E402
from tests.reference.further_sdm import activation, distance_quantile, run  # noqa: E402

QUICK = AdaptorTraining(width=8, epochs=6, batch=16, learning_rate=1e-2, seed=3)


def blobs(rows: int, seed: int, spread: float = 1.0) -> Outputs:
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    f = 3.0 * np.eye(3, 6)[y] + spread * rng.normal(size=(rows, 6))
    return Outputs(features=f.astype(np.float32), labels=y)


def quantities() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return (
        rng.normal(scale=4, size=(30, 4)),
        rng.integers(0, 100, 30),
        rng.uniform(size=30),
        rng.integers(0, 4, 30),
    )


def test_tensors_and_arrays_agree() -> None:
    z, q, d, y = quantities()
    tensors = [torch.from_numpy(a) for a in (z, q, d, y)]
    logs = sdm_log_activation_tensor(*tensors[:3]).numpy()
    assert np.exp(logs) == pytest.approx(ood.sdm_activation(z, q, d), rel=1e-12)
    loss = sdm_loss_tensor(*tensors)
    assert float(loss) == pytest.approx(ood.sdm_loss(z, q, d, y).mean(), rel=1e-12)


def test_it_is_cross_entropy_at_q_of_e_less_2() -> None:
    z, _, _, y = (torch.from_numpy(a) for a in quantities())
    q, d = torch.full((30,), math.e - 2), torch.ones(30)
    assert float(sdm_loss_tensor(z, q, d, y)) == pytest.approx(
        float(torch.nn.functional.cross_entropy(z, y)), rel=1e-6
    )


def test_gradients() -> None:
    """d (p - one-hot) of each row, over the number of rows; none into q and d."""
    z, q, d, y = (torch.from_numpy(a) for a in quantities())
    z.requires_grad_()
    d.requires_grad_()
    sdm_loss_tensor(z, q, d, y).backward()
    p = ood.sdm_activation(z.detach().numpy(), q.numpy(), d.detach().numpy())
    expected = d.detach().numpy()[:, None] * (p - np.eye(4)[y.numpy()]) / 30
    assert z.grad.numpy() == pytest.approx(expected, rel=1e-10, abs=1e-15)
    assert d.grad is None
    assert torch.autograd.gradcheck(lambda a: sdm_loss_tensor(a, q, d, y), z)


def test_no_gradient_at_d_of_0() -> None:
    z = torch.randn(5, 3, requires_grad=True)
    loss = sdm_loss_tensor(z, torch.full((5,), 6), torch.zeros(5), torch.zeros(5, dtype=torch.long))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3) / math.log(8))
    assert not z.grad.any()


def test_training_learns_and_is_the_same_twice(tmp_path: Path) -> None:
    train, test = blobs(300, 1), blobs(200, 2)
    sdm = train_sdm(train, sdm=ood.SDM(alpha=0.9), training=QUICK)
    found = sdm.predict(test)
    assert (found.prediction == test.labels).mean() > 0.93  # 0.966 is the most there is
    assert sdm.region.exists
    assert found.accept.mean() > 0.3
    assert (found.prediction == test.labels)[found.accept].mean() >= 0.9
    assert sdm.report()["support_rows"] == 150
    assert "split 0 of seed 3" in sdm.report()["held_out_from"]
    again = train_sdm(train, sdm=ood.SDM(alpha=0.9), training=QUICK)
    assert (again.score(test) == sdm.score(test)).all()
    other = train_sdm(train, sdm=ood.SDM(alpha=0.9), training=replace(QUICK, seed=4))
    assert (other.score(test) != sdm.score(test)).any()
    sdm.save(tmp_path / "sdm.safetensors")
    assert (ood.load_scorer(tmp_path / "sdm.safetensors").score(test) == sdm.score(test)).all()


class Stop(Exception):
    """Stands for an interrupt."""


@pytest.mark.parametrize("rows", [60, 170, 900, 1000])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, rows: int) -> None:
    """300 rows, 6 epochs, 2 splits: 1,800 rows in all."""
    train, test = blobs(150, 1), blobs(100, 2)
    validation, how = blobs(150, 5), replace(QUICK, splits=2)
    whole = train_sdm(train, validation, training=how)
    path = tmp_path / "run.safetensors"

    def stopping(done: int, total: int | None) -> None:
        assert total == 1800
        if done > rows:
            raise Stop

    with pytest.raises(Stop):
        train_sdm(train, validation, training=how, checkpoint=path, progress=stopping)
    assert path.exists() == (rows >= 150)
    seen: list[int] = []
    resumed = train_sdm(
        train, validation, training=how, checkpoint=path, progress=lambda done, _: seen.append(done)
    )
    assert seen[0] == rows // 150 * 150 + 16
    assert seen[-1] == 1800
    assert (resumed.score(test) == whole.score(test)).all()
    assert (resumed.adaptor.weight == whole.adaptor.weight).all()
    finished = train_sdm(train, validation, training=how, checkpoint=path)
    assert (finished.score(test) == whole.score(test)).all()


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    train, path = blobs(60, 1), tmp_path / "run.safetensors"
    how = replace(QUICK, epochs=1)
    train_sdm(train, training=how, checkpoint=path)
    with pytest.raises(DataError, match="another run: seed differ"):
        train_sdm(train, training=replace(how, seed=9), checkpoint=path)
    with pytest.raises(DataError, match="another run: data differ"):
        train_sdm(blobs(60, 2), training=how, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable checkpoint"):
        train_sdm(train, training=how, checkpoint=path)
    with pytest.raises(DataError, match=r"must end in \.safetensors"):
        train_sdm(train, training=how, checkpoint=tmp_path / "run.pt")


def test_the_epoch_with_the_least_balanced_loss_is_kept() -> None:
    """Its q, d and loss once more, from every distance."""
    train = blobs(60, 1, spread=2.0)
    kept = train_sdm(train, training=QUICK).adaptor
    order = np.random.default_rng([3, 0]).permutation(60)
    parts = [train.rows(half) for half in (order[:30], order[30:])]

    def balanced(adaptor) -> float:
        rows, held = (adaptor.apply(p) for p in parts)
        said = rows.logits.argmax(axis=1)
        support = list(zip(rows.features.astype(float), rows.labels, said, strict=True))
        asked = zip(held.features.astype(float), held.logits.argmax(axis=1), strict=True)
        found = [run(f, c, support)[:2] for f, c in asked]
        known = [
            [t for (q, t), y in zip(found, held.labels, strict=True) if y == c and q > 0]
            for c in range(3)
        ]
        losses: dict[int, list[float]] = {0: [], 1: [], 2: []}
        for (q, t), z, y in zip(found, held.logits, held.labels, strict=True):
            p = activation(z.astype(float), q, distance_quantile(t, known))
            losses[int(y)].append(-math.log(p[y], 2 + q))
        return float(np.mean([np.mean(of) for of in losses.values()]))

    least = balanced(kept)
    for epochs in range(1, 7):
        stopped = train_sdm(train, training=replace(QUICK, epochs=epochs)).adaptor
        assert least <= balanced(stopped) + 1e-9


def test_what_cannot_be_trained_on() -> None:
    with pytest.raises(InputError, match="has no row in the"):
        train_sdm(blobs(4, 1), training=QUICK)
    with pytest.raises(InputError, match="there are none"):
        train_sdm(Outputs(logits=np.ones((4, 2)), labels=[0, 1, 0, 1]), training=QUICK)
    other = Outputs(features=np.ones((4, 2)), labels=[0, 1, 0, 1])
    with pytest.raises(InputError, match="6 and 2 columns"):
        train_sdm(blobs(30, 1), other, training=QUICK)
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}, {"width": 0}):
        with pytest.raises(BadParameter, match=next(iter(wrong))):
            AdaptorTraining(**wrong)
