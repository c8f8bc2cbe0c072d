"""The chance of randomised sets belongs to the row: alone, in any batch, in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

import ood_toolkit as ood
from ood_toolkit import Outputs
from ood_toolkit.decision import ConformalSets, FittedSets
from ood_toolkit.decision.row_chance import row_chance
from tests.calibration.cases import overconfident
from tests.decision.bands import inside_band, not_above_band

RANDOM: Any = ("aps", "raps", "saps")


def one_by_one(fitted: FittedSets, x: Outputs) -> Any:
    return np.concatenate([fitted.sets(x.rows(np.array([i]))) for i in range(len(x))])


@pytest.mark.parametrize("score", RANDOM)
@pytest.mark.parametrize("classes", [4, 300])
def test_rows_judged_one_at_a_time_have_the_sets_of_the_batch(score: Any, classes: int) -> None:
    x = overconfident(900, seed=40, classes=classes)
    fitted = ConformalSets(0.1, score, seed=3).fit(x)
    assert np.array_equal(one_by_one(fitted, x), fitted.sets(x))
    scores = fitted.rule.scores(x, 3)
    alone = [fitted.rule.scores(x.rows(np.array([i])), 3)[0] for i in range(50)]
    assert np.array_equal(scores[:50], alone)


@pytest.mark.parametrize("score", RANDOM)
def test_rows_in_another_order_have_the_same_sets(score: Any) -> None:
    x = overconfident(500, seed=41)
    order = np.random.default_rng(0).permutation(500)
    fitted = ConformalSets(0.1, score).fit(x)
    assert fitted.quantiles == ConformalSets(0.1, score).fit(x.rows(order)).quantiles
    assert np.array_equal(fitted.sets(x)[order], fitted.sets(x.rows(order)))


@pytest.mark.parametrize("score", RANDOM)
def test_rows_judged_one_at_a_time_are_covered(score: Any) -> None:
    """Each of 1,000 draws of 60 rows covers one new row, judged alone, or does not."""
    n, alpha, draws = 59, 0.1, 1000
    rng = np.random.default_rng(20_251_201)
    x = overconfident(30_000, seed=42, factor=1.5)
    covered = 0
    for i in range(draws):
        drawn = rng.choice(len(x), n + 1, replace=False)
        fitted = ConformalSets(alpha, score, penalty=0.1, rank_free=1, seed=i % 7).fit(
            x.rows(drawn[:n])
        )
        new = x.rows(drawn[n:])
        assert new.labels is not None
        covered += bool(fitted.sets(new)[0, new.labels[0]])
    assert inside_band(covered, 0.9, draws)


@pytest.mark.parametrize("score", RANDOM)
def test_rows_with_the_same_logits_are_covered_too(score: Any) -> None:
    """A population of three different rows: chance is shared, the promise stands."""
    rng = np.random.default_rng(20_251_202)
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    which = rng.integers(0, 3, 60 * 1000).reshape(1000, 60)
    labels = (p[which].cumsum(axis=2) < rng.random((1000, 60, 1))).sum(axis=2)
    missed = 0
    for i, (rows, y) in enumerate(zip(which, labels, strict=True)):
        x = Outputs(logits=np.log(p)[rows], labels=y)
        fitted = ConformalSets(0.2, score, seed=i).fit(x.rows(slice(59)))
        missed += not fitted.sets(x.rows(slice(59, 60)))[0, y[59]]
    assert not_above_band(missed, 0.2, 1000)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("classes", [1, 2, 10, 1000])
def test_the_chance_is_uniform_and_seeds_do_not_resemble_each_other(
    dtype: Any, classes: int
) -> None:
    rng = np.random.default_rng(classes)
    # float16 alone of one class has too few values for so many different rows
    rows = 1000 if classes == 1 else 20_000 if classes < 1000 else 4000
    z = rng.normal(size=(rows, classes)) * 3
    z = z.astype(dtype if classes > 1 else np.float64)
    u = np.array([row_chance(z, seed) for seed in range(6)])
    assert ((u > 0) & (u < 1)).all()
    for one in u:
        assert kstest(one, "uniform").pvalue > 1e-3
    beside = np.corrcoef(u)[np.triu_indices(6, 1)]
    assert np.abs(beside).max() < 4.5 / np.sqrt(rows)
    # nor a row and the one before it, nor the chance and a logit
    assert abs(np.corrcoef(u[0, 1:], u[0, :-1])[0, 1]) < 4.5 / np.sqrt(rows)
    assert abs(np.corrcoef(u[0], z[:, 0].astype(float))[0, 1]) < 4.5 / np.sqrt(rows)


def test_rows_that_differ_little_have_another_chance() -> None:
    """Rows one unit in the last place apart, one-hot rows, and small whole numbers."""
    z = np.full((5000, 3), 1.5)
    z.view(np.int64)[:, 1] += np.arange(5000)
    whole = np.stack(np.meshgrid(*[np.arange(17.0)] * 3), -1).reshape(-1, 3)
    for rows in (z, z.astype(np.float32)[:1], np.eye(1000), whole):
        u = row_chance(rows, 0)
        assert np.unique(u).size == len(u)
        assert len(u) == 1 or kstest(u, "uniform").pvalue > 1e-3


def test_the_type_and_the_sign_of_zero_do_not_matter() -> None:
    z = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    z[:, 2] = 0.0
    z[3, 1] = -np.inf
    u = row_chance(z, 9)
    assert np.array_equal(u, row_chance(z.astype(np.float64), 9))
    z[:, 2] = -0.0
    assert np.array_equal(u, row_chance(z, 9))
    assert np.array_equal(u, row_chance(np.asfortranarray(z), 9))
    assert not np.array_equal(u, row_chance(z, 2**70))
    assert row_chance(z[:0], 0).shape == (0,)


def test_rows_of_a_file_have_the_sets_of_the_array(tmp_path: Path) -> None:
    x = overconfident(3000, seed=43)
    np.save(tmp_path / "logits.npy", np.asarray(x.logits, dtype=np.float32))
    streamed = ood.load(tmp_path / "logits.npy", memory=4 << 30)
    whole = Outputs(logits=np.load(tmp_path / "logits.npy"))
    fitted = ConformalSets(0.1, "aps").fit(x)
    assert np.array_equal(fitted.sets(streamed), fitted.sets(whole))
    assert np.array_equal(fitted.sets(streamed)[:20], one_by_one(fitted, whole.rows(slice(20))))
