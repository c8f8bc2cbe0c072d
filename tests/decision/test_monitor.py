"""The monitor, against plain counting, its fair odds and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from ood_toolkit.decision import Monitor
from ood_toolkit.decision.monitor import EXPONENTS
from ood_toolkit.errors import BadParameter, InputError
from tests.cli.running import tool
from tests.decision.bands import REPETITIONS, not_above_band


def test_p_values_and_evidence_equal_the_plain_sums() -> None:
    rng = np.random.default_rng(0)
    inside, stream = rng.normal(size=20).round(1), rng.normal(size=30).round(1)
    report = Monitor(inside, seed=3).watch(stream)
    chance = 1 - np.random.default_rng(3).random(30)
    before = list(inside)
    bets: list[list[float]] = []
    for i, score in enumerate(stream):
        less = sum(s < score for s in before)
        equal = sum(s == score for s in before)
        p = (less + chance[i] * (equal + 1)) / (len(before) + 1)
        assert report.p_values[i] == pytest.approx(p, rel=1e-12)
        before.append(score)
        bets.append([e * p ** (e - 1) for e in EXPONENTS])
        wealth = 1 / (i + 2)
        for start in range(i + 1):
            share = 1 / ((start + 1) * (start + 2))
            for e in range(len(EXPONENTS)):
                product = math.prod(bets[k][e] for k in range(start, i + 1))
                wealth += share * product / len(EXPONENTS)
        assert report.evidence[i] == pytest.approx(wealth, rel=1e-10)


def test_every_bet_is_fair() -> None:
    """e p^(e - 1) has mean 1 for uniform p: the integral is p^e from 0 to 1."""
    p = (np.arange(1_000_000) + 0.5) / 1_000_000
    for e in EXPONENTS[4:]:
        assert np.mean(e * p ** (e - 1)) == pytest.approx(1.0, abs=0.05)


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(20_250_721)
    alarms = 0
    for i in range(REPETITIONS):
        draws = rng.normal(size=140).round(1)  # with ties
        alarms += Monitor(draws[:60], false_alarm=0.1, seed=i).watch(draws[60:]).alarm >= 0
    assert not_above_band(alarms, 0.1)


def test_p_values_of_an_unchanged_stream_are_uniform() -> None:
    draws = np.random.default_rng(20_250_722).normal(size=3000).round(2)
    p = Monitor(draws[:500]).watch(draws[500:]).p_values
    assert kstest(p, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[:-1], p[1:])[0, 1]) < 0.06


def test_a_mixture_is_found_early_or_late() -> None:
    rng = np.random.default_rng(20_250_723)
    delays = []
    for begin in (0, 0, 0, 1000, 1000):
        other = rng.random(2000) < 0.1
        tail = np.where(other, rng.normal(-5.0, size=2000), rng.normal(size=2000))
        stream = np.concatenate([rng.normal(size=begin), tail])
        alarm = Monitor(rng.normal(size=1000)).watch(stream).alarm
        assert alarm >= begin
        delays.append(alarm - begin)
    assert max(delays[:3]) < 400
    assert max(delays[3:]) < 1000


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, np.nan])
def test_rates_out_of_range(value: float) -> None:
    with pytest.raises(BadParameter, match="false_alarm must lie in"):
        Monitor(np.ones(3), value)


def test_scores_that_cannot_be_used() -> None:
    for bad in ([], [np.nan]):
        with pytest.raises(InputError, match="needs in-distribution scores"):
            Monitor(np.array(bad))
    with pytest.raises(InputError, match="row 1 is NaN"):
        Monitor(np.ones(3)).watch([1.0, np.nan])
    with pytest.raises(BadParameter, match="seed"):
        Monitor(np.ones(3), seed=-1)
    assert Monitor(np.ones(3)).watch([]).alarm == -1


def test_the_order_of_the_rows_is_part_of_the_stream() -> None:
    """Classes differ in score: sorted by class, rows of one distribution are a change."""
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 10
    scores = rng.normal(size=2000) + labels
    monitor = Monitor(rng.normal(size=1000) + np.arange(1000) % 10, false_alarm=0.01)
    assert monitor.watch(scores[np.argsort(labels, kind="stable")]).alarm >= 0
    assert monitor.watch(rng.permutation(scores)).alarm == -1


def test_the_order_is_said_where_the_monitor_is_described() -> None:
    for said in (Monitor.__doc__ or "", tool("monitor", "--help").out):
        assert "shuffle" in said.lower()
        assert "sorted" in said
