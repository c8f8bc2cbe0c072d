"""The report's figures through matplotlib, for papers: PNG, SVG or PDF."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import InputError, UnknownName
from ood_toolkit.report.bands import precision_recall, roc, wilson
from ood_toolkit.report.drawing import (
    BLUE,
    COLORS,
    GRAY,
    MARKERS,
    draw_histogram,
    line_styles,
    new_figure,
    to_bytes,
    unit_axes,
)
from ood_toolkit.report.results import Results, front, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "all_figures",
    "cost_figure",
    "curves_figure",
    "leaderboard_figure",
    "reliability_figure",
    "risk_figure",
    "to_bytes",
]


def leaderboard_figure(
    results: Mapping[str, Any], *, group: str = "", methods: Sequence[str] = ()
) -> Figure:
    """AUROC of every method on every set of a group, with intervals, best mean first.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes.
    group : str
        "all", "near", "far" or another group of the results; "" for their first.
    methods : sequence of str
        Only these; all where none are named.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError, UnknownName
        If the mapping is no results document, or has no such group or method.
    MissingDependency
        If matplotlib is not installed.
    """
    found = Results(results)
    tabs = {tab.group: tab for tab in found.tabs()}
    chosen = group or next(iter(tabs))
    if chosen not in tabs:
        raise UnknownName(f"the results have no group {group!r}; they have {', '.join(tabs)}")
    wanted = [m for m in found.ranked(chosen) if m in found.known(methods)]
    with new_figure(6.3, 0.75 + 0.155 * len(wanted)) as (figure, axes):
        sets = tabs[chosen].sets
        rows = range(len(wanted))
        for n, ood in enumerate(sets):
            pairs = [found.pair(m, ood.name) for m in wanted]
            color, marker = COLORS[n % len(COLORS)], MARKERS[n % len(MARKERS)]
            for row, pair in zip(rows, pairs, strict=True):
                ends = [_percent(end) for end in pair.get("auroc_ci") or ()]
                axes.plot(ends, [row] * len(ends), color=color, lw=1)
            at = [_percent(pair.get("auroc")) for pair in pairs]
            axes.plot(at, rows, marker, color=color, ms=3.2, mew=0, label=ood.name)
        if len(sets) > 1:
            means = [_percent(found.mean(m, chosen).get("auroc")) for m in wanted]
            axes.plot(means, rows, "|", color="black", ms=7, mew=1.3, label="mean")
        axes.set_yticks(list(rows), list(wanted), family="monospace", fontsize=6.5)
        axes.set_ylim(len(wanted) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("AUROC, percent (95 % intervals)")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(5, len(sets) + 1),
            borderaxespad=0.2, handletextpad=0.2, columnspacing=1.2,
        )  # fmt: skip
    return figure


def curves_figure(results: Mapping[str, Any], ood: str, methods: Sequence[str] = ()) -> Figure:
    """Score histograms of the first method, and ROC and precision-recall curves of several.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes, with pictures.
    ood : str
        Name of the out-of-distribution set.
    methods : sequence of str
        The best of each family by mean AUROC where none are named.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels; bands are pointwise, 95 %.
    """
    found = Results(results)
    if ood not in {s.name for s in found.sets}:
        names = ", ".join(s.name for s in found.sets)
        raise UnknownName(f"the results have no set {ood!r}; they have {names}")
    ranked = found.ranked(found.tabs()[0].group)
    wanted = found.known(methods) if methods else found.first_of_families(ranked)
    pairs = {(p["method"], p["ood"]): p for p in _pictures(found, "pairs") if p["method"] in wanted}
    with new_figure(7.2, 2.5, 3) as (figure, panels):
        draw_histogram(panels[0], pairs[wanted[0], ood]["histogram"])
        panels[0].set_title(wanted[0])
        for (color, dashes), method in zip(line_styles(len(wanted)), wanted, strict=True):
            counts = pairs[method, ood]["at_or_above"]
            for axes, curve in (
                (panels[1], roc(counts["id"], counts["ood"])),
                (panels[2], precision_recall(counts["id"], counts["ood"])),
            ):
                x, y = zip(*curve.points, strict=True)
                axes.plot(x, y, color=color, ls=dashes, lw=1.2, label=method)
                outline = [*curve.upper, *reversed(curve.lower)]
                axes.fill(*zip(*outline, strict=True), color=color, alpha=0.18, lw=0)
        unit_axes(panels[1], "false-positive rate", "true-positive rate")
        unit_axes(panels[2], "recall of ID rows", "precision")
        panels[1].plot([0, 1], [0, 1], color=GRAY, lw=0.7, ls=(0, (3, 3)))
        panels[1].set_title(f"ROC: {ood}")
        panels[2].set_title("precision–recall")
        panels[1].legend(loc="lower right", fontsize=6.5, handlelength=1.2)
    return figure


def risk_figure(results: Mapping[str, Any], methods: Sequence[str] = ()) -> Figure:
    """Risk-coverage curves of several methods on the in-distribution rows.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes, with pictures.
    methods : sequence of str
        Those of least area under the curve in each family where none are named.

    Returns
    -------
    matplotlib.figure.Figure
    """
    found = Results(results)
    curves = {
        p["method"]: p["risk_coverage"]
        for p in _pictures(found, "methods")
        if p.get("risk_coverage", {}).get("rows")
    }
    if not curves:
        raise InputError("the results hold no risk-coverage curves: the ID rows have no labels")
    least = sorted(curves, key=lambda m: sum(curves[m]["risk"]) / len(curves[m]["risk"]))
    wanted = found.known(methods) if methods else found.first_of_families(least)
    with new_figure(3.5, 2.6) as (figure, axes):
        for (color, dashes), method in zip(line_styles(len(wanted)), wanted, strict=True):
            risk = [100 * v for v in curves[method]["risk"]]
            coverage = curves[method]["coverage"]
            axes.plot(coverage, risk, color=color, ls=dashes, lw=1.2, label=method)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.set_xlabel("coverage: share of ID rows kept")
        axes.set_ylabel("risk: percent of them wrong")
        axes.legend(loc="upper left", fontsize=6.5)
    return figure


def reliability_figure(results: Mapping[str, Any]) -> Figure:
    """Reliability diagram of the classifier's largest softmax probability.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes, with pictures.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are 95 % Wilson intervals.
    """
    found = Results(results)
    bins = (found.pictures.get("classifier") or {}).get("bins", ())
    if not bins:
        raise InputError("the results hold no reliability diagram: the ID rows have no labels")
    with new_figure(3.0, 2.8) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.7, ls=(0, (3, 3)))
        for one in bins:
            low, high = wilson(one["right"], one["rows"])
            axes.plot([one["confidence"]] * 2, [low, high], color=BLUE, lw=1)
            axes.plot(
                one["confidence"],
                one["right"] / one["rows"],
                "o",
                color=BLUE,
                ms=4,
                mew=0,
                clip_on=False,
            )
        unit_axes(axes, "confidence: largest softmax probability", "accuracy")
    return figure


def cost_figure(results: Mapping[str, Any]) -> Figure:
    """Time to score ten thousand rows against mean AUROC over all sets, a mark a method.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes, with timings and pictures.

    Returns
    -------
    matplotlib.figure.Figure
        Methods that no cheaper one beats, and the best of each family, are named; triangles
        lie below the axis.
    """
    found = Results(results)
    group = found.tabs()[0].group
    marks = []
    for method in found.methods:
        cost, auroc = found.cost(method), number(found.mean(method, group).get("auroc"))
        if cost and auroc is not None:
            marks.append((cost, 100 * auroc, method))
    if not marks:
        raise InputError("the results hold no timings, or no pictures that say of how many rows")
    named = {*found.first_of_families(found.ranked(group)), *front(marks)}
    # one in ten may lie below the axis: a triangle at its foot
    low = 5 * math.floor(sorted(a for _, a, _ in marks)[len(marks) // 10] / 5 - 0.01)
    with new_figure(5.0, 3.1) as (figure, axes):
        axes.set_xscale("log")
        colors = iter(zip(COLORS[1:] * len(marks), MARKERS[1:] * len(marks), strict=False))
        for cost, auroc, method in sorted(marks, key=lambda mark: (mark[2] in named, -mark[1])):
            style: dict[str, Any] = {"color": BLUE, "ms": 3.5, "mew": 0, "clip_on": False}
            marker = "o"
            if method in named:
                style["color"], marker = next(colors)
                style |= {"ms": 6, "label": method}
            axes.plot(cost, max(auroc, low + 0.4), "v" if auroc < low else marker, **style)
        axes.grid()
        axes.margins(x=0.06)
        axes.set_ylim(low, 100)
        axes.set_xlabel("seconds for 10,000 rows")
        axes.set_ylabel("mean AUROC, percent")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2)
    return figure


def all_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Every figure that the results have data for, by name: what ``--figures`` writes.

    Parameters
    ----------
    results : mapping
        The document that `evaluate` writes.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``leaderboard-<group>``, and with pictures ``curves-<set>``, ``risk-coverage``,
        ``reliability`` and ``cost``.
    """
    found = Results(results)
    made = {
        f"leaderboard-{tab.group}": leaderboard_figure(results, group=tab.group)
        for tab in found.tabs()
    }
    if not found.pictures:
        return made
    made |= {f"curves-{s.name}": curves_figure(results, s.name) for s in found.sets}
    others: dict[str, Callable[[Mapping[str, Any]], Figure]] = {"cost": cost_figure}
    if found.pictures.get("classifier"):
        others |= {"risk-coverage": risk_figure, "reliability": reliability_figure}
    return made | {name: draw(results) for name, draw in others.items()}


def _percent(value: Any) -> float:
    """A figure of the document in percent; NaN, which is not drawn, where it is undefined."""
    found = number(value)
    return math.nan if found is None else 100 * found


def _pictures(found: Results, key: str) -> Sequence[Mapping[str, Any]]:
    pictures: Sequence[Mapping[str, Any]] = found.pictures.get(key, ())
    if not pictures:
        raise InputError("the results hold no pictures to draw curves from; evaluate again")
    return pictures
