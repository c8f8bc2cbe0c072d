"""New classes, and energy-bounded fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ood_toolkit as ood
from ood_toolkit.errors import BadParameter, InputError
from ood_toolkit.models import wrap
from ood_toolkit.models.finetuning import finetune_energy, midpoints
from ood_toolkit.models.incremental import IncrementalClassifier, accuracy_as_it_grows
from tests.models.networks import DATA, fashion_cnn, fashion_images, state_hash

FIRST = ood.Outputs(
    features=np.array([[0.0, 0], [2, 0], [0, 2], [2, 2], [6, 4], [8, 4], [6, 6], [8, 8]]),
    labels=[0] * 4 + [1] * 4,
)
NEW = ood.Outputs(features=np.array([[0.0, 10], [2, 10], [0, 12], [2, 12]]))


def test_a_new_class_by_hand() -> None:
    grown = IncrementalClassifier.fit(FIRST).with_class(NEW)
    np.testing.assert_allclose(grown.means[2], [1, 11])
    np.testing.assert_allclose(grown.covariance, [[1, 1 / 6], [1 / 6, 1.58333333333]], atol=1e-11)
    away = np.array([4.0, 3.0]) - grown.means
    expected = np.einsum("cd,de,ce->c", away, np.linalg.inv(grown.covariance), away)
    got = grown.distances(ood.Outputs(features=np.array([[4.0, 3.0]])))
    np.testing.assert_allclose(got[0], expected)


def test_pooling_rows_is_fitting_all_at_once() -> None:
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(120, 6)), np.arange(120) % 4
    f += 2 * rng.normal(size=(4, 6))[y]
    known = IncrementalClassifier.fit(ood.Outputs(features=f[y < 2], labels=y[y < 2]))
    for c in (2, 3):
        known = known.with_class(ood.Outputs(features=f[y == c]), pool="rows")
    whole = IncrementalClassifier.fit(ood.Outputs(features=f, labels=y))
    np.testing.assert_allclose(known.means, whole.means, atol=1e-12)
    np.testing.assert_allclose(known.covariance, whole.covariance, atol=1e-12)
    x = ood.Outputs(features=f)
    np.testing.assert_allclose(
        -known.distances(x).min(1), ood.Mahalanobis().fit(
            ood.Outputs(features=f, labels=y)).score(x), rtol=1e-8)  # fmt: skip


def test_accuracy_as_classes_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    """Classes 5, 6 and 7 of the shipped network are taught to a classifier of the others."""
    benchmark = ood.load_benchmark("fashion")
    labels = benchmark.train.labels
    assert labels is not None
    known = IncrementalClassifier.fit(benchmark.train.rows(labels < 5))
    new = [benchmark.train.rows(labels == c) for c in (5, 6, 7)]
    curve = accuracy_as_it_grows(known, new, benchmark.id)
    with capsys.disabled():
        print("\n" + ", ".join(f"{c} classes {a:.4f}" for c, a in curve), end="")
    assert [c for c, _ in curve] == [5, 6, 7, 8]
    assert curve[-1][1] > 0.9
    with pytest.raises(InputError, match="have 2 columns, but the classifier was fitted on 64"):
        known.with_class(NEW)
    with pytest.raises(InputError, match="at least one row"):
        known.with_class(ood.Outputs(features=np.zeros((0, 64))))


def set_of(start: int, rows: int) -> Any:
    with np.load(DATA / "fashion" / "id_test.npz") as file:
        labels = torch.from_numpy(file["labels"][start : start + rows].astype(np.int64))
    x = fashion_images("id_test")[start : start + rows]
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=128)


@pytest.mark.parametrize("head_only", [True, False])
def test_fine_tuning_parts_the_energies(head_only: bool) -> None:
    net = fashion_cnn()
    before = state_hash(net)
    states = torch.get_rng_state()
    clf = wrap(net)
    loader, validation = set_of(0, 256), set_of(2000, 250)
    outliers = fashion_images("noise")[:256]
    done = finetune_energy(
        clf, loader, validation=validation, outliers=outliers, epochs=2, rate=2e-3,
        head_only=head_only, tolerance=0.03,
    )  # fmt: skip
    assert state_hash(net) == before
    assert torch.equal(torch.get_rng_state(), states)
    assert [step.epoch for step in done.curve] == [0, 1, 2]
    first, last = done.curve[0], done.curve[-1]
    assert done.known_margin < first.known_energy
    assert done.outlier_margin == first.outlier_energy
    gap = [step.outlier_energy - step.known_energy for step in done.curve]
    assert gap[-1] > gap[0]
    assert last.accuracy >= first.accuracy - 0.03
    changed = [n for n, p in done.model.named_parameters()
               if not torch.equal(p, dict(net.named_parameters())[n])]  # fmt: skip
    assert (changed == ["15.weight", "15.bias"]) == head_only
    again = finetune_energy(
        clf, loader, validation=validation, outliers=outliers, epochs=2, rate=2e-3,
        head_only=head_only, tolerance=0.03,
    )  # fmt: skip
    assert again.curve == done.curve
    x = wrap(done.model).outputs(fashion_images("id_test")[:200])
    odd = wrap(done.model).outputs(outliers[:200])
    energies = ood.Energy().fit()
    assert energies.score(x).mean() - energies.score(odd).mean() > gap[0]


def test_the_first_step_is_the_papers_loss() -> None:
    """One full batch, head only: the gradient is that of the loss written out."""
    clf = wrap(fashion_cnn())
    loader = set_of(0, 100)
    odd = fashion_images("noise")[:100]
    done = finetune_energy(
        clf, loader, validation=loader, outliers=odd, margins=(-12.0, -6.0), epochs=1, rate=1e-4,
        weight=0.5, tolerance=1.0,
    )  # fmt: skip
    head = clf.head
    assert head is not None
    weight = torch.tensor(head.weight, requires_grad=True)
    x, y = next(iter(loader))
    f, g = (torch.from_numpy(np.asarray(clf.outputs(v).features)) for v in (x, odd))
    z, u = f @ weight.T + torch.from_numpy(head.bias), g @ weight.T + torch.from_numpy(head.bias)
    inside, outside = -z.logsumexp(1), -u.logsumexp(1)
    loss = torch.nn.functional.cross_entropy(z, y) + 0.5 * (
        torch.relu(inside + 12).pow(2).mean() + torch.relu(-6 - outside).pow(2).mean()
    )
    (gradient,) = torch.autograd.grad(loss, weight)
    gradient = gradient + 5e-4 * weight.detach()
    expected = weight.detach() - 1e-4 * 1.9 * gradient  # Nesterov's first step
    found = done.model.get_submodule("15").weight.detach()  # type: ignore[union-attr]
    np.testing.assert_allclose(found, expected, atol=2e-7)


def test_refusals() -> None:
    clf, loader = wrap(fashion_cnn()), set_of(0, 256)
    noise = fashion_images("noise")[:256]
    with pytest.raises(InputError, match=r"accuracy fell from 0\.\d+ to 0\.\d+ in epoch 1"):
        finetune_energy(clf, loader, validation=loader, outliers=noise, rate=5.0, epochs=2)
    with pytest.raises(InputError, match=r"energy, .* is not above that of known rows"):
        finetune_energy(clf, loader, validation=loader, outliers=[next(iter(loader))[0]],
                        margins=(-3.0, -5.0))  # fmt: skip
    with pytest.raises(BadParameter):
        finetune_energy(clf, loader, validation=loader, epochs=0)
    with pytest.raises(InputError, match="labelled inputs"):
        finetune_energy(clf, [noise], validation=[noise])


def test_outliers_made_of_known_rows() -> None:
    x = torch.tensor([[0.0], [2.0], [10.0], [20.0]])
    mixed = midpoints(x, torch.tensor([0, 0, 1, 1]))
    assert mixed[:, 0].tolist() == [5.0, 6.0, 5.0, 10.0]
    with pytest.raises(InputError, match="of one class"):
        midpoints(x, torch.zeros(4).long())
    clf, loader = wrap(fashion_cnn()), set_of(0, 256)
    done = finetune_energy(clf, loader, validation=loader, epochs=1, tolerance=0.05)
    assert done.outlier_margin > done.known_margin


def test_the_shipped_networks_head_is_where_the_tests_say() -> None:
    facts = json.loads(Path(DATA / "manifest.json").read_text())["benchmarks"]["fashion"]["model"]
    assert facts["layers"][15][0] == "linear"
