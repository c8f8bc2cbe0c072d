"""The tables of an evaluation, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from .console import print_table, shown

if TYPE_CHECKING:
    from ood_toolkit.evaluation import Evaluation

__all__ = ["print_evaluation", "print_notes"]

BOTH = "AUROC / FPR"


def print_evaluation(result: Evaluation, *, quiet: bool = False) -> None:
    """One row a method, one pair of columns a set; best mean AUROC first."""
    sets = list(dict.fromkeys((r.group, r.ood) for r in result.results))
    by = {(r.method, r.ood): r for r in result.results}
    means = {(m["method"], m["group"]): m for m in result.means()}
    groups = [g for g in ("near", "far") if any(group == g for group, _ in sets)]
    shown_groups = groups or ["all"]
    order = sorted(result.methods(), key=lambda m: -sum(means[m, g]["auroc"] for g in shown_groups))
    columns = ["method", *(f"mean {g}" for g in shown_groups)]
    columns += [f"{name}\n({group})" if group else name for group, name in sets]
    rows = []
    for method in order:
        row = [method]
        for g in shown_groups:
            mean = means[method, g]
            row.append(f"{shown(mean['auroc'])} / {shown(mean['fpr'])}")
        for _, name in sets:
            r = by[method, name]
            row.append(f"{shown(r.auroc)} / {shown(r.fpr)}")
        rows.append(row)
    c = result.convention
    accuracy = f", accuracy {shown(result.accuracy)} %" if result.accuracy is not None else ""
    click.echo(
        f"In-distribution: {result.id_name}, {result.n_id} rows{accuracy}.  Each cell: AUROC / "
        f"FPR@{100 * c.fpr_at_tpr:g}TPR in percent (rule {c.fpr_rule}); higher score = "
        "in-distribution."
    )
    print_table(columns, rows, left=["method"])
    _print_tuning(result.tuning)
    if not quiet:
        print_notes(result)


def _print_tuning(tuning: Mapping[str, Any]) -> None:
    """Hyper-parameters that were chosen, and how."""
    by_rule: dict[str, list[str]] = {}
    for choice in tuning["methods"]:
        values = ", ".join(f"{key}={value}" for key, value in choice["tuned"].items())
        if values:
            by_rule.setdefault(choice["rule"], []).append(f"{choice['method']} {values}")
    for rule, chosen in by_rule.items():
        click.echo(f"Tuned on {rule}: {'; '.join(chosen)}.")


def print_notes(result: Any) -> None:
    """Methods that did not run, on stderr."""
    if result.skipped:
        reasons: dict[str, list[str]] = {}
        for note in result.skipped:
            reasons.setdefault(note.reason, []).append(note.method)
        for reason, names in reasons.items():
            click.echo(f"Skipped: {', '.join(names)} ({reason})", err=True)
    for note in result.failed:
        click.echo(f"Failed: {note.method}: {note.reason}", err=True)
