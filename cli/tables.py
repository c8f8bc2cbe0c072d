"""The tables of an evaluation, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import rich_click as click

from .console import print_table, shown

__all__ = ["print_evaluation", "print_notes", "print_pooled"]


def print_evaluation(
    document: Mapping[str, Any], *, quiet: bool = False, intervals: bool = False, ties: bool = False
) -> None:
    """One row a method, one column a set with AUROC and FPR; best mean AUROC first."""
    from ood_toolkit.evaluation import leaderboard

    table = leaderboard(document, intervals=intervals, ties=ties)
    words = [table.columns[0], *(["ties"] if ties else [])]
    named = {f"{r['ood']} AUROC": r["group"] for r in document["results"]}
    columns, rows = list(words), [[str(cell) for cell in row[: len(words)]] for row in table.rows]
    for at in range(len(words), len(table.columns), 2):
        name, group = table.columns[at], named.get(table.columns[at])
        columns.append(name.removesuffix(" AUROC") + (f"\n({group})" if group else ""))
        for row, cells in zip(rows, table.rows, strict=True):
            row.append(f"{cells[at]} / {cells[at + 1]}")
    click.echo(_heading(document))
    if ties:
        click.echo(
            "An = after an AUROC: it cannot be told apart from the best of its column; methods "
            "that share a letter cannot be told apart by their mean AUROC (paired DeLong tests, "
            "Holm's correction, 5 %)."
        )
    print_table(columns, rows, left=words)
    _print_tuning(document["tuning"])
    print_notes(document, quiet=quiet)


def _heading(document: Mapping[str, Any]) -> str:
    """What the in-distribution rows are, and what the cells hold."""
    inside, c = document["id"], document["convention"]
    known = inside["accuracy"] is not None
    accuracy = f", accuracy {shown(inside['accuracy'])} %" if known else ""
    return (
        f"In-distribution: {inside['name']}, {inside['n']} rows{accuracy}.  Each cell: AUROC / "
        f"FPR@{100 * c['fpr_at_tpr']:g}TPR in percent (rule {c['fpr_rule']}); higher score = "
        "in-distribution."
    )


def print_pooled(document: Mapping[str, Any]) -> None:
    """Mean and deviation over runs: one row a method, one column a group or set."""
    from ood_toolkit.evaluation import pooled_table

    table = pooled_table(document)
    click.echo(table.caption)
    rows = [[str(cell) for cell in row] for row in table.rows]
    print_table(list(table.columns), rows, left=["method"])


def _print_tuning(tuning: Mapping[str, Any]) -> None:
    """Hyper-parameters that were chosen, and how."""
    by_rule: dict[str, list[str]] = {}
    for choice in tuning["methods"]:
        values = ", ".join(f"{key}={value}" for key, value in choice["tuned"].items())
        if values:
            by_rule.setdefault(choice["rule"], []).append(f"{choice['method']} {values}")
    for rule, chosen in by_rule.items():
        click.echo(f"Tuned on {rule}: {'; '.join(chosen)}.")


def print_notes(result: Any, *, quiet: bool) -> None:
    """Methods that did not run, on stderr; of a document, or of what it is made from.

    With `quiet` only those that failed, which are why the exit status is not 0.
    """
    from ood_toolkit.evaluation.records import note_lines

    parts = [
        [note if isinstance(note, Mapping) else asdict(note) for note in found]
        for found in (
            (result["skipped"], result["failed"])
            if isinstance(result, Mapping)
            else (result.skipped, result.failed)
        )
    ]
    for line in note_lines([] if quiet else parts[0], parts[1]):
        click.echo(line, err=True)
