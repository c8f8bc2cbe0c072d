"""What `compare` says of several runs together: pooled figures, and ranks over data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich_click as click

from .console import print_json, print_table, shown
from .tables import print_pooled

__all__ = ["pool_files", "rank_files"]


def pool_files(files: tuple[str, ...], *, as_json: bool) -> None:
    """Print mean and deviation over runs, each a results file."""
    from ood_toolkit.evaluation import pool_results

    document = pool_results({path: _document(path) for path in files}).to_json()
    if as_json:
        print_json(document)
    else:
        print_pooled(document)


def rank_files(files: tuple[str, ...], test: str, *, as_json: bool) -> None:
    """Print methods ranked by AUROC over the data sets of all files."""
    from ood_toolkit.errors import InputError
    from ood_toolkit.evaluation import rank_methods

    figures: dict[str, dict[tuple[str, str, str], float]] = {}
    for path in files:
        document = _document(path)
        for row in document["results"]:
            if row["auroc"] is not None:
                place = document["id"]["name"], row["ood"], path
                figures.setdefault(row["method"], {})[place] = row["auroc"]
    every = {place for found in figures.values() for place in found}
    whole = {name: found for name, found in figures.items() if len(found) == len(every)}
    if len(whole) < 2:
        raise InputError("ranking needs two methods or more that have figures on every set")
    ranks = rank_methods({name: _by_set(found) for name, found in whole.items()}, test=test)
    if as_json:
        left_out = [name for name in figures if name not in whole]
        found = {"figures": len(every), **ranks.to_json(), "left_out": left_out}
        print_json({"schema": 1, "metric": "auroc", **found})
        return
    if len(every) > ranks.sets:
        click.echo(
            f"{len(every)} figures of each method on {ranks.sets} data sets: those of one data set "
            "in several files are averaged first."
        )
    said = f", critical difference {ranks.critical_difference:.2f}" if test == "nemenyi" else ""
    p_value = "" if ranks.friedman != ranks.friedman else f" (Friedman p = {ranks.friedman:.2g})"
    click.echo(
        f"Methods ranked by AUROC over {ranks.sets} data sets{p_value}{said}; methods that share "
        f"a letter cannot be told apart ({test}, 5 %)."
    )
    letters = dict.fromkeys(ranks.methods, "")
    for number, members in enumerate(ranks.groups):
        for name in members:
            letters[name] += chr(ord("a") + number % 26) + ("'" * (number // 26))
    rows = [
        [name, shown(float(rank), percent=False), letters[name]]
        for name, rank in zip(ranks.methods, ranks.mean_ranks, strict=True)
    ]
    print_table(["method", "mean rank", "ties"], rows, left=["method", "ties"])


def _by_set(figures: Mapping[tuple[str, str, str], float]) -> list[float]:
    """A figure a data set, in one order: the mean over files, as runs of one set depend on it.

    Tests over data sets take each for a draw of its own (Demšar, JMLR 2006, section 3).
    """
    from math import fsum

    found: dict[tuple[str, str], list[float]] = {}
    for (inside, outside, _), figure in figures.items():
        found.setdefault((inside, outside), []).append(figure)
    return [fsum(found[place]) / len(found[place]) for place in sorted(found)]


def _document(path: str) -> Any:
    """A results file as it is; checked as `compare` checks it."""
    from ood_toolkit.evaluation.results_file import results_document
    from ood_toolkit.evaluation.side_by_side import read_results

    read_results(path)
    return results_document(path)
