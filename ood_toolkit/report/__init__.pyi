"""Reports of evaluations: one HTML page, and figures."""

from . import figures
from .drawing import to_bytes
from .figures import (
    all_figures,
    cost_figure,
    curves_figure,
    leaderboard_figure,
    reliability_figure,
    risk_figure,
)
from .page import render

__all__ = [
    "all_figures",
    "cost_figure",
    "curves_figure",
    "figures",
    "leaderboard_figure",
    "reliability_figure",
    "render",
    "risk_figure",
    "to_bytes",
]
