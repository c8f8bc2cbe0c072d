"""Figures for papers: what is drawn, in which bytes, and what is refused."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from ood_toolkit.errors import InputError, MissingDependency, UnknownName
from ood_toolkit.report import figures
from ood_toolkit.report.bands import precision_recall, roc, wilson
from tests.report.documents import METHODS, document

RESULTS = document()
MEANS = {m["method"]: m["auroc"] for m in RESULTS["means"] if m["group"] == "far"}


def lines(axes: Any, marker: str) -> list[Any]:
    return [line for line in axes.lines if line.get_marker() == marker]


def test_the_leaderboard_shows_every_figure_best_first() -> None:
    (axes,) = figures.leaderboard_figure(RESULTS, group="far").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == sorted(METHODS, key=lambda m: -MEANS[m])
    (marks,) = lines(axes, "|")
    assert np.allclose(marks.get_xdata(), [100 * MEANS[m] for m in names])
    whiskers = [tuple(line.get_xdata()) for line in lines(axes, "None")]
    for number, ood in enumerate(("digits", "noise")):
        own = {r["method"]: r for r in RESULTS["results"] if r["ood"] == ood}
        drawn = whiskers[number * len(names) : (number + 1) * len(names)]
        assert drawn == [tuple(100 * np.array(own[m]["auroc_ci"])) for m in names]


def test_one_set_has_no_mean_beside_it() -> None:
    (axes,) = figures.leaderboard_figure(RESULTS, group="near").axes
    assert lines(axes, "|") == []
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cats"]


def test_undefined_figures_are_left_out() -> None:
    results = document()
    for row in [*results["results"], *results["means"]]:
        if row["method"] == "energy":
            row |= {"auroc": None, "auroc_ci": None}
    (axes,) = figures.leaderboard_figure(results).axes
    (means,) = lines(axes, "|")
    assert np.isnan(means.get_xdata()).sum() == 1


def test_curves_are_those_of_the_counts() -> None:
    figure = figures.curves_figure(RESULTS, "digits", ["vim", "msp"])
    _, roc_axes, pr_axes = figure.axes
    pair = next(
        p for p in RESULTS["pictures"]["pairs"] if (p["method"], p["ood"]) == ("vim", "digits")
    )
    counts = pair["at_or_above"]
    tpr = np.array(counts["id"]) / 300
    fpr = np.array(counts["ood"]) / counts["ood"][-1]
    drawn = roc_axes.lines[0]
    assert drawn.get_label() == "vim"
    assert np.allclose(drawn.get_xdata(), fpr)
    assert np.allclose(drawn.get_ydata(), tpr)
    kept = np.array(counts["id"]) > 0
    precision = np.array(counts["id"]) / np.maximum(np.add(counts["id"], counts["ood"]), 1)
    assert np.allclose(pr_axes.lines[0].get_ydata(), precision[kept])


def test_without_names_the_best_of_each_family_is_drawn() -> None:
    figure = figures.curves_figure(RESULTS, "digits")
    family = {m["method"]: m["family"] for m in RESULTS["pictures"]["methods"]}
    best = {m["method"]: m["auroc"] for m in RESULTS["means"] if m["group"] == "all"}
    expected: dict[str, str] = {}
    for method in sorted(METHODS, key=lambda m: -best[m]):
        expected.setdefault(family[method], method)
    assert [line.get_label() for line in figure.axes[2].lines] == list(expected.values())


def test_the_band_holds_the_true_point_at_a_threshold_as_often_as_it_says() -> None:
    """At one threshold the rectangle holds (FPR, TPR) with 95 %: 2,000 draws, 99 % band."""
    rng = np.random.default_rng(20261122)
    held, draws = 0, 2000
    for hits, misses in zip(rng.binomial(400, 0.8, draws), rng.binomial(300, 0.2, draws)):  # noqa: B905
        curve = roc([0, int(hits), 400], [0, int(misses), 300])
        (left, top), (right, bottom) = curve.upper[1], curve.lower[1]
        held += left <= 0.2 <= right and bottom <= 0.8 <= top
    low, high = binomtest(held, draws).proportion_ci(0.99)
    assert low <= 0.95 <= high


@pytest.mark.parametrize(("hits", "rows"), [(0, 5), (5, 5), (3, 17), (9990, 10000)])
def test_wilson_agrees_with_scipy(hits: int, rows: int) -> None:
    expected = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert wilson(hits, rows) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_precision_with_the_other_set_positive_is_that_of_swapped_scores() -> None:
    id_counts, ood_counts = [0, 2, 5, 6], [0, 1, 1, 4]
    # with both sets' scores negated, rows below a threshold are those above it
    swapped = precision_recall([0, 3, 3, 4], [0, 1, 4, 6])
    assert precision_recall(id_counts, ood_counts, "ood") == swapped


def test_every_figure_is_drawn_and_its_bytes_stay() -> None:
    made = figures.all_figures(RESULTS)
    assert set(made) == {
        "leaderboard-all", "leaderboard-near", "leaderboard-far", "curves-cats", "curves-digits",
        "curves-noise", "risk-coverage", "reliability", "cost",
    }  # fmt: skip
    again = figures.all_figures(document())
    for name in ("leaderboard-all", "cost"):
        first = figures.to_bytes(made[name], "svg")
        assert first == figures.to_bytes(again[name], "svg")
        assert first.startswith(b"<?xml")
    assert figures.to_bytes(made["reliability"], "png")[1:4] == b"PNG"
    assert figures.to_bytes(made["risk-coverage"], "pdf").startswith(b"%PDF")


def test_without_pictures_only_the_leaderboard_is_drawn() -> None:
    bare = document(("energy",), ("one",), pictures=False)
    assert set(figures.all_figures(bare)) == {"leaderboard-all"}
    for draw in (figures.risk_figure, figures.reliability_figure, figures.cost_figure):
        with pytest.raises(InputError, match="the results hold no"):
            draw(bare)
    with pytest.raises(InputError, match="hold no pictures"):
        figures.curves_figure(bare, "one")


def test_names_that_are_not_there_are_refused() -> None:
    with pytest.raises(UnknownName, match="no group 'middle'"):
        figures.leaderboard_figure(RESULTS, group="middle")
    with pytest.raises(UnknownName, match="no method 'odin'"):
        figures.leaderboard_figure(RESULTS, methods=["odin"])
    with pytest.raises(UnknownName, match="no set 'dogs'"):
        figures.curves_figure(RESULTS, "dogs")
    with pytest.raises(UnknownName, match="'bmp'"):
        figures.to_bytes(figures.reliability_figure(RESULTS), "bmp")


def test_dollar_signs_in_names_are_no_formulas() -> None:
    results = document(("a$b$_^{", "energy"), ("far/$x$",), rows=100)
    for figure in figures.all_figures(results).values():
        assert b"<svg" in figures.to_bytes(figure, "svg")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"ood_toolkit\[report\]"):
        figures.leaderboard_figure(RESULTS)


def test_every_method_is_drawn_however_many_they_are() -> None:
    methods = tuple(f"m{n}" for n in range(9))
    results = document(methods)
    for about in results["pictures"]["methods"]:
        about["family"] = about["method"]
    figure = figures.curves_figure(results, "digits")
    named = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert sorted(named) == sorted(methods)
    drawn = [line for line in figure.axes[1].lines if line.get_label() in methods]
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 9
    (axes,) = figures.risk_figure(results, methods).axes
    assert len(axes.get_legend().get_texts()) == 9
