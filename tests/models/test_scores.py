"""Scores in tensors are those of the numpy scorers, and a graph goes through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from ood_toolkit.detectors.base import FittedScorer
from ood_toolkit.errors import InputError
from ood_toolkit.models import score_module

RNG = np.random.default_rng(7)
HEAD = ood.Head(RNG.normal(size=(6, 12)), RNG.normal(size=6))
LABELS = np.arange(300) % 6
FEATURES = np.maximum(RNG.normal(size=(300, 12)) + 1.5 * RNG.normal(size=(6, 12))[LABELS], 0) + 0.01
TRAIN = ood.Outputs(features=FEATURES, labels=LABELS, head=HEAD)
TEST = ood.Outputs(
    features=np.abs(RNG.normal(size=(80, 12))) * RNG.uniform(0.2, 4, size=(80, 1)), head=HEAD
)
METHODS = {
    "msp": {}, "energy": {"temperature": 2.5}, "max_logit": {}, "entropy": {},
    "gen": {"gamma": 0.1, "top": 4}, "label_non_uniformity": {}, "odin_temperature": {},
    "gini": {}, "mahalanobis": {}, "relative_mahalanobis": {}, "marginal_mahalanobis": {},
    "mahalanobis_pp": {}, "relative_mahalanobis_pp": {}, "vim": {}, "residual": {},
    "knn": {"k": 5}, "react": {"percentile": 80.0}, "react+gen": {}, "scale": {}, "ash_s": {},
    "ash_p": {}, "vra": {}, "scale+msp": {},
}  # fmt: skip
VARIANTS = [
    ("gini", {"variant": "beta"}), ("label_non_uniformity", {"normalise": "unit"}),
    ("label_non_uniformity", {"normalise": "l1"}), ("knn", {"k": 3, "normalize": False}),
]  # fmt: skip
CASES = [*METHODS.items(), *VARIANTS]


def fitted(name: str, parameters: dict[str, object]) -> FittedScorer:
    scorer = ood.detector(name, **parameters).fit(TRAIN)
    assert isinstance(scorer, FittedScorer)
    return scorer


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=[f"{n}-{p}" for n, p in CASES])
def test_equal_to_the_numpy_scorer(name: str, parameters: dict[str, object]) -> None:
    scorer = fitted(name, parameters)
    assert TEST.logits is not None
    z, f = torch.from_numpy(TEST.logits.astype(np.float64)), torch.from_numpy(TEST.features)
    expected = scorer.score(TEST)
    double = score_module(scorer, HEAD, dtype="float64")(z, f)
    np.testing.assert_allclose(double.numpy(), expected, rtol=1e-8, atol=1e-9)
    single = score_module(scorer, HEAD)(z.float(), f.float())
    assert single.dtype == torch.float32
    scale = np.abs(expected).max()
    np.testing.assert_allclose(single.numpy(), expected, rtol=2e-4, atol=2e-5 * scale)


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=[f"{n}-{p}" for n, p in CASES])
def test_the_gradient_is_that_of_the_score(name: str, parameters: dict[str, object]) -> None:
    """Against central differences of the numpy scorer, in a random direction."""
    scorer = fitted(name, parameters)
    module = score_module(scorer, HEAD, dtype="float64")
    weight, bias = torch.from_numpy(HEAD.weight), torch.from_numpy(HEAD.bias)
    f = torch.from_numpy(TEST.features[:20]).clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(module(f @ weight.T + bias, f).sum(), f)
    direction = np.random.default_rng(1).normal(size=(20, 12))
    h = 1e-6

    def at(step: float) -> np.ndarray:
        assert TEST.features is not None
        return scorer.score(ood.Outputs(features=TEST.features[:20] + step * direction, head=HEAD))

    slope = (at(h) - at(-h)) / (2 * h)
    ours = (gradient.numpy() * direction).sum(1)
    # where the pieces of a piecewise score meet, the two may differ
    wrong = np.abs(ours - slope) > 1e-4 * (1 + np.abs(slope))
    assert wrong.sum() <= 1


def test_confident_and_masked_rows() -> None:
    z = np.array([[40.0, 0.0, -np.inf, 1.0], [3.0, -np.inf, -np.inf, 2.0]])
    for name in ("msp", "energy", "max_logit", "entropy", "label_non_uniformity", "gini"):
        scorer = ood.detector(name).fit(None)
        assert isinstance(scorer, FittedScorer)
        got = score_module(scorer)(torch.from_numpy(z), torch.zeros(2, 1)).numpy()
        expected = scorer.score(ood.Outputs(logits=z))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-16, err_msg=name)


def test_what_cannot_be_done_in_tensors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="fdbd cannot be computed in tensors; these can: msp"):
        score_module(fitted("fdbd", {}))
    with pytest.raises(InputError, match="react needs the head"):
        score_module(fitted("react", {}))
    with pytest.raises(InputError, match="only ground=zero_one"):
        score_module(fitted("label_non_uniformity", {"ground": "path"}))
    monkeypatch.setattr("ood_toolkit.models.feature_scores.LARGEST_BANK", 10)
    with pytest.raises(InputError, match="a bank of 300 rows is more than the 10"):
        score_module(fitted("knn", {}))
