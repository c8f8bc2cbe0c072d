"""What the twins of further_head.py find, piece by piece; which way is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import diff, log, mp, mpf  # type: ignore[import-untyped]

from ood_toolkit.outputs import Head, Outputs
from tests.reference.further_head import coverage_edges, nac, openmax, weibull_of
from tests.reference.known import floats


def test_the_weibull_law_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    tail = [0.2, 0.5, 0.9, 1.4, 2.6]
    moved = floats(tail) - 0.2 + 10_000
    law = weibull_of(tail)
    # the likeliest shape: its likelihood is flat there, so compare likelihoods of its neighbours
    shape = float(np.log(np.log(1 - float(law(2.6))) / np.log(1 - float(law(0.2))))) / np.log(
        moved[-1] / moved[0]
    )
    scale = moved[0] / (-np.log(1 - float(law(0.2)))) ** (1 / shape)
    best = stats.weibull_min.logpdf(moved, shape, 0, scale).sum()
    for k, s in ((1.001, 1), (0.999, 1), (1, 1 + 1e-6), (1, 1 - 1e-6)):
        assert stats.weibull_min.logpdf(moved, k * shape, 0, s * scale).sum() < best


def test_the_edges_of_the_coverage_bins() -> None:
    edges = [float(e) for e in coverage_edges(50)]
    assert len(edges) == 50
    assert edges[0] == 0
    assert edges[24] == pytest.approx(0.5, abs=1e-15)
    assert edges[-2:] == pytest.approx([1.01, 1.2])
    assert edges == sorted(edges)
    assert 1 - edges[30] == pytest.approx(edges[18], rel=1e-12)


def test_states_that_training_never_had_are_not_covered() -> None:
    rng = np.random.default_rng(3)
    head = Head(np.eye(2))
    usual = np.vstack(
        [[2.0, 0.1] + 0.1 * rng.random((30, 2)), [0.1, 2.0] + 0.1 * rng.random((30, 2))]
    )
    train = Outputs(features=usual, labels=np.repeat([0, 1], 30), head=head)
    x = Outputs(features=floats([[2.05, 0.15], [0.15, 2.05], [0.9, 0.5], [1.4, 1.2]]), head=head)
    score = nac(x, train, filled=5, steepness=10.0)
    assert score[:2].min() > score[2:].max()


def test_the_gradient_of_nac_needs_no_floor() -> None:
    """Before the logarithm pytorch-ood 0.4.0 adds 1e-12 to p, which takes the gradient away.

    KL(u, p) grows by p_c - 1/C with z_c however sure the prediction is; with a floor it does
    not grow any more once the other probabilities are far below it.
    """

    def divergence(floor: float) -> Callable[[Any], Any]:
        def of_first(z: Any) -> Any:
            total = mp.exp(z) + 1
            return -(log(mp.exp(z) / total + floor) + log(1 / total + floor)) / 2

        return of_first

    with mp.workdps(60):
        assert float(diff(divergence(0), mpf(40))) == pytest.approx(0.5, rel=1e-12)
        assert abs(float(diff(divergence(1e-12), mpf(40)))) < 1e-5
    # Both neurons are driven, so neither state is the 1/2 that a vanished gradient gives.
    head = Head(np.eye(2))
    train = Outputs(features=floats([[40, 1], [1, 40]]), labels=[0, 1], head=head)
    scored = [
        nac(Outputs(features=floats([row]), head=head), train, filled=1, steepness=0.05)[0]
        for row in ([40, 1], [40, 0], [0, 0])
    ]
    assert scored == [1.0, 0.5, 0.0]


def test_openmax_of_a_row_does_not_depend_on_the_others() -> None:
    """In pytorch-ood 0.4.0 it does: a class that no row of the batch favours is at distance 0.

    Its distances are an array of zeros, filled for the classes that are predicted somewhere in
    the batch.  A row alone then has F = 0 for every class but its own.
    """
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(3), 30)
    train = Outputs(logits=rng.normal(size=(90, 3)) + 5 * np.eye(3)[labels], labels=labels)
    x = Outputs(logits=floats([[5, 4.5, 4], [0, 5, 1], [1, 0, 6]]))
    whole = openmax(x, train)
    assert openmax(x.rows(slice(0, 1)), train)[0] == whole[0]
    # The rule with those zeros: only the share of the row's own class reaches the unknown.
    means = {c: train.logits[(labels == c) & (train.logits.argmax(1) == c)] for c in range(3)}
    own = means[0]
    law = weibull_of(sorted(np.linalg.norm(own - own.mean(axis=0), axis=1))[-20:])
    share = 5 * float(law(float(np.linalg.norm(x.logits[0] - own.mean(axis=0)))))
    known = np.exp([5 - share, 4.5, 4]).sum()
    theirs_alone = -np.exp(share) / (np.exp(share) + known)
    assert whole[0] < theirs_alone - 0.01
