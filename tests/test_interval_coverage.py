"""The simulation behind the intervals' table, in small; and the table is what it found."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import interval_coverage as simulation
from benchmarks.pages import markers
from ood_toolkit.metrics import Ranking

METRICS, CASES, NULLS = simulation.METRICS, simulation.CASES, simulation.NULLS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_truth_is_what_many_rows_give(case: simulation.Case) -> None:
    rng = np.random.default_rng(0)
    many = dataclasses.replace(case, n_id=200 * case.n_id, n_ood=200 * case.n_ood)
    ranking = Ranking.of(*many.drawn(rng))
    truth = case.truth()
    found = (ranking.auroc(), ranking.fpr_at_tpr(), ranking.aupr_in(), ranking.aupr_out())
    for metric, value in zip(METRICS, found, strict=True):
        assert truth[metric] == pytest.approx(value, abs=0.02)


def test_intervals_cover() -> None:
    case, runs = simulation.Case(0.9, 200, 200), 400
    low, high = simulation.band(0.95, runs)
    found = simulation.coverage(case, "test", runs)
    assert all(low <= found[metric] <= high for metric in METRICS), found


@pytest.mark.parametrize(("metric", "part"), [(METRICS[0], "delong"), (METRICS[1], "fpr")])
def test_intervals_without_resamples_cover(metric: str, part: str) -> None:
    runs = 2_000
    low, high = simulation.band(0.95, runs)
    case = simulation.Case(0.9, 200, 200)
    assert low <= simulation.coverage_of_one(case, part, runs, metric)[metric] <= high


@pytest.mark.parametrize("case", simulation.TIED, ids=lambda case: case.name)
def test_a_group_is_reached_by_the_share_that_is_said(case: simulation.Case) -> None:
    rng = np.random.default_rng(0)
    inside, _ = dataclasses.replace(case, n_id=400_000).drawn(rng)
    assert np.mean(inside >= 0.0) == pytest.approx(case.reaching, abs=0.002)
    assert np.allclose(inside / case.step, np.round(inside / case.step))


@pytest.mark.parametrize("null", simulation.TIED_NULLS, ids=lambda null: null.name)
def test_methods_agree_at_the_group_wanted(null: simulation.Null) -> None:
    rng = np.random.default_rng(0)
    many = dataclasses.replace(null.case, n_id=100_000, n_ood=100_000)
    drawn = dataclasses.replace(null, case=many).drawn(rng)
    (inside, outside), (_, other) = drawn["a"], drawn["b"]
    wanted, step = null.case.threshold(), null.case.step
    assert np.mean(inside > wanted + step / 4) < 0.95 < np.mean(inside > wanted - step / 4)
    rates = [
        [np.mean(scores > wanted + (k - 0.25) * step) for k in (-1, 0, 1)]
        for scores in (outside, other)
    ]
    apart = np.abs(np.subtract(*rates)) > 0.02
    assert apart.tolist() == [null.beside, False, null.beside]


def test_paired_tests_keep_their_level() -> None:
    runs = 300
    _, high = simulation.band(0.05, runs)
    found = simulation.false_alarms(NULLS[1], "test", runs)
    assert all(share <= high for share in found.values()), found


def test_the_page_holds_what_was_found() -> None:
    held = json.loads(simulation.RESULTS.read_text(encoding="utf-8"))
    assert list(held) == list(simulation.PARTS)
    for name, part in simulation.PARTS.items():
        assert set(held[name]) == {case.name for case in part.cases}
        assert len(held[name]) == len(part.cases)  # no two of a name, nor of a stream
    page = (simulation.RESULTS.parent / "evaluation.md").read_text(encoding="utf-8")
    begin, end = markers("interval_coverage")
    between = page.partition(begin)[2].partition(end)[0]
    assert between.strip() == "\n\n".join(simulation.page(held))
