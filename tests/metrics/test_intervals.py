"""Intervals and the paired test: formulas by plain loops, and coverage by simulation."""

from __future__ import annotations

import math
import operator
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from ood_toolkit import metrics
from ood_toolkit.errors import InputError, ToolkitWarning, UnknownName
from ood_toolkit.kernels.resampling import count_draws
from ood_toolkit.metrics import FPR_RULES, Ranking
from ood_toolkit.metrics.fpr_among_ties import ties_are_wide, ties_decide
from ood_toolkit.metrics.ranking_bootstrap import bootstrap_states, drawn_areas
from ood_toolkit.metrics.student import student_quantile, student_two_sided
from ood_toolkit.metrics.tied_thresholds import tied_p_value
from tests.metrics.score_strategies import compiled, scores
from tests.reference import metrics_reference as slow

SEED = 20_240_607  # fixed before the first run
TIED = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])


@compiled
@given(st.tuples(scores(TIED), scores(TIED)))
def test_delong_interval_is_one_of_students_t_on_the_logit_scale(pair):
    if min(map(len, pair)) < 2:
        with pytest.warns(ToolkitWarning, match="fewer than two"):
            assert all(map(math.isnan, metrics.auroc_interval(*pair)))
        return
    low, high = metrics.auroc_interval(*pair, level=0.9)
    auroc, variance = slow.auroc(*pair), slow.delong_variance(*pair)
    if auroc in (0.0, 1.0):
        reach = 1 - 0.05 ** (1 / min(map(len, pair)))
        ends = (0.0, reach) if auroc == 0.0 else (1 - reach, 1.0)
        assert (low, high) == pytest.approx(ends)
        return
    if variance < 1e-20:
        assert low == pytest.approx(auroc) == high
        return
    times = student_quantile(0.9, slow.delong_freedom(*pair))
    for end, side in ((low, -1), (high, 1)):
        about = math.log(auroc / (1 - auroc))
        logit = about + side * times * math.sqrt(variance) / (auroc * (1 - auroc))
        assert end == pytest.approx(1 / (1 + math.exp(-max(-700.0, logit))), rel=1e-6, abs=1e-9)


@compiled
@given(st.data())
def test_paired_difference(data):
    n, m = data.draw(st.integers(2, 12)), data.draw(st.integers(2, 12))
    a_id, a_ood, b_id, b_ood = (
        data.draw(st.lists(TIED, min_size=size, max_size=size)) for size in (n, m, n, m)
    )
    found = metrics.auroc_difference(a_id, a_ood, b_id, b_ood)
    difference = slow.auroc(a_id, a_ood) - slow.auroc(b_id, b_ood)
    variance = (
        slow.delong_variance(a_id, a_ood)
        + slow.delong_variance(b_id, b_ood)
        - 2 * slow.delong_covariance(a_id, a_ood, b_id, b_ood)
    )
    assert found.difference == pytest.approx(difference, abs=1e-12)
    reach = NormalDist().inv_cdf(0.975) * math.sqrt(max(variance, 0.0))
    assert found.interval.high - found.interval.low == pytest.approx(2 * reach, abs=1e-7)
    if variance > 1e-12:
        z = abs(difference) / math.sqrt(variance)
        assert found.p_value == pytest.approx(2 * NormalDist().cdf(-z), abs=1e-9)


def test_a_method_does_not_differ_from_itself():
    id_scores, ood_scores = [0.9, 0.8, 0.3, 0.8], [0.1, 0.4, 0.8]
    found = metrics.auroc_difference(id_scores, ood_scores, id_scores, ood_scores)
    assert found == (0.0, (0.0, 0.0), 1.0)
    # ranks are what counts
    squared = [s * s for s in id_scores], [s * s for s in ood_scores]
    assert metrics.auroc_difference(id_scores, ood_scores, *squared).p_value == 1.0
    found = metrics.auroc_difference([3.0, 2.0], [1.0, 0.0], [0.0, 1.0], [2.0, 3.0])
    assert found == (1.0, (1.0, 1.0), 0.0)


def test_paired_difference_needs_the_same_rows():
    with pytest.raises(InputError, match="must score the same rows"):
        metrics.auroc_difference([1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [0.0])
    with pytest.warns(ToolkitWarning, match="fewer than two"):
        assert math.isnan(metrics.auroc_difference([1.0], [0.0], [1.0], [0.0]).p_value)


def band(rate, runs):
    """99 % band of a share of `runs` with true rate `rate`."""
    reach = NormalDist().inv_cdf(0.995) * math.sqrt(rate * (1 - rate) / runs)
    return rate - reach, rate + reach


def test_delong_covers():
    rng, runs, hits = np.random.default_rng(SEED), 2_000, 0
    true = NormalDist().cdf(1 / math.sqrt(2))
    for _ in range(runs):
        low, high = metrics.auroc_interval(rng.normal(1, 1, 150), rng.normal(0, 1, 150))
        hits += low <= true <= high
    low, high = band(0.95, runs)
    assert low <= hits / runs <= high


def test_paired_test_keeps_its_level():
    rng, runs, alarms = np.random.default_rng(SEED), 2_000, 0
    for _ in range(runs):
        shared = rng.normal(size=200) + np.repeat([1.0, 0.0], 100)
        a, b = shared + rng.normal(size=200), shared + rng.normal(size=200)
        alarms += metrics.auroc_difference(a[:100], a[100:], b[:100], b[100:]).p_value < 0.05
    low, high = band(0.05, runs)
    assert low <= alarms / runs <= high


def test_resampled_areas_are_those_of_resampling_and_scoring_anew():
    rng = np.random.default_rng(SEED)
    id_scores, ood_scores = np.round(rng.normal(1, 1, 400), 2), np.round(rng.normal(0, 1, 300), 2)
    runs = 4_000
    (found,) = drawn_areas([Ranking.of(id_scores, ood_scores)], bootstrap_states(runs, 0), "step")
    anew = []
    for _ in range(runs):
        drawn = Ranking.of(rng.choice(id_scores, 400), rng.choice(ood_scores, 300))
        anew.append((drawn.auroc(), drawn.aupr_in(), drawn.aupr_out()))
    spread = np.std(anew, axis=0)
    # standard errors of 4,000 draws, in deviations, and of the difference of two such figures
    for figure, error in ((np.mean, 0.016), (lambda x, axis: np.percentile(x, 2.5, axis), 0.042)):
        apart = np.abs(figure(found, axis=0) - figure(anew, axis=0))
        assert np.all(apart < 4 * math.sqrt(2) * error * spread)
    assert np.std(found, axis=0) == pytest.approx(spread, rel=4 / math.sqrt(runs))


def test_bootstrap_covers():
    rng, runs = np.random.default_rng(SEED), 300
    true, hits = NormalDist().cdf(1 / math.sqrt(2)), 0
    for run in range(runs):
        ranking = Ranking.of(rng.normal(1, 1, 200), rng.normal(0, 1, 200))
        low, high = metrics.bootstrap_intervals(ranking, resamples=300, seed=run)["auroc"]
        hits += low <= true <= high
    low, high = band(0.95, runs)
    assert low <= hits / runs <= high


@pytest.mark.parametrize("rule", FPR_RULES)
@pytest.mark.parametrize("estimator", ["step", "trapezoid"])
def test_bootstrap_has_the_same_bits_with_any_number_of_threads(monkeypatch, rule, estimator):
    rng = np.random.default_rng(1)
    ranking = Ranking.of(rng.normal(1, 1, 20_000), rng.normal(0, 1, 500))
    found = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OOD_TOOLKIT_THREADS", threads)
        found.append(
            metrics.bootstrap_intervals(ranking, 40, seed=7, rule=rule, estimator=estimator)
        )
    assert found[0] == found[1] == found[2]
    assert metrics.bootstrap_intervals(ranking, 40, seed=8, rule=rule) != found[0]
    low, high = found[0]["fpr"]
    assert low <= ranking.fpr_at_tpr(rule=rule) <= high
    low, high = found[0]["aupr_in"]
    assert low <= ranking.aupr_in(estimator) <= high


def test_resampled_thresholds_are_those_drawn():
    ranking = Ranking.of([3.0, 2.0, 2.0, 1.0], [2.0, 0.5, 0.5])
    for state in range(50):
        drawn = ranking.resampled(state)
        assert drawn.thresholds.size == drawn.id_at_or_above.size
        assert set(drawn.thresholds) <= set(ranking.thresholds)
        assert (drawn.n_id, drawn.n_ood) == (4, 3)


def test_bootstrap_says_where_it_has_no_answer():
    with pytest.warns(ToolkitWarning, match="there are no OOD scores"):
        found = metrics.bootstrap_intervals(Ranking.of([1.0], []))
    assert all(math.isnan(end) for interval in found.values() for end in interval)
    few = Ranking.of([3.0, 2.0, 1.0], [0.0, 1.5])
    with pytest.warns(ToolkitWarning, match="interval of the FPR is NaN"):
        found = metrics.bootstrap_intervals(few, 20, rule="odin")
    assert math.isnan(found["fpr"].low)
    assert not math.isnan(found["auroc"].low)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"resamples": 0}, InputError, "resamples is 0"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"level": 1.0}, InputError, "level is 1.0"),
        ({"tpr": 0.0}, InputError, "tpr"),
        ({"rule": "ood"}, UnknownName, "FPR rule"),
        ({"estimator": "steps"}, UnknownName, "AUPR estimator"),
    ],
)
def test_bootstrap_refuses(arguments, error, match):
    with pytest.raises(error, match=match):
        metrics.bootstrap_intervals(Ranking.of(np.arange(50.0), [0.0, 1.5]), **arguments)


@pytest.mark.parametrize("estimator", ["step", "trapezoid"])
def test_bootstrap_of_areas_is_students_t_on_the_logit_scale(estimator):
    """Less the bias of figures scored anew, with the deviation of influences by differences."""
    rng, lines = np.random.default_rng(SEED), estimator == "trapezoid"
    id_scores, ood_scores = np.round(rng.normal(1.5, 1, 60), 1), np.round(rng.normal(0, 1, 45), 1)
    ranking = Ranking.of(id_scores, ood_scores)
    found = metrics.bootstrap_intervals(ranking, 300, seed=4, level=0.9, estimator=estimator)
    states = np.random.SeedSequence(4).generate_state(300, np.uint64)
    drawn = [ranking.resampled(int(state)) for state in states]
    influences = {
        "auroc": slow.placements(id_scores, ood_scores),
        "aupr_in": slow.precision_influences(id_scores, ood_scores, lines=lines),
        "aupr_out": slow.precision_influences(-ood_scores, -id_scores, lines=lines),
    }
    for name, pulls in influences.items():
        measure = operator.methodcaller(name, *([] if name == "auroc" else [estimator]))
        area, values = measure(ranking), np.array([measure(one) for one in drawn])
        middle = 2 * math.log(area / (1 - area)) - np.log(values / (1 - values)).mean()
        reach = student_quantile(0.9, slow.freedom(*pulls)) * math.sqrt(slow.variance(*pulls))
        reach /= area * (1 - area)
        expected = [1 / (1 + math.exp(-(middle + side * reach))) for side in (-1, 1)]
        assert found[name] == pytest.approx(expected, rel=1e-6)
    assert found["fpr"] == metrics.fpr_interval(ranking, 0.9)


def wrong_share(rows):
    """A share of rows on the wrong side that a sample misses with probability 2.5 %."""
    return 1 - 0.025 ** (1 / rows)


def test_areas_of_sets_that_do_not_overlap_go_down_to_what_such_sets_can_miss():
    found = metrics.bootstrap_intervals(Ranking.of(np.arange(2.0, 52.0), [0.0, 1.0]), 20)
    assert found["auroc"] == pytest.approx((1 - wrong_share(2), 1.0))
    # the curve's precision at every recall, by a sum: one share of either set on the wrong side
    recall = (np.arange(100_000) + 0.5) / 100_000
    for name, hits, misses in (("aupr_in", 50, 2), ("aupr_out", 2, 50)):
        called = {
            "above": misses * wrong_share(misses),
            "below": misses * (recall > 1 - wrong_share(hits)),
        }
        least = min(np.mean(hits * recall / (hits * recall + f)) for f in called.values())
        assert found[name] == pytest.approx((least, 1.0), abs=1e-5)
    reversed_sets = Ranking.of(np.arange(2.0), np.arange(2.0, 52.0))
    assert metrics.delong_interval(reversed_sets) == pytest.approx((0.0, wrong_share(2)))


@pytest.mark.parametrize("wrong", ["id", "ood"])
def test_the_interval_of_sets_that_do_not_overlap_seldom_lies_above_the_truth(wrong):
    """With a share on the wrong side just above what a sample misses so often: the worst case."""
    rng, runs, apart, rows = np.random.default_rng(SEED), 2_000, 0, 30
    share = 1.02 * wrong_share(rows)
    for _ in range(runs):
        inside, outside = rng.uniform(1, 2, rows), rng.uniform(0, 1, rows)
        strays = rng.random(rows) < share
        if wrong == "id":
            inside[strays] = -1.0
        else:
            outside[strays] = 3.0
        if not strays.any():
            apart += metrics.auroc_interval(inside, outside).low > 1 - share
    low, high = band(0.025, runs)
    assert low / 1.5 < apart / runs <= high


def drawn_rows(state, *sizes):
    """Which rows of each set a state draws."""
    found = []
    with np.errstate(over="ignore"):  # 64-bit wrapping is meant
        for size in sizes:
            times = np.zeros(size, np.uint8)
            state = np.uint64(count_draws(np.uint64(state), times))
            found.append(np.repeat(np.arange(size), times))
    return found


def paired(noise, n=300, m=200):
    rng = np.random.default_rng(SEED)
    inside, outside = rng.normal(1.5, 1, n), rng.normal(0, 1, m)
    worse = (inside + noise * rng.normal(size=n), outside + noise * rng.normal(size=m))
    return {"a": (inside, outside), "b": worse}


@pytest.mark.parametrize("metric", ["auroc", "aupr_in", "aupr_out"])
def test_paired_bootstrap_has_the_bias_and_deviation_of_drawing_the_rows(metric):
    methods, runs = paired(1.0), 3_000
    found = metrics.bootstrap_differences(methods, "a", metric, resamples=runs)["b"]
    rng = np.random.default_rng(1)
    measure = operator.methodcaller(metric)
    anew = []
    for _ in range(runs):
        rows = rng.integers(0, 300, 300), rng.integers(0, 200, 200)
        both = [measure(Ranking.of(i[rows[0]], o[rows[1]])) for i, o in methods.values()]
        anew.append(both[1] - both[0])
    own = [measure(Ranking.of(*pair)) for pair in methods.values()]
    assert found.difference == pytest.approx(own[1] - own[0], abs=1e-12)
    middle, reach = 2 * found.difference - np.mean(anew), 1.97 * np.std(anew)
    # a mean of 3,000 draws has a standard error of 0.018 deviations, a deviation one of 0.013
    slack = (4 * 0.018 * math.sqrt(2) + 4 * 0.013 * 1.97) * np.std(anew)
    assert found.interval == pytest.approx((middle - reach, middle + reach), abs=slack)


@pytest.mark.parametrize("estimator", ["step", "trapezoid"])
@pytest.mark.parametrize("metric", ["auroc", "aupr_in", "aupr_out"])
def test_paired_bootstrap_is_students_t_of_influences_by_differences(metric, estimator):
    methods = {
        name: [np.round(scores, 1) for scores in pair] for name, pair in paired(0.5, 40, 30).items()
    }
    found = metrics.bootstrap_differences(
        methods, "a", metric, resamples=200, seed=3, level=0.9, estimator=estimator
    )["b"]
    measure = operator.methodcaller(metric, *([] if metric == "auroc" else [estimator]))
    states = np.random.SeedSequence(3).generate_state(200, np.uint64)
    draws = [drawn_rows(int(state), 40, 30) for state in states]
    sides = []
    for inside, outside in (methods["b"], methods["a"]):
        area = measure(Ranking.of(inside, outside))
        values = np.array([measure(Ranking.of(inside[i], outside[j])) for i, j in draws])
        if metric == "auroc":
            pulls = slow.placements(inside, outside)
        elif metric == "aupr_in":
            pulls = slow.precision_influences(inside, outside, lines=estimator == "trapezoid")
        else:
            pulls = slow.precision_influences(-outside, -inside, lines=estimator == "trapezoid")
            pulls.reverse()
        sides.append((area, values, [np.array(side) for side in pulls]))
    (one, of_one, pulls), (other, of_other, other_pulls) = sides
    apart = [a - b for a, b in zip(pulls, other_pulls, strict=True)]
    middle = 2 * (one - other) - (of_one - of_other).mean()
    reach = student_quantile(0.9, slow.freedom(*apart)) * math.sqrt(slow.variance(*apart))
    assert found.interval == pytest.approx((middle - reach, middle + reach), rel=1e-6)
    logits = [2 * math.log(a / (1 - a)) - np.log(v / (1 - v)).mean() for a, v, _ in sides]
    slopes = [1 / (area * (1 - area)) for area, _, _ in sides]
    apart = [slopes[0] * a - slopes[1] * b for a, b in zip(pulls, other_pulls, strict=True)]
    t = (logits[0] - logits[1]) / math.sqrt(slow.variance(*apart))
    assert found.p_value == pytest.approx(student_two_sided(t, slow.freedom(*apart)), rel=1e-5)


def test_paired_bootstrap_of_a_method_with_itself():
    methods = {"a": paired(1.0)["a"], "same": tuple(3 * s for s in paired(1.0)["a"])}
    for metric in ("auroc", "fpr", "aupr_in", "aupr_out"):
        found = metrics.bootstrap_differences(methods, "a", metric, resamples=50)["same"]
        assert found == (0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("rule", ["id_positive", "ood_positive"])
def test_the_paired_test_of_the_fpr_has_the_deviation_of_drawing_anew(rule):
    """Of new rows of the same law, at a difference; to the noise of the slopes."""
    rng, found, errors = np.random.default_rng(SEED), [], []
    for _ in range(200):
        inside, outside = rng.normal(1.5, 1, 800), rng.normal(0, 1, 800)
        worse = inside + rng.normal(size=800), outside + rng.normal(size=800)
        one = metrics.bootstrap_differences({"a": (inside, outside), "b": worse}, "a", rule=rule)
        found.append(one["b"].difference)
        errors.append((one["b"].interval.high - one["b"].interval.low) / 2 / 1.959964)
    assert np.mean(errors) == pytest.approx(np.std(found, ddof=1), rel=4 / math.sqrt(400))


@pytest.mark.parametrize(("step", "wide"), [(0.3, False), (1.5, True)])
def test_the_paired_test_of_the_fpr_among_ties_is_that_of_two_tables(step, wide):
    rng = np.random.default_rng(SEED)
    beyond_one = 0
    for _ in range(4):
        shared = [rng.normal(size=n) for n in (120, 50)]
        methods = {
            name: tuple(np.round((s + rng.normal(size=s.size) + shift) / step) * step
                        for s, shift in zip(shared, (2.0, 0.0), strict=True))
            for name in "ab"
        }  # fmt: skip
        curves = [metrics.Ranking.of(*methods[name]).id_at_or_above for name in "ab"]
        assert any(ties_decide(curve, 0.95) for curve in curves)
        assert all(ties_are_wide(curve, 0.95) for curve in curves) is wide
        pairs = slow.deviances_of_tables(methods["a"], methods["b"], 0.95)
        if wide:
            each = [
                min(2 * chi2.sf(used, bound) if bound else 1.0, chi2.sf(against, 1))
                for against, used, bound in pairs
            ]
            beyond_one += sum(p > 0.01 for p in each) > 1
            expected = max(each)
        else:
            beyond_one += 1
            expected = chi2.sf(min(against + used for against, used, _ in pairs), 1)
        found = metrics.bootstrap_differences(methods, "b")["a"]
        assert found.p_value == pytest.approx(expected, rel=1e-6)
        low, high = found.interval
        assert low <= found.difference <= high
        assert (found.p_value >= 0.05) == (low <= 0.0 <= high)
    assert beyond_one  # or one pair of thresholds was all there was


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_the_paired_interval_among_ties_holds_all_differences_not_ruled_out(step):
    """Many negatives: what two groups show is far apart against its error, nothing between."""
    rng = np.random.default_rng(SEED)
    apart = 0
    for _ in range(6):
        shared = [rng.normal(size=n) for n in (100, 3000)]
        a, b = (
            tuple(np.round((s + 0.7 * rng.normal(size=s.size) + shift) / step) * step
                  for s, shift in zip(shared, (2.0, 0.0), strict=True))
            for _ in range(2)
        )  # fmt: skip
        curves = [metrics.Ranking.of(*scores).id_at_or_above for scores in (a, b)]
        assert any(ties_decide(curve, 0.95) for curve in curves)
        wide = all(ties_are_wide(curve, 0.95) for curve in curves)
        pairs = (a[0], b[0]), (a[1], b[1])
        found = metrics.bootstrap_differences({"a": a, "b": b}, "b")["a"]
        low, high = found.interval
        grid = np.linspace(-0.99, 0.99, 397)
        held = [tied_p_value(*pairs, 0.95, float(x), wide) >= 0.05 for x in grid]
        assert low <= found.difference <= high
        assert low <= grid[held].min(initial=1.0)
        assert grid[held].max(initial=-1.0) <= high
        assert tied_p_value(*pairs, 0.95, low - 0.001, wide) < 0.05
        assert tied_p_value(*pairs, 0.95, high + 0.001, wide) < 0.05
        inside = (grid > low) & (grid < high)
        apart += not np.array(held)[inside].all()
        if found.p_value >= 0.05:
            assert low <= 0.0 <= high
    assert apart  # or any search from the difference outwards would do


@pytest.mark.parametrize("rows", [1, 2, 5, 60])
def test_the_paired_test_of_the_fpr_is_as_sure_as_its_rows_are_many(rows):
    """One method has all OOD rows above all ID rows, the other all below: a sign test of them."""
    inside = np.arange(rows) + 0.5
    methods = {"a": (inside, inside + 99), "b": (inside, inside - 99)}
    for name, other, sign in (("a", "b", 1), ("b", "a", -1)):
        found = metrics.bootstrap_differences(methods, other, "fpr")[name]
        assert found.difference == sign
        assert found.p_value == pytest.approx(min(1.0, 2 * 0.5**rows))
        ends = sorted(abs(end) for end in found.interval)
        # all rows agree with a probability of 2.5 % where such a share of all rows does
        assert ends == pytest.approx([0.025 ** (1 / rows), 1.0])


def test_paired_bootstrap_refuses():
    methods = paired(1.0)
    with pytest.raises(InputError, match="c is none of a, b"):
        metrics.bootstrap_differences(methods, "c")
    with pytest.raises(InputError, match="ap is none of auroc, fpr"):
        metrics.bootstrap_differences(methods, "a", "ap")
    with pytest.raises(InputError, match="the same rows"):
        metrics.bootstrap_differences({**methods, "c": ([1.0], [0.0])}, "a")
    with pytest.raises(InputError, match="rule odin has no paired bootstrap"):
        metrics.bootstrap_differences(methods, "a", rule="odin")


def test_scores_sorted_once_rank_alike():
    rng = np.random.default_rng(3)
    inside = np.round(rng.normal(1, 1, 80), 1)
    ordered = metrics.SortedScores.of(inside)
    for m in (1, 7, 60):
        outside = np.round(rng.normal(0, 1, m), 1)
        merged = Ranking.between(ordered, metrics.SortedScores.of(outside))
        expected = Ranking.of(inside, outside)
        np.testing.assert_array_equal(merged.id_at_or_above, expected.id_at_or_above)
        np.testing.assert_array_equal(merged.thresholds, expected.thresholds)
    with pytest.raises(InputError, match=r"scores\[1\] is NaN"):
        metrics.SortedScores.of([1.0, math.nan])
