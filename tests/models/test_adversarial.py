"""Attacks, the triples of the Mahalanobis paper, and the ensemble over layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError, UnknownName
from ood_toolkit.models import wrap
from ood_toolkit.models.adversarial import adversarial_auroc, adversarial_inputs
from ood_toolkit.models.attacks import BIM, CW, FGSM, Attack, DeepFool
from ood_toolkit.models.layer_ensemble import LayerEnsemble, fit_layers, logistic_weights
from tests.models.networks import DATA, fashion_cnn, fashion_images, state_hash

ROWS = 120
X = fashion_images("id_test")[:ROWS]
with np.load(DATA / "fashion" / "id_test.npz") as _file:
    Y = torch.from_numpy(_file["labels"][:ROWS].astype(np.int64))
ATTACKS: dict[str, Attack] = {
    "fgsm": FGSM(epsilon=0.05), "bim": BIM(step=0.01, iterations=6),
    "deepfool": DeepFool(iterations=20), "cw": CW(weight=10.0, rate=0.04, iterations=25),
}  # fmt: skip


def test_fgsm_and_bim_by_hand() -> None:
    """One linear layer: the gradient of the loss is W' (p - e_y), its sign known."""
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x, y = torch.tensor([[0.6, 0.4], [0.02, 0.5]]), torch.tensor([0, 1])
    moved = FGSM(epsilon=0.05).run(net, x, y)
    np.testing.assert_allclose(moved.detach(), [[0.55, 0.45], [0.07, 0.45]], atol=1e-7)
    moved = BIM(step=0.03, iterations=2).run(net, x, y)
    np.testing.assert_allclose(moved.detach(), [[0.54, 0.46], [0.08, 0.44]], atol=1e-7)
    low = FGSM(epsilon=0.05).run(net, x, torch.tensor([0, 0]))
    np.testing.assert_allclose(low.detach()[1], [0.0, 0.55], atol=1e-7)


def test_deepfool_goes_straight_over_the_boundary() -> None:
    """Between two classes of a linear classifier: the projection, and a little further."""
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    x = torch.tensor([[0.5, 0.5]])
    moved = DeepFool(low=-5, high=5, overshoot=0.02).run(net, x, torch.tensor([0])).detach()
    # distance to 3 a + 4 b = 0 is 3.5 / 5 along (0.6, 0.8), beyond it by 2 %
    expected = x.numpy() - 1.02 * (3.5 + 1e-4) / 25 * np.array([[3.0, 4.0]])
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    stays = DeepFool(low=-5, high=5).run(net, x, torch.tensor([1])).detach()
    np.testing.assert_array_equal(stays, x)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_succeed_within_bounds(name: str) -> None:
    net, attack = fashion_cnn(), ATTACKS[name]
    before = state_hash(net)
    right = net(X[:48]).argmax(1) == Y[:48]
    moved = attack.run(net, X[:48], Y[:48]).detach()
    assert moved.min() >= 0
    assert moved.max() <= 1
    fooled = (net(moved).argmax(1) != Y[:48])[right].double().mean()
    assert fooled > 0.5
    assert state_hash(net) == before
    if name in ("fgsm", "bim"):
        assert (moved - X[:48]).abs().max() <= 0.06 + 1e-6
    else:
        fast = FGSM(epsilon=0.05).run(net, X[:48], Y[:48]).detach()
        assert _length(moved - X[:48])[right].median() < _length(fast - X[:48])[right].median()


def _length(change: Tensor) -> Tensor:
    return change.flatten(1).norm(dim=1)


def test_a_batch_is_its_rows() -> None:
    net = fashion_cnn()
    for name, attack in ATTACKS.items():
        whole = attack.run(net, X[:6], Y[:6]).detach()
        alone = torch.cat([attack.run(net, X[i : i + 1], Y[i : i + 1]) for i in range(6)]).detach()
        np.testing.assert_allclose(whole, alone, atol=2e-3, err_msg=name)


def test_triples() -> None:
    clf = wrap(fashion_cnn())
    before = state_hash(fashion_cnn())
    versions = adversarial_inputs(clf, [(X, Y)], ATTACKS["bim"])
    assert state_hash(fashion_cnn()) == before
    assert versions.tried == ROWS
    net = fashion_cnn()
    assert (net(versions.clean).argmax(1) == versions.labels).all()
    assert (net(versions.noisy).argmax(1) == versions.labels).all()
    assert (net(versions.adversarial).argmax(1) != versions.labels).all()
    again = adversarial_inputs(clf, [(X, Y)], ATTACKS["bim"])
    assert torch.equal(again.noisy, versions.noisy)
    with pytest.raises(InputError, match="no row is right clean and noisy"):
        adversarial_inputs(clf, [(X[:5], Y[:5])], FGSM(epsilon=1e-6))
    with pytest.raises(InputError, match="needs labelled inputs"):
        adversarial_inputs(clf, [X], FGSM())
    for bad in ({"epsilon": 0.0}, {"low": 1.0, "high": 0.0}):
        with pytest.raises(BadParameter):
            FGSM(**bad)


def test_logistic_regression_against_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 3)) * [1, 50, 0.01] + [5, -100, 0]
    target = (scores @ [1.0, 0.02, 30.0] + rng.normal(size=200) > 3).astype(float)
    weights, intercept = logistic_weights(scores, target, 1.0)
    standard = (scores - scores.mean(0)) / scores.std(0)
    other = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(standard, target)
    np.testing.assert_allclose(weights * scores.std(0), other.coef_[0], rtol=1e-4)
    ours = scores @ weights + intercept
    np.testing.assert_allclose(ours, other.decision_function(standard), rtol=1e-3, atol=1e-4)
    separable, _ = logistic_weights(np.array([[0.0], [0.0], [1.0], [1.0]]),
                                    np.array([0.0, 0, 1, 1]), 1.0)  # fmt: skip
    assert np.isfinite(separable).all()


LAYERS = ("3", "7", "11")
"""The three activations of the shipped network."""


def test_mahalanobis_over_three_layers(capsys: pytest.CaptureFixture[str]) -> None:
    """Penultimate alone, with pre-processing, and the ensemble; whichever wins is printed."""
    clf = wrap(fashion_cnn(), layers=LAYERS)
    rows = 200
    known, odd = fashion_images("id_test"), fashion_images("held_out_classes")
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        labels = torch.from_numpy(file["labels"][2000:4000].astype(np.int64))
    train = clf.outputs([(known[2000:4000], labels)])
    scorers = fit_layers(ood.Mahalanobis(), train)
    assert list(scorers) == [*LAYERS, "features"]
    single = scorers["features"]
    epsilon = 0.002

    def versions(x: Tensor) -> dict[str, ood.Outputs]:
        return {
            name: clf.perturbed(x, scorer, epsilon=epsilon,
                                layer="" if name == "features" else name)
            for name, scorer in scorers.items()
        }  # fmt: skip

    tune_in, tune_out = known[6000 : 6000 + rows], odd[:rows]
    test_in, test_out = known[7000 : 7000 + rows], odd[rows : 2 * rows]
    plain = LayerEnsemble.fit(scorers, clf.outputs(tune_in), clf.outputs(tune_out))
    moved = LayerEnsemble.fit(scorers, versions(tune_in), versions(tune_out))
    attacked = adversarial_inputs(clf, [(tune_in, _labels(6000, rows))], ATTACKS["fgsm"])
    blind = LayerEnsemble.fit(scorers, clf.outputs(attacked.clean),
                              clf.outputs(attacked.adversarial))  # fmt: skip
    x, y = clf.outputs(test_in), clf.outputs(test_out)
    vx, vy = versions(test_in), versions(test_out)
    table = {
        "penultimate": (single.score(x), single.score(y)),
        "penultimate, pre-processed": (single.score(vx["features"]), single.score(vy["features"])),
        "ensemble": (plain.score(x), plain.score(y)),
        "ensemble, pre-processed": (moved.score(vx), moved.score(vy)),
        "ensemble, tuned on attacks": (blind.score(x), blind.score(y)),
    }
    for name, (inside, outside) in table.items():
        area = ood.metrics.auroc(inside, outside)
        low, high = ood.metrics.auroc_interval(inside, outside)
        with capsys.disabled():
            print(f"\n{name}: AUROC {area:.4f} [{low:.4f}, {high:.4f}]", end="")
        assert 0 < area < 1
    raised = single.score(clf.perturbed(test_in[:50], single, epsilon=epsilon))
    assert (raised > single.score(clf.outputs(test_in[:50]))).mean() > 0.9
    with pytest.raises(UnknownName, match="wrap was given the layers 3, 7, 11"):
        clf.perturbed(test_in, single, layer="4")
    with pytest.raises(InputError, match="no layer '3'"):
        plain.score(replace(x, layers={}))


def _labels(start: int, rows: int) -> Tensor:
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        return torch.from_numpy(file["labels"][start : start + rows].astype(np.int64))


def test_the_table_of_attacks(capsys: pytest.CaptureFixture[str]) -> None:
    clf = wrap(fashion_cnn(), layers=LAYERS)
    train = ood.load_benchmark("fashion").train
    scorers = {
        "msp": ood.MSP().fit(), "energy": ood.Energy().fit(),
        "mahalanobis": ood.Mahalanobis().fit(train), "knn": ood.KNN().fit(train),
    }  # fmt: skip
    with capsys.disabled():
        for name, attack in ATTACKS.items():
            versions = adversarial_inputs(clf, [(X, Y)], attack)
            areas = adversarial_auroc(clf, versions, scorers)
            said = "  ".join(f"{method} {area:.3f}" for method, area in areas.items())
            print(f"\n{name:9} {len(versions.labels):4} of {ROWS} rows: {said}", end="")
            assert all(0 <= area <= 1 for area in areas.values())
