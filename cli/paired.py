"""What `compare` says of runs on the same rows: paired tests, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from .console import print_table, shown

if TYPE_CHECKING:
    from ood_toolkit.evaluation.paired_runs import PairedTest
    from ood_toolkit.evaluation.side_by_side import Results

__all__ = ["print_tests", "results_file", "tests_of"]


def results_file(path: str) -> str:
    """The results document of a folder of scores, or the file itself."""
    from ood_toolkit.evaluation.score_folder import RESULTS

    return str(Path(path, RESULTS)) if Path(path).is_dir() else path


def tests_of(paths: Sequence[str], runs: Sequence[Results]) -> tuple[list[PairedTest], str]:
    """Paired tests of every later run against the first; and why there are none, if so."""
    if len(paths) < 2:
        return [], ""
    bare = [path for path in paths if not Path(path).is_dir()]
    if bare:
        return [], (
            f"{bare[0]} holds results but no scores; run again with --scores-out DIR and compare "
            "the folders"
        )
    if any(run.convention.get("id_subset", "all") != "all" for run in runs):
        return [], "only rows that are classified correctly count, which are others in each run"
    from ood_toolkit.evaluation.paired_runs import paired_tests
    from ood_toolkit.evaluation.score_folder import read_scores

    kept = {run.name: read_scores(path) for path, run in zip(paths, runs, strict=True)}
    return paired_tests(kept, {run.name: run.groups for run in runs}), ""


def print_tests(tests: Sequence[PairedTest]) -> None:
    """A row a test of a group's mean."""
    click.echo(
        f"\n{tests[0].baseline} against the others on the same rows: paired DeLong tests of the "
        "mean AUROC, p-values adjusted by Holm within each group."
    )
    rows = []
    for test in tests:
        if test.kind == "group":
            method = test.method
            if test.baseline_method != method:
                method = f"{test.baseline_method}, {method}"
            difference = f"{100 * (test.auroc - test.baseline_auroc):+.2f}"
            aurocs = [shown(test.baseline_auroc), shown(test.auroc), difference]
            verdict = "yes" if test.differs else "cannot be told"
            rows.append([method, test.name, test.file, *aurocs, f"{test.p_value:.2g}", verdict])
    words = ["method", "mean", "run", "differs"]
    print_table(
        ["method", "mean", "run", tests[0].baseline, "AUROC", "difference", "p", "differs"],
        rows,
        left=words,
    )
