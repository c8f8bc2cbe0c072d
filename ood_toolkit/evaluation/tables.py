"""The leaderboard of a results document as text, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ood_toolkit.errors import InputError
from ood_toolkit.evaluation.groups import shown_groups

__all__ = ["Cell", "Table", "leaderboard", "pooled_table"]

_LATEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}",
                       "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"})  # fmt: skip
TIED = "="
"""Mark of figures that cannot be told apart from the best of their column."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry: its text, whether it is the best of its column, and whether it ties with it."""

    text: str
    best: bool = False
    tied: bool = False

    def __str__(self) -> str:
        return f"{self.text}{TIED}" if self.tied else self.text


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, rows of cells, and what to say above them.

    Attributes
    ----------
    caption : str
    columns : tuple of str
        The first names the rows.
    rows : tuple of tuples of Cell
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_text(self) -> str:
        """Plain text, columns aligned; the best of a column is not marked, ties with it are."""
        lines = [[str(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *lines, strict=True)]
        shown = [self.caption, ""]
        for line in (list(self.columns), *lines):
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            shown.append("  ".join(cells).rstrip())
        return "\n".join(shown)

    def to_markdown(self) -> str:
        """A table of GitHub's and MyST's Markdown; the best of a column is bold."""
        lines = [_row_of(self.columns), _row_of(["---"] + ["---:"] * (len(self.columns) - 1))]
        for row in self.rows:
            lines.append(_row_of([f"**{cell}**" if cell.best else str(cell) for cell in row]))
        return "\n".join([self.caption, "", *lines, ""])

    def to_latex(self) -> str:
        """A `tabular` for the booktabs package; the best of a column is bold."""
        columns = [name.translate(_LATEX) for name in self.columns]
        lines = [
            f"% {self.caption}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(columns) + r" \\",
            r"\midrule",
        ]
        for row in self.rows:
            cells = []
            for cell in row:
                text = cell.text.translate(_LATEX).replace("±", r"$\pm$")
                if cell.tied:
                    text += r"$^{=}$"
                cells.append(rf"\textbf{{{text}}}" if cell.best else text)
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def to_html(self) -> str:
        """A plain table, as notebooks show it."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = []
        for row in self.rows:
            cells = []
            for cell in row:
                text = html.escape(str(cell))
                cells.append(f"<td>{f'<b>{text}</b>' if cell.best else text}</td>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        return (
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        )


def leaderboard(
    document: Mapping[str, Any],
    *,
    metrics: Sequence[str] = ("auroc", "fpr"),
    intervals: bool = False,
    ties: bool = False,
) -> Table:
    """The leaderboard of a results document, best mean AUROC first.

    Parameters
    ----------
    document : mapping
        What `Evaluation.to_json` returns, or `--json-out` wrote.
    metrics : sequence of str
        "auroc", "fpr", "aupr_in", "aupr_out" or "detection_error", one column each a set; of
        means over groups only the first two exist.
    intervals : bool
        Whether 95 % intervals stand behind the figures that have one.
    ties : bool
        Whether AUROCs that cannot be told apart from the best of their column are marked, and
        a first column has letters: methods that share one cannot be told apart by their mean.

    Returns
    -------
    Table
        Percent with two decimals.

    Raises
    ------
    InputError
        If there are no results, or `ties` is asked for and the document holds no comparisons.
    """
    if not document["results"]:
        raise InputError("there are no results to show")
    if ties and not document.get("comparisons"):
        raise InputError("the results hold no comparisons of methods, which ties are read from")
    sets = list(dict.fromkeys((r["group"], r["ood"]) for r in document["results"]))
    groups = shown_groups(group for group, _ in sets)
    order = _order(document, groups)
    columns = ["method"]
    parts: list[list[Cell]] = [[Cell(method) for method in order]]
    if ties:
        columns.append("ties")
        parts.append(_letters(document, order, groups))
    for kind, places in (("group", groups), ("ood", [name for _, name in sets])):
        rows = document["means"] if kind == "group" else document["results"]
        for place in places:
            own = {r["method"]: r for r in rows if r[kind] == place}
            label = f"mean {place}" if kind == "group" else place
            tied = _tied(document, kind, place) if ties else ()
            for metric in metrics if kind == "ood" else [m for m in metrics if m in _OF_MEANS]:
                columns.append(f"{label} {_LABELS[metric]}")
                parts.append(_column([own[m] for m in order], metric, intervals, tied))
    return Table(_caption(document), tuple(columns), tuple(zip(*parts, strict=True)))


_LABELS = {
    "auroc": "AUROC",
    "fpr": "FPR",
    "aupr_in": "AUPR-in",
    "aupr_out": "AUPR-out",
    "detection_error": "det. error",
}
_OF_MEANS = ("auroc", "fpr")
_SMALLER_IS_BETTER = ("fpr", "detection_error")


def _order(document: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    """Methods by the sum of their mean AUROCs over the groups."""
    sums: dict[str, float] = {}
    for mean in document["means"]:
        if mean["group"] in groups:
            sums[mean["method"]] = sums.get(mean["method"], 0.0) + mean["auroc"]
    return sorted(sums, key=lambda method: -sums[method])


def _column(
    rows: Sequence[Mapping[str, Any]], metric: str, intervals: bool, tied: Sequence[str]
) -> list[Cell]:
    """Cells of one metric; the best figure is marked as the table rounds it."""
    cells = []
    for row in rows:
        text = _percent(row.get(metric))
        ends = row.get(f"{metric}_ci")
        if intervals and ends:
            text += f" [{_percent(ends[0])}, {_percent(ends[1])}]"
        if row.get(f"{metric}_std") is not None:
            text += f" ± {_percent(row[f'{metric}_std'])}"
        cells.append(Cell(text, tied=metric == "auroc" and row["method"] in tied))
    known = [row[metric] for row in rows if row.get(metric) is not None]
    if not known:
        return cells
    best = _percent(min(known) if metric in _SMALLER_IS_BETTER else max(known))
    return [
        replace(cell, best=True) if _percent(row.get(metric)) == best else cell
        for cell, row in zip(cells, rows, strict=True)
    ]


def _percent(value: Any) -> str:
    return f"{100 * value:.2f}" if isinstance(value, int | float) else "n/a"


def _tied(document: Mapping[str, Any], kind: str, place: str) -> list[str]:
    for table in document["comparisons"]["tables"]:
        if table.get(kind) == place:
            return list(table["tied_with_best"])
    return []


def _letters(
    document: Mapping[str, Any], order: Sequence[str], groups: Sequence[str]
) -> list[Cell]:
    """Letters of the tie groups by the mean AUROC; none where a method differs from all."""
    wanted = groups[0] if len(groups) == 1 else "all"
    letters: dict[str, str] = dict.fromkeys(order, "")
    for table in document["comparisons"]["tables"]:
        if table.get("group") == wanted:
            for number, members in enumerate(table["tie_groups"]):
                for method in members:
                    letters[method] += _letter(number)
    return [Cell(letters[method]) for method in order]


def _letter(number: int) -> str:
    """One for each group: a to z, then a1 to z1 and so on."""
    letter = chr(ord("a") + number % 26)
    return letter if number < 26 else f"{letter}{number // 26}"


def _caption(document: Mapping[str, Any]) -> str:
    c = document["convention"]
    inside = document["id"]
    rows = f", {inside['n']} rows" if inside.get("n") is not None else ""
    accuracy = inside.get("accuracy")
    right = f", accuracy {_percent(accuracy)} %" if accuracy is not None else ""
    return (
        f"In-distribution: {inside['name']}{rows}{right}. AUROC and FPR at "
        f"{100 * c.get('fpr_at_tpr', 0.95):g} % TPR in percent (rule {c.get('fpr_rule')}); "
        "higher score = in-distribution."
    )


def pooled_table(document: Mapping[str, Any], **shown: Any) -> Table:
    """The leaderboard of pooled results, mean ± standard deviation over the runs.

    Parameters
    ----------
    document : mapping
        What `Pooled.to_json` returns.
    **shown
        `metrics`, as `leaderboard` takes them.

    Raises
    ------
    InputError
        If there are no results.
    """
    table = leaderboard(document, **shown)
    runs = document["pooled"]["runs"]
    return replace(table, caption=f"{table.caption} Mean ± deviation over {len(runs)} runs.")


def _row_of(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
