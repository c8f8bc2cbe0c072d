"""Gram deviations against plain loops and the equation; what ranges are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.models import Gram, wrap
from ood_toolkit.models.gram import gram_vectors
from tests.models.networks import (
    TorchvisionStyle,
    fashion_cnn,
    fashion_images,
    images,
    made,
    state_hash,
)

POWERS = (1, 2, 5)


def twin_vector(maps: np.ndarray, p: int) -> np.ndarray:
    """One row's (D, K) maps: the whole matrix, summed over its rows, then rooted."""
    d = len(maps)
    gram = [[sum(maps[i, k] ** p * maps[j, k] ** p for k in range(maps.shape[1]))
             for j in range(d)] for i in range(d)]  # fmt: skip
    sums = [sum(row) for row in gram]
    return np.array([np.sign(s) * abs(s) ** (1 / p) for s in sums])


@pytest.mark.parametrize("shape", [(3, 4, 2, 3), (3, 5), (2, 3, 2, 2, 2)])
def test_vectors_are_row_sums_of_the_matrix(shape: tuple[int, ...]) -> None:
    maps = np.random.default_rng(1).normal(size=shape)
    found = gram_vectors(torch.from_numpy(maps), POWERS).numpy()
    assert found.shape == (shape[0], len(POWERS), shape[1])
    for n in range(shape[0]):
        for at, p in enumerate(POWERS):
            expected = twin_vector(maps[n].reshape(shape[1], -1), p)
            np.testing.assert_allclose(found[n, at], expected, rtol=1e-9)


def test_tokens_are_places() -> None:
    tokens = torch.randn(3, 7, 4)
    maps = tokens.transpose(1, 2)[..., None]
    torch.testing.assert_close(gram_vectors(tokens, [1, 3]), gram_vectors(maps, [1, 3]))


def test_by_hand() -> None:
    """Two maps of two places, (1, 2) and (3, 0): row sums 5 + 3 and 3 + 9; squares 17 + 9 and
    9 + 81, rooted."""
    found = gram_vectors(torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]), [1, 2])
    np.testing.assert_allclose(found[0], [[8, 12], [26**0.5, 90**0.5]], rtol=1e-12)


class Recorded(nn.Module):
    """Two layers whose outputs can be computed outside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def twin_deviation(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    total = 0.0
    for v, least, most in zip(value.ravel(), low.ravel(), high.ravel(), strict=True):
        total += max(0.0, least - v) / abs(least + 1e-6) + max(0.0, v - most) / abs(most + 1e-6)
    return total


@pytest.mark.parametrize(("classes", "confidence"), [("predicted", True), ("labels", False)])
def test_the_score_from_plain_loops(classes: str, confidence: bool) -> None:
    torch.manual_seed(0)
    model = made(Recorded).double()
    train, held, x = (torch.randn(n, 1, 6, 6, dtype=torch.float64) for n in (60, 15, 11))
    labels = torch.arange(60) % 2
    with torch.no_grad():
        model.head.bias -= model(train).mean(0)  # so that both classes are predicted
    before = state_hash(model)
    clf = wrap(model)
    gram = Gram.fit(
        clf, [(train[:25], labels[:25]), (train[25:], labels[25:])], [held],
        powers=POWERS, classes=classes, confidence=confidence,  # type: ignore[arg-type]
    )  # fmt: skip
    assert gram.layers == ("conv", "act")

    def parts(batch: Tensor) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        with torch.no_grad():
            maps = model.conv(batch)
            p = model(batch).softmax(1).numpy()
        maps = [m.numpy().reshape(len(batch), 3, -1) for m in (maps, maps.clamp(min=0))]
        vectors = [np.array([[twin_vector(row, q) for q in POWERS] for row in m]) for m in maps]
        return p.argmax(1), p.max(1), vectors

    predicted, _, vectors = parts(train)
    of = predicted if classes == "predicted" else labels.numpy()
    low = [[v[of == c].min(0) for c in (0, 1)] for v in vectors]
    high = [[v[of == c].max(0) for c in (0, 1)] for v in vectors]

    def deviations(batch: Tensor) -> np.ndarray:
        top, sure, found = parts(batch)
        return np.array([
            [twin_deviation(v[n], low[at][c], high[at][c]) / (sure[n] if confidence else 1)
             for at, v in enumerate(found)] for n, c in enumerate(top)
        ])  # fmt: skip

    expected = deviations(held).mean(0) + 1e-7
    np.testing.assert_allclose(gram.expected, expected, rtol=1e-8)
    scores = gram.score(clf, x)
    np.testing.assert_allclose(scores, -(deviations(x) / expected).sum(1), rtol=1e-8)
    np.testing.assert_allclose(gram.score(clf, x[:3]), scores[:3], rtol=1e-10)
    assert state_hash(model) == before
    inside = gram.deviations(clf, train)
    own = predicted == of
    np.testing.assert_allclose(inside[own], 0, atol=1e-9)


def test_a_layer_that_is_called_twice_counts_twice() -> None:
    model = made(TorchvisionStyle)
    clf = wrap(model)
    labelled = [(images(40), torch.arange(40) % 8)]
    gram = Gram.fit(clf, labelled, labelled, layers=["layer1.0.relu"], powers=[1], classes="labels")
    assert len(gram.low) == 2
    assert gram.low[0].shape == (8, 1, 8)
    assert np.isfinite(gram.score(clf, images())).all()


def test_on_the_shipped_network(capsys: pytest.CaptureFixture[str]) -> None:
    clf = wrap(fashion_cnn())
    known = fashion_images("id_test")
    gram = Gram.fit(clf, known[:2000], known[2000:2400], powers=(1, 2, 3, 4, 5))
    inside = gram.score(clf, known[3000:3400])
    for name in ("held_out_classes", "photographs", "digits"):
        area = ood.metrics.auroc(inside, gram.score(clf, fashion_images(name)[:400]))
        with capsys.disabled():
            print(f"\ngram, {name}: AUROC {area:.4f}", end="")
        assert area > 0.6


def test_refusals() -> None:
    clf = wrap(made(TorchvisionStyle))
    labelled = [(images(40), torch.arange(40) % 8)]
    with pytest.raises(BadParameter, match="powers must be whole numbers"):
        Gram.fit(clf, images(), images(), powers=[0])
    with pytest.raises(BadParameter, match="classes must be"):
        Gram.fit(clf, images(), images(), classes="both")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="the model has no such module"):
        Gram.fit(clf, images(), images(), layers=["layer9"])
    with pytest.raises(InputError, match="need labelled training inputs"):
        Gram.fit(clf, images(), images(), classes="labels", layers=["layer1"])
    with pytest.raises(InputError, match="no training row is labelled as class 3"):
        Gram.fit(clf, [(images(), torch.arange(20) % 3)], images(), classes="labels",
                 layers=["layer1"])  # fmt: skip
    with pytest.raises(InputError, match="name layers="):
        Gram.fit(wrap(nn.Sequential(nn.Linear(3, 2))), torch.randn(4, 3), torch.randn(4, 3))
    with pytest.raises(InputError, match="gave no batch"):
        Gram.fit(clf, [], images(), layers=["layer1"])
    gram = Gram.fit(clf, labelled, labelled, layers=["layer1"], powers=[1], classes="labels")
    bad = images(3)
    bad[1] = float("nan")
    with pytest.raises(InputError, match="row 1: a layer's output holds NaN, infinity, or values"):
        gram.score(clf, bad)


def test_values_that_leave_the_numbers_are_refused_where_they_stand() -> None:
    """A range that is infinite or NaN would let every row pass."""
    torch.manual_seed(0)
    model = made(Recorded)
    x = torch.randn(40, 1, 6, 6)
    with torch.no_grad():
        model.head.bias -= model(x).mean(0)  # so that both classes are predicted
    clf = wrap(model)
    huge = x.clone()
    huge[13] *= 1e20  # finite, but its tenth power is not
    batches = [huge[:10], huge[10:]]
    words = "row 13: a layer's output holds NaN, infinity, or values too large for the Gram matrix"
    with pytest.raises(InputError, match=f"training inputs: {words} of power 10"):
        Gram.fit(clf, batches, x)
    with pytest.raises(InputError, match=f"held-out inputs: {words}"):
        Gram.fit(clf, x, batches)
    with pytest.raises(InputError, match=f"^{words}"):
        Gram.fit(clf, x, x).score(clf, batches)
