"""AdaSCALE, against the same arithmetic row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models import AdaScale, wrap
from ood_toolkit.models.adascale import nudged
from tests.models.networks import (
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
)


@pytest.mark.parametrize("variant", ["features", "logits"])
def test_row_by_row(variant: Any) -> None:
    model = made(TorchvisionStyle).eval()
    val, x = images(30)[10:], images(30)[:10]
    clf = wrap(model)
    fitted = AdaScale.fit(clf, val, variant=variant)

    def one(row: torch.Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        moving = row[None].clone().requires_grad_(True)
        (g,) = torch.autograd.grad(model(moving).max(), moving)
        flat = g.flatten().abs()
        least = sorted(range(flat.numel()), key=lambda i: float(flat[i]))[:13]  # 5 % of 256
        other = row.clone().flatten()
        for i in least:
            other[i] += 0.5 * float(g.flatten()[i].sign())
        said = wrap(model).outputs(torch.stack([row, other.view_as(row)]))
        assert said.features is not None
        assert said.logits is not None
        f, h = said.features.astype(float)
        top = sorted(range(32), key=lambda i: (-f[i], i))
        q = sum(max(h[i], 0) for i in top[:2]) + 10 * sum(abs(f[i] - h[i]) for i in top[:1])
        return f, said.logits[0].astype(float), q

    shifts = sorted(one(row)[2] for row in val)
    np.testing.assert_allclose(fitted.shifts, shifts, rtol=1e-5)
    head = clf.head
    assert head is not None
    expected = []
    for row in x:
        f, z, q = one(row)
        p = 75 + (1 - sum(s <= q for s in shifts) / len(shifts)) * 10
        kept = 32 - round(32 * p / 100)
        ratio = f.sum() / np.sort(f)[::-1][:kept].sum()
        if variant == "features":
            z = f * np.exp(ratio) @ head.weight.T.astype(float) + head.bias
        else:
            z = z * ratio**2
        expected.append(np.log(np.exp(z - z.max()).sum()) + z.max())
    np.testing.assert_allclose(fitted.score(clf, x), expected, rtol=1e-4)


def test_on_the_shipped_network(capsys: pytest.CaptureFixture[str]) -> None:
    net = fashion_cnn()
    before = state_hash(net)
    clf = wrap(net)
    known = fashion_images("id_test")
    fitted = AdaScale.fit(clf, known[1000:1400])
    scale = ood.Scale().fit(None)
    with capsys.disabled():
        for name in ("held_out_classes", "photographs"):
            odd = fashion_images(name)[:400]
            ours = ood.metrics.auroc(fitted.score(clf, known[:400]), fitted.score(clf, odd))
            plain = ood.metrics.auroc(
                scale.score(clf.outputs(known[:400])), scale.score(clf.outputs(odd))
            )
            print(f"\n{name}: adascale AUROC {ours:.4f}, scale {plain:.4f}", end="")
            assert 0.5 < ours <= 1
    assert state_hash(net) == before


def test_refusals() -> None:
    clf = wrap(made(TorchvisionStyle))
    with pytest.raises(InputError, match="gave no batch"):
        nudged(clf, [], 0.5)
    with pytest.raises(BadParameter, match="percentiles must ascend"):
        AdaScale(np.zeros(1), 90.0, 80.0)
    with pytest.raises(BadParameter, match="variant must be"):
        AdaScale(np.zeros(1), variant="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["features", "logits"])
def test_rows_that_are_no_numbers_or_would_score_none_are_named(variant: Any) -> None:
    clf = wrap(made(TorchvisionStyle).eval())
    fitted = AdaScale.fit(clf, images(20), variant=variant)
    x = clf.outputs(images(4))
    assert x.features is not None
    shifts = np.ones(4)
    features = x.features.astype(np.float64)
    features[2] = 1e308
    logits = np.full((4, 8), 1e308)
    huge = ood.Outputs(features=features, logits=logits, head=x.head)
    with pytest.raises(InputError, match="values too large for AdaSCALE, whose score of it would"):
        fitted.score_shifted(huge, shifts)
    shifts[3] = np.nan  # of nudged inputs: no distribution has a place for it
    with pytest.raises(InputError, match="features: row 3 holds values too large for AdaSCALE"):
        fitted.score_shifted(x, shifts)
    bad = images(20)
    bad[5] = float("nan")
    with pytest.raises(InputError, match="features: row 5 holds NaN or infinity"):
        AdaScale.fit(clf, bad, variant=variant)
    with pytest.raises(InputError, match="features: row 5 holds NaN or infinity"):
        fitted.score(clf, bad)
