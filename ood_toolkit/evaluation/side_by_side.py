"""Results of several runs side by side, and beside published figures, with what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from ood_toolkit.datasets.published_tables import PublishedTable, published_methods
from ood_toolkit.datasets.registry import known_benchmarks
from ood_toolkit.errors import DataError
from ood_toolkit.evaluation.results_file import EXPECTED, results_document

__all__ = [
    "Beside",
    "Results",
    "beside_published",
    "counted_rows",
    "is_number",
    "read_results",
]

SCHEMA = 1
FULL_SPECTRUM = "+"
"""Joins the names of sets that together count as in-distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a results file says, as far as comparisons need it.

    Parameters
    ----------
    name : str
        The file, less folder and suffix.
    id_name : str
        Name of the in-distribution set.
    id_rows : int or None
        Its rows that count; None where the file does not say.
    convention : mapping
        As written.
    means : mapping
        (method, group) -> metric -> number.
    pairs : mapping
        (method, OOD set) -> its entry.
    groups : mapping of str to str
        OOD set -> group.
    tuned_on : str
        What parameters were chosen on: ``"none"``, ``"id"`` or ``"ood"``.
    tied : mapping of str to tuple of str
        Group -> the methods that the run's paired tests cannot tell apart from its best.
    """

    name: str
    id_name: str
    id_rows: int | None
    convention: Mapping[str, Any]
    means: Mapping[tuple[str, str], Mapping[str, Any]]
    pairs: Mapping[tuple[str, str], Mapping[str, Any]]
    groups: Mapping[str, str]
    tuned_on: str
    tied: Mapping[str, tuple[str, ...]]

    def methods(self) -> list[str]:
        """Names of the methods, in the file's order."""
        return list(dict.fromkeys(method for method, _ in self.pairs))


def read_results(path: str) -> Results:
    """A results file that `evaluate --json-out` or `benchmark --json-out` wrote.

    Raises
    ------
    DataError
        If it is none, or of another version.
    """
    held = results_document(path)
    if held["schema"] != SCHEMA:
        raise DataError(path, "schema", f"is {held['schema']}, this version reads {SCHEMA}")
    try:
        return Results(
            PurePath(path).name.removesuffix(".json"),
            held["id"]["name"],
            held["id"].get("n"),
            held["convention"],
            {(m["method"], m["group"]): m for m in held["means"]},
            {(r["method"], r["ood"]): r for r in held["results"]},
            {r["ood"]: r["group"] for r in held["results"]},
            held.get("tuning", {}).get("on", "none"),
            _tied(held.get("comparisons") or {}),
        )
    except (KeyError, TypeError, AttributeError) as fault:
        lacks = (
            f"{fault} is missing" if isinstance(fault, KeyError) else "a part is of another kind"
        )
        what = f"holds no results of an evaluation: {lacks}; {EXPECTED}"
        raise DataError(path, "", what) from None


def _tied(comparisons: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    tables = [table for table in comparisons.get("tables", []) if "group" in table]
    return {table["group"]: tuple(table["tied_with_best"]) for table in tables}


def counted_rows(run: Results) -> str:
    """Which in-distribution rows count: `"all"` or `"correct"`."""
    return str(run.convention.get("id_subset", "all"))


def is_number(value: Any) -> bool:
    """Whether a figure of a document is one; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure of a run beside the published one.

    Parameters
    ----------
    method, row, group, metric : str
        The method here, the published row, ``"near"`` or ``"far"``, ``"auroc"`` or ``"fpr"``.
    run, published : float
        Fractions.
    std : float or None
        Of the published figure.
    comparable : bool
        Whether sets, convention and method are the same; the model is for the reader to judge.
    why : tuple of str
        What differs.
    """

    method: str
    row: str
    group: str
    metric: str
    run: float
    published: float
    std: float | None
    comparable: bool
    why: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"difference": self.run - self.published, "why": list(self.why)}


def beside_published(run: Results, table: PublishedTable) -> list[Beside]:
    """The near and far means of a run beside those of a published table.

    Parameters
    ----------
    run : Results
        As `read_results` gives it.
    table : PublishedTable
        As `ood_toolkit.datasets.published_tables` has it.

    Returns
    -------
    list of Beside
        A row a method, group and metric that both have; what differs is said in each.
    """
    rows = []
    for method, known in published_methods().items():
        for metric, figures in table.figures.items():
            for group, figure in figures.get(known.row, {}).items():
                mean = run.means.get((method, group))
                if mean is None or not is_number(mean.get(metric)):
                    continue
                why = [*_other_sets(run, table, group), *_other_measure(run, table, metric)]
                if known.tuned and run.tuned_on != "ood":
                    why.append("published with parameters chosen on validation outliers")
                if known.note:
                    why.append(known.note)
                rows.append(
                    Beside(
                        method, known.row, group, metric, mean[metric], figure.value, figure.std,
                        not why, tuple(why),
                    )
                )  # fmt: skip
    return rows


def _other_sets(run: Results, table: PublishedTable, group: str) -> list[str]:
    record = known_benchmarks()[table.benchmark]
    why = []
    id_name, *shifted = run.id_name.split(FULL_SPECTRUM)
    if id_name not in (record.id, record.name):
        why.append(f"published for ID {record.id}, this run has {id_name}")
    if bool(shifted) != table.full_spectrum:
        counts = "count" if table.full_spectrum else "do not count"
        why.append(f"in the published figures shifted rows {counts} as ID")
    wanted = set(record.members(group))
    own = {name for name, found in run.groups.items() if found == group}
    if own != wanted:
        why.append(f"published over {group} sets {', '.join(sorted(wanted))}, this run has "
                   f"{', '.join(sorted(own)) or 'none'}")  # fmt: skip
    return why


def _other_measure(run: Results, table: PublishedTable, metric: str) -> list[str]:
    why = []
    if counted_rows(run) != "all":
        why.append("published for all ID rows, this run counts the correct ones")
    if metric == "fpr":
        rule = run.convention.get("fpr_rule")
        if rule != table.fpr_rule:
            why.append(f"published by FPR rule {table.fpr_rule}, this run by {rule}")
        if run.convention.get("fpr_at_tpr") != 0.95:
            why.append("published at TPR 0.95")
    return why
