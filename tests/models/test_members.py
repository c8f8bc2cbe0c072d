"""Dropout passes, ensembles, augmentations; gradients of every row at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.models import wrap
from tests.cli.running import tool
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


def test_dropout_passes() -> None:
    model = made(HuggingFaceStyle)
    batches = [text_batch(), text_batch(3)]
    before, states = state_hash(model), torch.get_rng_state()
    clf = wrap(model)
    x = clf.dropout_members(batches, passes=5)
    assert state_hash(model) == before
    assert torch.equal(torch.get_rng_state(), states)
    assert x.members is not None
    assert x.labels is not None
    assert x.members.shape == (5, 9, 3)
    assert x.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert len({m.tobytes() for m in x.members}) == 5
    again = clf.dropout_members(batches, passes=5)
    np.testing.assert_array_equal(again.members, x.members)
    other = clf.dropout_members(batches, passes=5, seed=1)
    assert not np.array_equal(other.members, x.members)
    mean = np.mean([_softmax(m) for m in x.members], axis=0)
    np.testing.assert_allclose(_softmax(x.logits), mean, rtol=1e-6)
    scores = ood.score(x, ["vote_entropy", "t_similarity", "entropy"])
    assert all(np.isfinite(s).all() for s in scores.values())


def _softmax(z: np.ndarray | None) -> np.ndarray:
    assert z is not None
    e = np.exp(z.astype(float) - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_dropout_of_zero_is_no_dropout_and_norms_stay_in_evaluation() -> None:
    net = made(lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(),
                                     nn.Dropout(0.0), nn.Linear(588, 4)))  # fmt: skip
    before = state_hash(net)
    x = wrap(net).dropout_members(images(), passes=2)
    assert x.members is not None
    np.testing.assert_array_equal(x.members[0], x.members[1])
    np.testing.assert_array_equal(x.members[0], wrap(net).outputs(images()).logits)
    assert state_hash(net) == before
    with pytest.raises(InputError, match="has no dropout layer"):
        wrap(made(TorchvisionStyle)).dropout_members(images())
    with pytest.raises(BadParameter, match="passes"):
        wrap(net).dropout_members(images(), passes=0)


def test_ensembles_and_augmentations() -> None:
    models = [made(lambda width=w: TorchvisionStyle(width=width)) for w in (4, 8, 12)]
    clf, *others = map(wrap, models)
    x = clf.ensemble_members(images(), others)
    assert x.members is not None
    for member, model in zip(x.members, models, strict=True):
        np.testing.assert_array_equal(member, wrap(model).outputs(images()).logits)
    flipped = clf.augmented_members(images(), [lambda x: x, lambda x: x.flip(3)])
    assert flipped.members is not None
    np.testing.assert_array_equal(flipped.members[0], clf.outputs(images()).logits)
    np.testing.assert_array_equal(flipped.members[1], clf.outputs(images().flip(3)).logits)
    with pytest.raises(BadParameter, match="no augmentations"):
        clf.augmented_members(images(), [])


@pytest.mark.parametrize("name", ["m.safetensors", "m.npz"])
def test_stacks_in_a_file_are_scored_from_the_shell(name: str, tmp_path: Path) -> None:
    models = [made(lambda width=w: TorchvisionStyle(width=width)) for w in (4, 8)]
    clf, other = map(wrap, models)
    path = tmp_path / name
    x = clf.ensemble_members([(images(), torch.arange(20) % 8)], [other], to=path)
    assert x.members is not None
    assert x.members.shape == (2, 20, 8)
    methods = ["vote_entropy", "t_similarity", "mutual_information", "predictive_entropy"]
    names = [m.name for m in ood.methods() if m.name in methods]
    run = tool("score", path, "-m", ",".join(names), "-o", tmp_path / "s.npz")
    assert run.status == 0, run.err
    with np.load(tmp_path / "s.npz") as scores:
        for method, expected in ood.score(x, names).items():
            np.testing.assert_array_equal(scores[method], expected)
    flips = clf.augmented_members(images(), [lambda x: x, lambda x: x.flip(3)], to=path)
    np.testing.assert_array_equal(
        flips.members, clf.augmented_members(images(), [lambda x: x, lambda x: x.flip(3)]).members
    )


def test_the_heads_gradient_is_the_closed_form() -> None:
    for model, x in ((made(TorchvisionStyle), images()),
                     (fashion_cnn(), fashion_images("id_test")[:100])):  # fmt: skip
        before = state_hash(model)
        clf = wrap(model)
        ours = clf.gradient_norms(x)
        closed = ood.score(clf.outputs(x), "gradnorm")["gradnorm"]
        np.testing.assert_allclose(ours, closed, rtol=2e-5)
        assert state_hash(model) == before


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention, row by row
def test_another_parameters_gradient() -> None:
    model = made(lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    ours = wrap(model).gradient_norms(x, "0.weight")
    expected = []
    for row in x:
        (gradient,) = torch.autograd.grad(-model(row[None]).log_softmax(1).sum(), model[0].weight)
        expected.append(float(gradient.abs().sum()))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    with pytest.raises(UnknownName, match=r"it has 0\.weight, 0\.bias, 2\.weight, 2\.bias"):
        wrap(model).gradient_norms(x, "1.weight")
    text = made(HuggingFaceStyle).eval()
    ours = wrap(text).gradient_norms([text_batch()])
    closed = ood.score(wrap(text).outputs([text_batch()]), "gradnorm")["gradnorm"]
    np.testing.assert_allclose(ours, closed, rtol=1e-4)
