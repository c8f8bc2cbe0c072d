"""Inputs that are moved towards a score: ODIN and its kin, and how far to move them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models import wrap
from ood_toolkit.models.perturbation import Perturbation, input_gradients, stepped
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


def by_hand() -> nn.Sequential:
    """Three inputs, three hidden units, two classes; the third input touches nothing."""
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, -1, 0]])
    net[2].weight.data = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    return net


def test_a_network_of_two_layers_by_hand() -> None:
    """X = (1, 2, 5): h = (1, 2, 0), z = (1, 2), dL/dz = p - e_1 = (.269, -.269) at T = 1, so
    dL/dx = (.269, -.269, 0) and the steps are -.1/.5, +.1/.25 and, sgn(0) = +1, -.1/1."""
    net, x = by_hand(), torch.tensor([[1.0, 2.0, 5.0]])
    moved = wrap(net).perturbed(
        x, ood.ODINTemperature(temperature=1.0), epsilon=0.1, std=(0.5, 0.25, 1.0)
    )
    np.testing.assert_allclose(moved.features, [[0.8, 2.4, 0.0]], atol=1e-6)
    np.testing.assert_allclose(moved.logits, [[0.8, 2.4]], atol=1e-6)
    score = ood.ODINTemperature(temperature=1.0).fit().score(moved)
    np.testing.assert_allclose(score, -np.log1p(np.exp(-1.6)), atol=1e-6)
    with wrap(net).network.running(gradients=True) as run:
        _, values, gradient = input_gradients(
            run, x, lambda z, f: z.log_softmax(1).gather(1, z.argmax(1, keepdim=True))[:, 0]
        )
    p = 0.2689414213699951
    np.testing.assert_allclose(-gradient.numpy(), [[p, -p, 0.0]], atol=1e-7)
    how = Perturbation(0.1, (0.5, 0.25, 1.0))
    np.testing.assert_allclose(stepped(values, -gradient, how), [[0.8, 2.4, 4.9]], atol=1e-6)
    single = stepped(values, -gradient, Perturbation(0.1, single=True))
    np.testing.assert_allclose(single, [[0.9, 2.0, 5.0]], atol=1e-6)


def test_the_closed_form_at_the_features() -> None:
    """dL/df = W' (softmax(z / T) - e) / T, as autograd gives it for a model that is its head."""
    torch.manual_seed(0)
    net, f = nn.Sequential(nn.Linear(6, 4)).double(), torch.randn(9, 6, dtype=torch.float64)
    t, epsilon = 10.0, 0.05
    moved = wrap(net).perturbed(f, ood.ODINTemperature(temperature=t), epsilon=epsilon)
    weight = net[0].weight.detach().numpy()
    z = net(f).detach().numpy() / t
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(9), z.argmax(1)] -= 1
    loss_gradient = p @ weight / t
    expected = f.numpy() - epsilon * np.where(loss_gradient >= 0, 1.0, -1.0)
    np.testing.assert_allclose(moved.features, expected, atol=1e-12)


def reference_odin(model: nn.Module, x: Tensor, t: float, epsilon: float, std: float) -> np.ndarray:
    """The paper's two passes, one row after the other, for a slow but plain answer."""
    scores = []
    for row in x:
        moving = row[None].clone().requires_grad_(True)
        logits = model(moving) / t
        F.cross_entropy(logits, logits.argmax(1)).backward()
        assert moving.grad is not None
        sign = torch.where(moving.grad >= 0, 1.0, -1.0)
        with torch.no_grad():
            z = model(row[None] - epsilon * sign / std).double()[0] / t
        scores.append(float(z.log_softmax(0).max()))
    model.zero_grad(set_to_none=True)
    return np.array(scores)


@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_odin_is_the_papers(temperature: float) -> None:
    model = made(TorchvisionStyle).eval()
    x = images(12)
    scorer = ood.ODINTemperature(temperature=temperature).fit()
    moved = wrap(model).perturbed(x, scorer, epsilon=0.01, std=[0.3])
    expected = reference_odin(model, x, temperature, 0.01, 0.3)
    np.testing.assert_allclose(scorer.score(moved), expected, rtol=1e-6, atol=1e-9)
    plain = wrap(model).outputs(x)
    assert (scorer.score(moved) > scorer.score(plain)).all()


def test_a_step_of_zero_is_no_perturbation() -> None:
    model = made(TorchvisionStyle)
    x = wrap(model).perturbed(images(), "odin_temperature", epsilon=0.0)
    plain = wrap(model).outputs(images())
    np.testing.assert_array_equal(x.logits, plain.logits)
    scorer = ood.ODINTemperature().fit()
    np.testing.assert_array_equal(scorer.score(x), scorer.score(plain))


@pytest.mark.parametrize("name", ["gini", "mahalanobis", "relative_mahalanobis", "vim", "react"])
def test_any_score_can_be_raised(name: str) -> None:
    model = made(TorchvisionStyle)
    clf = wrap(model)
    loader = [(images(200), torch.arange(200) % 8)]
    scorer: Any = ood.detector(name).fit(clf.outputs(loader))
    moved, plain = clf.perturbed(images(50), scorer, epsilon=0.002), clf.outputs(images(50))
    assert (scorer.score(moved) > scorer.score(plain)).mean() > 0.9


def test_doctors_step_goes_down() -> None:
    torch.manual_seed(0)
    clf, f = wrap(nn.Sequential(nn.Linear(6, 4)).double()), torch.randn(9, 6, dtype=torch.float64)
    scorer = ood.detector("gini").fit()
    up, down = (clf.perturbed(f, scorer, epsilon=0.00035, down=way) for way in (False, True))
    plain = clf.outputs(f)
    np.testing.assert_allclose(up.features - plain.features, plain.features - down.features)
    assert (scorer.score(down) < scorer.score(plain)).all()
    assert (scorer.score(up) > scorer.score(plain)).all()


def test_the_mahalanobis_step_is_the_papers() -> None:
    """Half the squared distance to the nearest class, differentiated by hand at the features."""
    rng = np.random.default_rng(0)
    f = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 3 * np.eye(5)[np.arange(60) % 3]
    net = nn.Sequential(nn.Linear(5, 3)).double()
    clf = wrap(net)
    labels = torch.arange(60) % 3
    scorer = ood.Mahalanobis().fit(clf.outputs([(torch.from_numpy(f), labels)]))
    x = rng.normal(size=(7, 5))
    means = np.stack([f[np.arange(60) % 3 == c].mean(0) for c in range(3)])
    centred = f - means[np.arange(60) % 3]
    precision = np.linalg.inv(centred.T @ centred / 60)
    away = x[:, None] - means
    distances = np.einsum("ncd,de,nce->nc", away, precision, away)
    nearest = away[np.arange(7), distances.argmin(1)]
    expected = x - 0.01 * np.sign(nearest @ precision) / 0.5
    moved = clf.perturbed(torch.from_numpy(x), scorer, epsilon=0.01, std=[0.5])
    np.testing.assert_allclose(moved.features, expected, atol=1e-12)


def test_state_is_left_as_found() -> None:
    model = made(TorchvisionStyle)
    before, x = state_hash(model), images()
    with torch.inference_mode():
        inside = wrap(model).perturbed(x, "odin_temperature", epsilon=0.01)
    outside = wrap(model).perturbed(x, "odin_temperature", epsilon=0.01)
    np.testing.assert_array_equal(inside.logits, outside.logits)
    assert state_hash(model) == before
    assert torch.equal(x, images())
    assert all(p.grad is None for p in model.parameters())


def test_files_and_shards(tmp_path: Any) -> None:
    model = made(TorchvisionStyle)
    memory = wrap(model).perturbed(images(), "odin_temperature", epsilon=0.01)
    for to in ("x.safetensors", "shards"):
        x = wrap(model).perturbed(
            images(), "odin_temperature", epsilon=0.01, to=tmp_path / to, shard_rows=7
        )
        np.testing.assert_array_equal(x.logits, memory.logits)
    with pytest.raises(InputError, match="made with another how"):
        wrap(model).outputs(images(), to=tmp_path / "shards", shard_rows=7)


def test_refusals() -> None:
    model = made(TorchvisionStyle)
    clf = wrap(model)
    with pytest.raises(InputError, match=r"mahalanobis must be fitted first: pass Mahalanobis\(\)"):
        clf.perturbed(images(), "mahalanobis")
    with pytest.raises(BadParameter, match="epsilon must be at least 0"):
        clf.perturbed(images(), "odin_temperature", epsilon=-1.0)
    with pytest.raises(BadParameter, match="std has 3 values for inputs of shape"):
        clf.perturbed(images(), "odin_temperature", std=(1, 1, 1))
    with pytest.raises(BadParameter, match="std must be positive"):
        clf.perturbed(images(), "odin_temperature", std=[0.0])
    with pytest.raises(InputError, match="word numbers have no gradient"):
        wrap(made(HuggingFaceStyle)).perturbed([text_batch()], "odin_temperature")


# How far


def test_the_step_is_chosen_on_in_distribution_rows() -> None:
    model = made(TorchvisionStyle)
    clf, x, scorer = wrap(model), images(30), ood.ODINTemperature(temperature=1.0).fit()
    grid = (0.0, 0.01, 0.02)
    choice = clf.choose_epsilon(x, scorer, grid=grid)
    means = [scorer.score(clf.perturbed(x, scorer, epsilon=e)).mean() for e in grid]
    assert [value for _, value in choice.compared] == means
    assert choice.epsilon == grid[int(np.argmax(means))]
    assert choice.rule == "mean in-distribution score"


def test_the_step_is_chosen_against_outliers() -> None:
    clf, scorer = wrap(fashion_cnn()), ood.ODINTemperature().fit()
    inside, outside = fashion_images("id_test")[:200], fashion_images("photographs")[:200]
    grid = (0.0, 0.002, 0.004)
    choice = clf.choose_epsilon(inside, scorer, outliers=outside, grid=grid)
    rates = [
        ood.metrics.fpr_at_tpr(
            scorer.score(clf.perturbed(inside, scorer, epsilon=e)),
            scorer.score(clf.perturbed(outside, scorer, epsilon=e)),
        )
        for e in grid
    ]
    assert [value for _, value in choice.compared] == rates
    assert choice.epsilon == grid[int(np.argmin(rates))]
    with pytest.raises(BadParameter, match="grid of epsilons is empty"):
        clf.choose_epsilon(inside, scorer, grid=())


def test_odin_on_the_shipped_network(capsys: pytest.CaptureFixture[str]) -> None:
    """Real images; which of the three wins is printed, not demanded."""
    clf, scorer = wrap(fashion_cnn()), ood.ODINTemperature().fit()
    epsilon = 0.004
    sets = {n: fashion_images(n)[:1000] for n in ("id_test", "held_out_classes", "photographs")}
    moved = {n: clf.perturbed(x, scorer, epsilon=epsilon) for n, x in sets.items()}
    plain = {n: clf.outputs(x) for n, x in sets.items()}
    for name in ("held_out_classes", "photographs"):
        for method, said in (("odin", moved), ("msp", plain), ("energy", plain)):
            row = ood.evaluate(
                "odin_temperature" if method == "odin" else method,
                id=said["id_test"], ood={name: said[name]}, bootstrap=100,
            ).results[0]  # fmt: skip
            low, high = row.auroc_ci or (np.nan, np.nan)
            with capsys.disabled():
                print(f"\n{name}: {method} AUROC {row.auroc:.4f} [{low:.4f}, {high:.4f}]", end="")
            assert 0.5 < row.auroc < 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda() -> None:
    model = made(TorchvisionStyle)
    expected = wrap(model).perturbed(images(), "odin_temperature", epsilon=0.01)
    model.cuda()
    moved = wrap(model).perturbed(images(), "odin_temperature", epsilon=0.01)
    np.testing.assert_allclose(moved.logits, expected.logits, atol=1e-2)
