"""The house style of figures: sizes, colours, and how they become files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ood_toolkit.errors import MissingDependency, UnknownName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "COLORS",
    "GRAY",
    "MARKERS",
    "VERMILION",
    "draw_histogram",
    "line_styles",
    "new_figure",
    "require_matplotlib",
    "to_bytes",
    "unit_axes",
]

BLUE, VERMILION, GRAY = "#0072B2", "#D55E00", "#4c5561"
COLORS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#56B4E9", "#8a6d00")
"""Okabe and Ito's, told apart by colour-blind readers."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Of sets, so that colour is not all that tells them apart."""
STYLE: dict[Any, Any] = {
    "font.size": 8.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GRAY,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#d5dae1",
    "grid.linewidth": 0.5,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "svg.hashsalt": "ood_toolkit",
    "svg.fonttype": "none",
    "figure.dpi": 150,
}
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", *((0, (n, n)) for n in range(2, 40)))
FORMATS = ("png", "svg", "pdf")


@contextmanager
def new_figure(width: float, height: float, panels: int = 1) -> Iterator[tuple[Figure, Any]]:
    """An empty figure of so many inches and its axes; draw within the block, in the style."""
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, panels)
        yield figure, axes


def to_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as a file: "png" (150 dots an inch), "svg" or "pdf"; the same bytes each time.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    kind : str
        Suffix of the file.

    Raises
    ------
    UnknownName
        If there is no such kind.
    """
    if kind not in FORMATS:
        raise UnknownName(f"figures are {', '.join(FORMATS)}, not {kind!r}")
    file = io.BytesIO()
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with _style():
        figure.savefig(file, format=kind, bbox_inches="tight", metadata=undated[kind])
    return file.getvalue()


def draw_histogram(axes: Axes, bins: Mapping[str, Any]) -> None:
    """Shares of ID and OOD rows by score."""
    width = (bins["high"] - bins["low"]) / len(bins["id"])
    edges = [bins["low"] + n * width for n in range(len(bins["id"]) + 1)]
    for name, color in (("id", BLUE), ("ood", VERMILION)):
        total = sum(bins[name])
        shares = [100 * count / total for count in bins[name]]
        axes.stairs(shares, edges, color=color, fill=True, alpha=0.3)
        axes.stairs(shares, edges, color=color, lw=1, label=name.upper())
    axes.set_xlabel("score (larger = more ID)")
    axes.set_ylabel("percent of rows")
    axes.legend(loc="best", fontsize=6.5, handlelength=1.2)


def line_styles(count: int) -> list[tuple[str, Any]]:
    """Colour and dashes of so many lines, all different: the colours, then each again dashed.

    >>> line_styles(7)[0], line_styles(7)[6]
    (('#0072B2', '-'), ('#0072B2', '--'))
    """
    return [(color, dashes) for dashes in _DASHES for color in COLORS][:count]


def unit_axes(axes: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    axes.grid()
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def require_matplotlib() -> Any:
    """The library, or what to install."""
    try:
        import matplotlib
    except ImportError:
        raise MissingDependency("matplotlib", "report", "drawing figures") from None
    return matplotlib


@contextmanager
def _style() -> Iterator[None]:
    with require_matplotlib().rc_context(STYLE):
        yield
