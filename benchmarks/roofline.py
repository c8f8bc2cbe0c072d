"""The plot of the page: what share of the read bandwidth each library reaches, over C."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.results import Report, figure, read_report, spread

__all__ = ["PLOT", "draw"]

PLOT = Path(__file__).parents[1] / "docs" / "_static" / "roofline.svg"

LINES = {
    "ours": ("energy, ood_toolkit", "#1f4e9c", "o"),
    "jax": ("energy, jax", "#c0702a", "s"),
    "torch": ("energy, torch", "#b03a2e", "^"),
    "pytorch-ood": ("energy, pytorch-ood", "#8e5ea2", "v"),
    "numpy": ("energy, numpy", "#6b7280", "D"),
    "scipy": ("energy, scipy", "#9aa0a6", "x"),
}
NINE = ("nine scores, ood_toolkit", "#2e86ab", "o")


def draw(report: Report, path: Path) -> None:
    """Draw the energy and fused subjects of a report as one figure, SVG or PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "roofline", "font.size": 10, "svg.fonttype": "path"}
    with pyplot.rc_context(style):
        made, axes = pyplot.subplots(figsize=(7.6, 4.8), layout="constrained")
        limits = _rates(report, "energy", "one read")
        axes.plot(list(limits), list(limits.values()), color="black", lw=1.5)
        axes.annotate(
            "one read, two threads",
            (min(limits), max(limits.values())),
            xytext=(0, 5),
            textcoords="offset points",
        )
        for candidate, (label, colour, marker) in LINES.items():
            rates = _rates(report, "energy", candidate)
            if rates:
                axes.plot(
                    list(rates), list(rates.values()), color=colour, marker=marker, label=label
                )
        rates = _rates(report, "fused", "ours, nine")
        if rates:
            label, colour, marker = NINE
            axes.plot(
                list(rates), list(rates.values()), "--", color=colour, marker=marker, label=label
            )
        axes.set(
            xscale="log", yscale="log", xlabel="classes C", ylabel="logits read, GB/s (float32)"
        )
        axes.set_xticks(list(limits), [f"{classes:,}" for classes in limits])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, which="major", color="#dddddd")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        made.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(made)


def _rates(report: Report, subject: str, candidate: str) -> dict[int, float]:
    """Classes -> median GB/s of a candidate, of the cases of one score over every C."""
    found = {}
    for case in report.subjects[subject].cases if subject in report.subjects else ():
        kind, _, classes = case.name.partition(", C = ")
        if kind in ("energy", "scores") and figure(case, candidate):
            seconds = case.seconds[candidate]
            rate = spread(case.read_bytes / s / 1e9 for s in seconds).median
            found[int(classes.replace(",", ""))] = rate
    return found


if __name__ == "__main__":
    draw(read_report(Path(sys.argv[1])), Path(sys.argv[2]))
