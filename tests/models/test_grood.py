"""GROOD: gradients at the outlier prototype against autograd, its parts against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models import Grood, wrap
from ood_toolkit.models.grood import mixed_features, prototype_gradients
from tests.models.networks import (
    DATA,
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
)


def twin_gradients(features: np.ndarray, prototypes: np.ndarray, outlier: np.ndarray) -> np.ndarray:
    """The loss written down and differentiated by torch, a row at a time."""
    rows = []
    for number, row in enumerate(torch.from_numpy(features)):
        o = torch.from_numpy(outlier).clone().requires_grad_(True)
        points = torch.vstack([torch.from_numpy(prototypes), o[None]])
        scores = -(row - points).norm(dim=1)
        label = torch.tensor([number % len(prototypes)])  # any: the gradient is the same
        F.cross_entropy(scores[None], label).backward()
        assert o.grad is not None
        rows.append(o.grad.numpy())
    return np.array(rows)


def test_the_closed_form_is_autograds() -> None:
    rng = np.random.default_rng(0)
    features, prototypes = rng.normal(size=(30, 6)), rng.normal(size=(4, 6))
    outlier = rng.normal(size=6)
    found = prototype_gradients(features, prototypes, outlier)
    np.testing.assert_allclose(found, twin_gradients(features, prototypes, outlier), atol=1e-12)
    assert (np.linalg.norm(found, axis=1) <= 1).all()
    at = prototype_gradients(outlier[None], prototypes, outlier)
    np.testing.assert_array_equal(at, np.zeros((1, 6)))


class Plain(nn.Module):
    """An early layer whose mixture can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Conv2d(1, 2, 3)
        self.late = nn.Linear(2, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.late(self.early(x).relu().mean((2, 3))).relu())


def test_mixed_features_from_plain_loops() -> None:
    torch.manual_seed(0)
    model = made(Plain).double()
    x, y = torch.randn(21, 1, 5, 5, dtype=torch.float64), torch.arange(21) % 3
    before = state_hash(model)
    found = mixed_features(wrap(model), [(x[:8], y[:8]), (x[8:], y[8:])], "early", 0.7)
    assert state_hash(model) == before
    with torch.no_grad():
        maps = model.early(x)
        means = [maps[y == c].mean(0) for c in range(3)]
        for row in range(21):
            second = int(model(x[row : row + 1])[0].sort(descending=True).indices[1])
            mixed = 0.7 * maps[row] + 0.3 * means[second]
            feature = model.late(mixed[None].relu().mean((2, 3))).relu()[0]
            np.testing.assert_allclose(found[row], feature, atol=1e-12)


@pytest.mark.parametrize("way", ["layer", "outliers", "outputs"])
def test_the_score_is_the_distance_to_the_nearest_gradient(way: str) -> None:
    torch.manual_seed(0)
    model = made(Plain).double()
    clf = wrap(model)
    x, held = (torch.randn(n, 1, 5, 5, dtype=torch.float64) for n in (40, 9))
    with torch.no_grad():
        model.head.bias -= model(x).mean(0)  # so that several classes are predicted
    y = clf.outputs(x).logits.argmax(1)  # type: ignore[union-attr]
    y[::4] = (y[::4] + 1) % 3  # every fourth row is predicted wrong
    assert set(y) == {0, 1, 2}
    train = [(x, torch.from_numpy(y))]
    odd = torch.rand(12, 1, 5, 5, dtype=torch.float64)
    given = {"layer": {"layer": "early"}, "outliers": {"outliers": odd},
             "outputs": {"outliers": clf.outputs(odd)}}[way]  # fmt: skip
    grood = Grood.fit(clf, train, **given)  # type: ignore[arg-type]
    outputs = clf.outputs(x)
    assert outputs.features is not None
    assert outputs.logits is not None
    prototypes = np.array([outputs.features[y == c].mean(0) for c in range(3)])
    outside = (mixed_features(clf, train, "early", 0.5) if way == "layer"
               else clf.outputs(odd).features)  # fmt: skip
    assert outside is not None
    outlier = outside.mean(0)
    bank = twin_gradients(outputs.features[outputs.logits.argmax(1) == y], prototypes, outlier)
    new = clf.outputs(held)
    assert new.features is not None
    expected = [
        -min(np.linalg.norm(g - b) for b in bank)
        for g in twin_gradients(new.features, prototypes, outlier)
    ]
    np.testing.assert_allclose(grood.score(new), expected, atol=1e-9)


def test_on_the_shipped_network(capsys: pytest.CaptureFixture[str]) -> None:
    clf = wrap(fashion_cnn())
    known = fashion_images("id_test")
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        labels = torch.from_numpy(file["labels"][:2000].astype(np.int64))
    grood = Grood.fit(clf, [(known[:2000], labels)], layer="3")
    inside = grood.score(clf.outputs(known[3000:3500]))
    for name in ("held_out_classes", "photographs"):
        area = ood.metrics.auroc(inside, grood.score(clf.outputs(fashion_images(name)[:500])))
        with capsys.disabled():
            print(f"\ngrood, {name}: AUROC {area:.4f}", end="")
        assert area > 0.5


def test_refusals() -> None:
    clf = wrap(made(TorchvisionStyle))
    labelled = [(images(40), torch.arange(40) % 8)]
    with pytest.raises(BadParameter, match="layer= or outliers="):
        Grood.fit(clf, labelled)
    with pytest.raises(BadParameter, match="mix must lie"):
        Grood.fit(clf, labelled, layer="layer1", mix=2.0)
    with pytest.raises(InputError, match="all labelled"):
        Grood.fit(clf, images(), layer="layer1")
    with pytest.raises(InputError, match="class 3 has no training row"):
        Grood.fit(clf, [(images(), torch.arange(20) % 3)], layer="layer1")
    with pytest.raises(InputError, match="needs features"):
        Grood.fit(clf, [(images(40), torch.from_numpy(_predicted(clf)))], outliers=images()).score(
            ood.Outputs(logits=np.zeros((2, 8)))
        )


def test_rows_that_are_no_numbers_or_would_score_none_are_named() -> None:
    clf = wrap(made(TorchvisionStyle))
    train = [(images(40), torch.from_numpy(_predicted(clf)))]
    grood = Grood.fit(clf, train, outliers=images())
    features = np.ones((4, 32))
    features[2, 0] = 1e200  # finite, and its square is not
    with pytest.raises(InputError, match="features: row 2 holds values too large for GROOD, whose"):
        grood.score(ood.Outputs(features=features))
    features[1, 3] = np.nan
    with pytest.raises(InputError, match="features: row 1 holds NaN or infinity"):
        grood.score(ood.Outputs(features=features))
    bad = images(40).clone()
    bad[11] = float("nan")
    with pytest.raises(InputError, match="features: row 11 holds NaN or infinity"):
        Grood.fit(clf, [(bad, train[0][1])], outliers=images())


def _predicted(clf: object) -> np.ndarray:
    """Labels that hold every class, most of them as predicted."""
    logits = clf.outputs(images(40)).logits  # type: ignore[attr-defined]
    labels = logits.argmax(1)
    labels[:8] = np.arange(8)
    return np.asarray(labels)
