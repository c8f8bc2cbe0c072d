"""Which methods differ: corrections, paired tests, and ranks, against outside references."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ood_toolkit as ood
from ood_toolkit.errors import InputError
from ood_toolkit.evaluation import (
    benjamini_hochberg,
    compare_methods,
    compare_scores,
    critical_difference,
    holm,
    rank_methods,
)
from ood_toolkit.evaluation.corrections import adjusted
from ood_toolkit.evaluation.joint_aurocs import tie_runs
from tests.cases import mostly_right
from tests.reference import metrics_reference as slow

SEED = 20_261_122  # fixed before the first run
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_is_the_step_down_rule(p: list[float]) -> None:
    """Reject while the k-th smallest is below level / (m - k + 1); then no more."""
    found = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, i in enumerate(order):
            if not p[i] * (len(p) - rank) < level:
                break
            rejected.add(i)
        assert {i for i in range(len(p)) if found[i] < level} == rejected
    assert (found >= p).all()


def test_equal_p_values_are_their_own_adjusted_values() -> None:
    """Not a last digit larger, which would stand above a level that they are equal to."""
    for n in range(1, 300):
        assert (benjamini_hochberg([0.05] * n) == 0.05).all()


@given(P_VALUES)
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)


def test_corrections_by_hand() -> None:
    p = [[0.01, 0.02], [0.03, 0.5]]
    np.testing.assert_allclose(holm(p), [[0.04, 0.06], [0.06, 0.5]])
    np.testing.assert_allclose(benjamini_hochberg(p), [[0.04, 0.04], [0.04, 0.5]])
    assert holm([]).size == 0
    with pytest.raises(InputError, match=r"p-value 1 is 1\.5"):
        holm([0.1, 1.5])
    with pytest.raises(InputError, match="p-value 0 is nan"):
        benjamini_hochberg([math.nan])
    with pytest.raises(InputError, match="correction is one of holm, bh, got 'none'"):
        adjusted([0.1], "none")


def methods(rng: np.random.Generator, n: int = 40, m: int = 30) -> dict[str, tuple]:
    """Three methods of rounded scores that share their rows' difficulty."""
    inside, outside = rng.normal(1, 1, n), rng.normal(0, 1, m)
    return {
        name: tuple(np.round(x + noise * rng.normal(size=x.size), 1) for x in (inside, outside))
        for name, noise in (("a", 0.1), ("b", 0.5), ("c", 2.0))
    }


@pytest.mark.parametrize("seed", range(5))
def test_covariances_are_delongs_by_plain_loops(seed: int) -> None:
    scores = methods(np.random.default_rng(seed))
    found = compare_scores(scores)
    for (i, x), (j, y) in itertools.product(enumerate(scores), repeat=2):
        expected = slow.delong_covariance(*scores[x], *scores[y])
        assert found.covariance[i, j] == pytest.approx(expected, rel=1e-9)
    p_values = found.p_values("none")
    for (i, x), (j, y) in itertools.combinations(enumerate(scores), 2):
        alone = ood.metrics.auroc_difference(*scores[x], *scores[y])
        assert p_values[i, j] == p_values[j, i] == pytest.approx(alone.p_value, rel=1e-6)
    low, high = found.interval("b")
    assert (low, high) == pytest.approx(ood.metrics.auroc_interval(*scores["b"]), rel=1e-9)
    upper = np.triu_indices(3, 1)
    np.testing.assert_allclose(found.p_values()[upper], holm(p_values[upper]))


def test_the_mean_over_sets_varies_as_resampling_says() -> None:
    """Two sets share their ID rows: the variance of the mean is that of whole redraws."""
    rng = np.random.default_rng(SEED)

    def drawn() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return rng.normal(1.2, 1, 80), {"x": rng.normal(0, 1, 60), "y": rng.normal(0.3, 1, 40)}

    means = []
    for _ in range(4_000):
        inside, sets = drawn()
        means.append(np.mean([ood.metrics.auroc(inside, s) for s in sets.values()]))
    variances = []
    for _ in range(200):
        inside, sets = drawn()
        found = compare_methods(
            ["a"], lambda n, i=inside: i, lambda n, key, s=sets: s[key], {"all": ["x", "y"]}
        )
        variances.append(found.groups["all"].covariance[0, 0])
    # a variance of 4,000 draws has a relative error of 2.2 %, the mean of 200 about 1 %
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.1)


def test_a_method_ties_with_its_like() -> None:
    scores = methods(np.random.default_rng(3), 400, 300)
    doubled = {**scores, "a2": tuple(2 * s + 1 for s in scores["a"])}
    found = compare_scores(doubled)
    k = [found.methods.index(name) for name in ("a", "a2")]
    assert found.p_values()[k[0], k[1]] == 1.0
    document = found.to_json()
    assert document["methods"][-1] == "c"
    assert set(document["tied_with_best"]) >= {"a", "a2"}
    assert "c" not in document["tied_with_best"]
    assert document["p_best"][0] == 1.0
    assert any({"a", "a2"} <= set(group) for group in document["tie_groups"])


def test_tie_runs_are_the_longest() -> None:
    p = np.ones((4, 4))
    assert tie_runs(p, 0.05) == [(0, 4)]
    p[0, 1:] = p[1:, 0] = 0.0
    assert tie_runs(p, 0.05) == [(1, 4)]
    assert tie_runs(np.eye(3), 0.05) == []
    assert tie_runs(np.ones((0, 0)), 0.05) == []


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="the same rows in the same order"):
        compare_scores({"a": ([1.0, 2.0], [0.0, 1.0]), "b": ([1.0, 2.0], [0.0])})
    with pytest.raises(InputError, match="at least two rows"):
        compare_scores({"a": ([1.0], [0.0, 1.0]), "b": ([1.0], [0.0, 2.0])})
    with pytest.raises(InputError, match="no OOD scores"):
        compare_scores({"a": ([1.0], []), "b": ([1.0], [])})
    with pytest.raises(InputError, match="ID score 1 is NaN"):
        compare_scores({"a": ([1.0, math.nan], [0.0, 1.0])})


def test_the_family_wise_error_is_kept() -> None:
    """Five equally good methods: in at most 5 % of runs does any pair differ."""
    rng, runs, alarms = np.random.default_rng(SEED), 1_000, 0
    for _ in range(runs):
        inside, outside = rng.normal(1, 1, 150), rng.normal(0, 1, 150)
        noisy = {
            str(k): (inside + rng.normal(size=150), outside + rng.normal(size=150))
            for k in range(5)
        }
        p_values = compare_scores(noisy).p_values()
        alarms += bool((p_values < 0.05).any())
    assert alarms / runs <= 0.05 + 2.576 * math.sqrt(0.05 * 0.95 / runs)


def test_an_evaluation_is_compared_on_every_set_and_group() -> None:
    train, test = mostly_right(100, seed=1), mostly_right(60, seed=2)
    sets = {"far/x": mostly_right(50, seed=3, spread=0.2), "far/y": mostly_right(40, seed=4),
            "near/z": mostly_right(30, seed=5, spread=0.6)}  # fmt: skip
    arguments = {"id": test, "ood": sets, "train": train, "bootstrap": 0}
    result = ood.evaluate(["energy", "msp", "knn"], **arguments)
    document = result.to_json()["comparisons"]
    assert (document["test"], document["correction"]) == ("paired DeLong", "holm")
    places = [(t.get("ood"), t.get("group")) for t in document["tables"]]
    assert places == [("x", None), ("y", None), ("z", None),
                      (None, "far"), (None, "near"), (None, "all")]  # fmt: skip
    for r in result.results:
        assert result.comparison.sets[r.ood].interval(r.method) == pytest.approx(r.auroc_ci)
    for mean in result.means():
        joint = result.comparison.groups[mean["group"]]
        assert joint.aurocs[joint.methods.index(mean["method"])] == pytest.approx(mean["auroc"])
        low, high = mean["auroc_ci"]
        assert low < mean["auroc"] < high
    alone = ood.evaluate("energy", **arguments)
    assert alone.means()[0]["auroc_ci"] == pytest.approx(result.means()[0]["auroc_ci"])
    assert alone.to_json()["comparisons"]["tables"][0]["tied_with_best"] == ["energy"]
    assert ood.evaluate(["energy", "msp"], compare=False, **arguments).comparison is None
    with pytest.warns(ood.ToolkitWarning, match="not tested against each other: it would take"):
        assert ood.evaluate(["energy", "msp"], memory=100, **arguments).comparison is None


# Demšar, JMLR 2006: critical values of table 5 (a), and the mean ranks of the example
Q_05 = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("count", Q_05)
def test_critical_differences_are_those_in_print(count: int) -> None:
    expected = Q_05[count] * math.sqrt(count * (count + 1) / (6 * 14))
    assert critical_difference(count, 14) == pytest.approx(expected, abs=1e-3)


def test_ranks_are_scipys() -> None:
    rng = np.random.default_rng(2)
    figures = {
        name: np.round(rng.normal(mean, 0.05, 12), 2)
        for name, mean in (("a", 0.9), ("b", 0.89), ("c", 0.7))
    }
    found = rank_methods(figures)
    expected = stats.rankdata(-np.array([figures[n] for n in found.methods]), axis=0).mean(axis=1)
    np.testing.assert_allclose(found.mean_ranks, expected)
    assert found.friedman == stats.friedmanchisquare(*figures.values()).pvalue
    np.testing.assert_allclose(found.mean_ranks.sum(), 6)
    apart = np.abs(found.mean_ranks[:, None] - found.mean_ranks) > found.critical_difference
    np.testing.assert_array_equal(found.p_values < 0.05, apart)
    assert found.methods[-1] == "c"
    reverse = rank_methods(figures, larger_is_better=False)
    assert reverse.methods[0] == "c"
    assert found.to_json()["sets"] == 12


def test_signed_ranks_are_scipys() -> None:
    rng = np.random.default_rng(4)
    figures = {
        name: rng.normal(mean, 0.05, 10) for name, mean in (("a", 0.9), ("b", 0.8), ("c", 0.8))
    }
    found = rank_methods(figures, test="wilcoxon")
    ordered = [figures[name] for name in found.methods]
    raw = [stats.wilcoxon(ordered[i], ordered[j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.p_values[np.triu_indices(3, 1)], holm(raw))
    assert found.critical_difference is None


def test_ranks_of_equal_methods() -> None:
    same = [0.8, 0.7, 0.9]
    for test in ("nemenyi", "wilcoxon"):
        found = rank_methods({"a": same, "b": same, "c": same}, test=test)
        assert found.friedman == 1.0
        assert found.groups == (("a", "b", "c"),)
        np.testing.assert_array_equal(found.mean_ranks, [2, 2, 2])


@pytest.mark.parametrize(
    ("figures", "options", "words"),
    [
        ({"a": [1.0, 2.0]}, {}, "two methods or more"),
        ({"a": [1.0], "b": [2.0]}, {}, "two or more data sets"),
        ({"a": [1.0, 2.0], "b": [2.0]}, {}, "the same two"),
        ({"a": [1.0, math.nan], "b": [2.0, 1.0]}, {}, "NaN"),
        ({"a": [1.0, 2.0], "b": [2.0, 1.0]}, {"test": "t"}, "test is one of nemenyi, wilcoxon"),
        ({"a": [1.0, 2.0], "b": [2.0, 1.0]}, {"level": 0.0}, "level in"),
    ],
)
def test_what_cannot_be_ranked_is_refused(figures: dict, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rank_methods(figures, **options)
