"""Changes of feature maps: against the same arithmetic written out, and against pooled shaping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.models import wrap
from ood_toolkit.models.maps import (
    ClipMaps,
    PruneMaps,
    changed_outputs,
    map_quantile,
)
from ood_toolkit.models.rankfeat import RemoveFirstRank, rankfeat_outputs
from tests.models.networks import TorchvisionStyle, images, made, state_hash

MAPS = torch.relu(torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)))


def slow(rule: str, row: np.ndarray, percentile: float) -> np.ndarray:
    flat = row.ravel().astype(float)
    kept = flat.size - round(flat.size * percentile / 100)
    chosen = sorted(range(flat.size), key=lambda i: (-flat[i], i))[:kept]
    total, remaining = flat.sum(), sum(flat[i] for i in chosen)
    out = np.zeros(flat.size)
    for i in range(flat.size):
        if rule == "scale":
            out[i] = flat[i] * np.exp(total / remaining)
        elif i in chosen:
            out[i] = {"ash_p": flat[i], "ash_b": total / kept,
                      "ash_s": flat[i] * np.exp(total / remaining)}[rule]  # fmt: skip
    return out.reshape(row.shape)


@pytest.mark.parametrize("rule", ["ash_p", "ash_b", "ash_s", "scale"])
def test_shaping_of_maps(rule: Any) -> None:
    got = PruneMaps(rule, 80.0)(MAPS)
    for row, out in zip(MAPS, got, strict=True):
        np.testing.assert_allclose(out, slow(rule, row.numpy(), 80.0), rtol=1e-4)


@pytest.mark.parametrize("rule", ["ash_p", "ash_b", "ash_s", "scale"])
def test_on_maps_of_one_place_it_is_the_pooled_shaping(rule: Any) -> None:
    """Named conventions: on (N, D, 1, 1) the two are one, on real maps they differ."""
    model = made(TorchvisionStyle)
    clf = wrap(model)
    pooled = ood.detector(rule, percentile=70.0).fit(None).score(clf.outputs(images()))
    change = PruneMaps(rule, 70.0)
    energy = ood.Energy().fit()
    same = energy.score(changed_outputs(clf, images(), {"avgpool": change}))
    np.testing.assert_allclose(same, pooled, rtol=1e-5)
    maps = energy.score(changed_outputs(clf, images(), {"layer3": change}))
    assert not np.allclose(maps, pooled, rtol=5e-5)


def test_rank_one_is_taken_away() -> None:
    maps = torch.randn(3, 6, 4, 4)
    left = RemoveFirstRank()(maps)
    for row, out in zip(maps, left, strict=True):
        before = np.linalg.svd(row.flatten(1).numpy(), compute_uv=False)
        after = np.linalg.svd(out.flatten(1).numpy(), compute_uv=False)
        np.testing.assert_allclose(after[:3], before[1:4], rtol=1e-4)
        u, s, v = np.linalg.svd(row.flatten(1).numpy(), full_matrices=False)
        expected = row.flatten(1).numpy() - s[0] * np.outer(u[:, 0], v[0])
        np.testing.assert_allclose(out.flatten(1), expected, atol=1e-5)
    with pytest.raises(InputError, match="RankFeat needs maps"):
        RemoveFirstRank()(maps.mean((2, 3)))


def test_the_rest_of_the_network_runs_on() -> None:
    model = made(TorchvisionStyle)
    before = state_hash(model)
    clf = wrap(model)
    limit = map_quantile(clf, images(), "layer2", 80.0)
    x = changed_outputs(clf, images(), {"layer2": ClipMaps(limit)})
    assert state_hash(model) == before
    model.eval()

    def through(x: Tensor) -> tuple[Tensor, Tensor]:
        y = model.layer2(model.layer1(model.relu(model.bn1(model.conv1(x)))))
        features = model.avgpool(model.layer3(y.clamp(max=limit))).flatten(1)
        return y, model.fc(features)

    with torch.no_grad():
        maps, logits = through(images())
    np.testing.assert_allclose(x.logits, logits, atol=1e-5)
    exact = np.quantile(maps.numpy(), 0.8)
    assert abs(limit - exact) < 2 * float(maps.max() - maps.min()) / 16384 + 1e-6
    plain = clf.outputs(images())
    assert not np.array_equal(plain.logits, x.logits)
    two = changed_outputs(clf, images(), {"layer2": RemoveFirstRank(), "layer3": RemoveFirstRank()})
    assert np.isfinite(ood.Energy().fit().score(two)).all()


def test_refusals() -> None:
    clf = wrap(made(TorchvisionStyle))
    with pytest.raises(UnknownName, match="layer='layer7'"):
        changed_outputs(clf, images(), {"layer7": ClipMaps(1.0)})
    with pytest.raises(BadParameter, match="no option 'file'"):
        changed_outputs(clf, images(), {}, file="x")
    with pytest.raises(BadParameter, match="rule must be"):
        PruneMaps("ash")  # type: ignore[arg-type]
    for call in (
        lambda: PruneMaps("scale", 101.0),
        lambda: map_quantile(clf, images(), "fc", -1.0),
    ):
        with pytest.raises(BadParameter, match="percentile"):
            call()


def test_rankfeat_averages_the_logits_of_two_runs() -> None:
    clf, labels = wrap(made(TorchvisionStyle)), torch.arange(20) % 8
    loader = [(images(), labels)]
    x = rankfeat_outputs(clf, loader, ["layer2", "layer3"])
    runs = [
        changed_outputs(clf, loader, {name: RemoveFirstRank()}) for name in ("layer2", "layer3")
    ]
    np.testing.assert_allclose(x.logits, (runs[0].logits.astype(float) + runs[1].logits) / 2)
    assert x.labels is not None
    assert x.labels.tolist() == labels.tolist()
    assert np.isfinite(ood.score(x, "energy")["energy"]).all()
    with pytest.raises(BadParameter, match="name of a layer"):
        rankfeat_outputs(clf, loader, [])
    with pytest.raises(InputError, match="gave no batch"):
        rankfeat_outputs(clf, iter(loader), ["layer2", "layer3"])


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (4, 9, 2, 2), (3, 1, 4, 4)])
def test_the_leading_component_is_that_of_numpys_decomposition(shape: tuple[int, ...]) -> None:
    maps = np.random.default_rng(0).normal(size=shape)
    left = RemoveFirstRank()(torch.from_numpy(maps)).numpy()
    for row, found in zip(maps.reshape(shape[0], shape[1], -1), left, strict=True):
        u, s, v = np.linalg.svd(row, full_matrices=False)
        expected = row - s[0] * np.outer(u[:, 0], v[0])
        np.testing.assert_allclose(found.reshape(row.shape), expected, atol=1e-10)
